"""`a2a-grpc serve --check` and `a2a-grpc sentinel --check`, which check the settings and change nothing."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from a2a_grpc.agent import Agent, build_card
from a2a_grpc.auth import AuthSettings
from a2a_grpc.auth.callers import Callers
from a2a_grpc.auth.file import OF_SENTINELS, Accepted, accepted
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.show import Show
from a2a_grpc.cli.steps import Skipped, Step, Weak, take
from a2a_grpc.config import ConfigurationError, load
from a2a_grpc.errors import A2AError
from a2a_grpc.harmless import one_line
from a2a_grpc.listening.listeners import Listener
from a2a_grpc.listening.ports import check_free
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.rules_file import RulesFile
from a2a_grpc.server import ServerSettings
from a2a_grpc.server.loaded import client_ca_of, make_server, names_store, with_callers, with_push, with_store
from a2a_grpc.server.loop import event_loop
from a2a_grpc.server.program import Served, check_unused
from a2a_grpc.server.pushing import KEY_SUFFIX, SIGNING_SUFFIX, next_to_store
from a2a_grpc.server.workers import check_workers

SOON_DAYS = 14
"""Days before the end of a certificate from which on a check warns."""


def check_server(find: Callable[[], Served], settings: Mapping[str, Any], output: OutputFormat) -> bool:
    """Check the settings of a server, step by step. Return True if it can start.

    Args:
        find: A function that finds the agent.
        settings: The settings, which count before the environment.
        output: The format of the output.
    """
    checks = _OfServer(_found(find), settings)
    return asyncio.run(take(Show(as_json=output is OutputFormat.JSON), checks.steps()))


def check_sentinel(settings: Mapping[str, Any], output: OutputFormat) -> bool:
    """Check the settings of a sentinel, step by step. Return True if it can start."""
    checks = _OfSentinel(settings)
    return asyncio.run(take(Show(as_json=output is OutputFormat.JSON), checks.steps()))


def _found(find: Callable[[], Served]) -> Callable[[], Served]:
    """Find the agent now, since that may run an event loop. Return a function with the agent or the error."""
    try:
        served = find()
    except (ConfigurationError, A2AError, OSError) as error:
        failure = error

        def fail() -> Served:
            raise failure

        return fail
    return lambda: served


class _OfServer:
    """The checks of a server."""

    def __init__(self, find: Callable[[], Served], settings: Mapping[str, Any]) -> None:
        self._find = find
        self._given = settings
        self._served: Served | None = None

    @property
    def _agent(self) -> Agent | None:
        return self._served.agent if self._served is not None else None

    def steps(self) -> list[Step]:
        return [
            ("agent", self._load_agent),
            ("card", self._card),
            ("store", self._store),
            ("ports", self._ports),
            ("TLS", self._tls),
            ("auth", self._auth),
            ("audit log", self._audit_log),
            ("push", self._push),
            ("settings", self._load_settings),
        ]

    async def _load_agent(self) -> str:
        self._served = self._find()
        agent = self._served.agent
        return f"'{one_line(agent.name)}', {_count(len(agent.skills), 'skill')}"

    @property
    def _settings(self) -> Mapping[str, Any]:
        """The settings of the program, with its store and the choice of push."""
        settings = with_store(self._agent, self._given) if self._agent is not None else self._given
        return with_push(settings)[0]

    async def _load_settings(self) -> str:
        served = self._served
        if served is None:
            raise Skipped("there is no agent")
        server, given = load(ServerSettings, self._settings), with_callers(self._given)[0]
        check_unused(served.unused, given, report=None)
        if server.workers != 1:
            check_workers(server, store=server.store if names_store(given) else "")
        event_loop(server).close()
        make_server(
            served.agent,
            self._settings,
            interceptors=served.interceptors,
            authenticators=served.authenticators,
            authorize=served.authorize,
        )
        return "the settings fit each other"

    async def _card(self) -> str:
        if self._agent is None:
            raise Skipped("there is no agent")
        server, push = load(ServerSettings, self._settings), load(PushSettings, self._settings)
        address = server.advertise or server.public_listeners[0].address
        card = build_card(self._agent, address=address, tenant=server.tenant, offers_push=bool(push.push))
        return f"{one_line(card.name)} {one_line(card.version)} at {card.supported_interfaces[0].url}"

    async def _store(self) -> str:
        url = load(ServerSettings, self._settings).store
        return await _store_of(url, self._agent.name if self._agent is not None else "")

    async def _ports(self) -> str:
        return await _free(load(ServerSettings, self._settings).listening)

    async def _tls(self) -> str:
        found = accepted(load(AuthSettings, self._given), client_ca=client_ca_of(self._given))
        return await _certificates(load(ServerSettings, {**self._settings, "tls_client_ca": found.client_ca}))

    async def _auth(self) -> str:
        found = accepted(load(AuthSettings, self._given), client_ca=client_ca_of(self._given))
        return await _credentials(found, extra=len(self._served.authenticators) if self._served is not None else 0)

    async def _audit_log(self) -> str:
        return _writable(load(AuthSettings, self._given).audit_log)

    async def _push(self) -> str:
        stored = with_store(self._agent, self._given) if self._agent is not None else self._given
        settings, note = with_push(stored)
        push, store = load(PushSettings, settings), load(ServerSettings, settings).store
        if not push.push:
            raise Skipped(note or "push notifications are off")
        from a2a_grpc.push.signing import SigningKey
        from a2a_grpc.push.vault import Vault

        keys = push.secrets_key_file or next_to_store(store, KEY_SUFFIX)
        signing = load(WebhookSettings, settings).push_signing_key or next_to_store(store, SIGNING_SUFFIX)
        may_make = not store.startswith(("postgres", "mysql", "mariadb"))  # replicas need the same file
        said = [
            _key_file("keys of secrets", keys, lambda path: Vault.from_file(path, make=False), may_make=may_make),
            _key_file("key of signatures", signing, SigningKey.read),
        ]
        return "; ".join(said)


def _key_file(name: str, path: str, read: Callable[[Path], object], *, may_make: bool = True) -> str:
    """Read a file of keys. Return what the server will do."""
    if not path:
        return f"no file with the {name}"
    if Path(path).exists():
        read(Path(path))
        return f"{name} in {path}"
    if not may_make:
        raise ConfigurationError(f"secrets_key_file {path}: there is no such file")
    _check_folder(Path(path))
    return f"the {name} will be made in {path}"


class _OfSentinel:
    """The checks of a sentinel."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._given = settings

    def steps(self) -> list[Step]:
        return [
            ("store", self._store),
            ("ports", self._ports),
            ("TLS", self._tls),
            ("auth", self._auth),
            ("audit log", self._audit_log),
            ("settings", self._load_settings),
        ]

    def _accepted(self) -> Accepted:
        return accepted(load(AuthSettings, self._given), client_ca=client_ca_of(self._given), more=OF_SENTINELS)

    @property
    def _settings(self) -> SentinelSettings:
        return load(SentinelSettings, {**self._given, "tls_client_ca": self._accepted().client_ca})

    async def _load_settings(self) -> str:
        callers = load(AuthSettings, self._given)
        rules = RulesFile(Path(callers.auth)) if callers.auth else None
        Sentinel(self._settings, auth=self._accepted().authenticators, rules=rules, callers=callers)
        if rules is None:
            return "the settings fit each other"
        return f"the settings fit each other; rules: {len(rules.attach)} to attach, {len(rules.call)} to call"

    async def _store(self) -> str:
        url = self._settings.store
        if url.startswith("memory"):
            return "the registry is kept in memory, and ends with the sentinel"
        from a2a_grpc.store.sql.upkeep.look import look

        found = await look(url)
        return f"{_shown(url)} answers" if found.is_there else f"{_shown(url)} will be made"

    async def _ports(self) -> str:
        return await _free(self._settings.listening)

    async def _tls(self) -> str:
        return await _certificates(self._settings)

    async def _auth(self) -> str:
        return await _credentials(self._accepted())

    async def _audit_log(self) -> str:
        return _writable(load(AuthSettings, self._given).audit_log)


async def _store_of(url: str, agent: str) -> str:
    """Look at the store of tasks. Return what is there."""
    if url.startswith("memory"):
        return "tasks are kept in memory, and end with the server"
    from a2a_grpc.database.urls import DatabaseUrl
    from a2a_grpc.store.sql.migrations import HEAD, check_known, outdated
    from a2a_grpc.store.sql.upkeep.look import look

    found, parsed = await look(url), DatabaseUrl.parse(url)
    if not found.is_there:
        return f"{parsed.path} does not exist yet; the server will make it"
    check_known(parsed, found.at)
    if found.at != HEAD:
        if parsed.dialect != "sqlite":
            raise outdated(parsed, found.at)
        return f"{parsed.shown} is at {found.at}; the server will upgrade it to {HEAD}"
    if found.agent and agent and found.agent != agent:
        whose = f"'{one_line(found.agent)}', and this agent is '{one_line(agent)}'"
        raise ConfigurationError(f"store is '{parsed.shown}'; it keeps the tasks of the agent {whose}")
    return f"{parsed.shown} answers; the schema is at {HEAD}, as this version needs it"


def _shown(url: str) -> str:
    from a2a_grpc.database.urls import DatabaseUrl

    return DatabaseUrl.parse(url).shown


async def _free(listeners: Sequence[Listener]) -> str:
    """Bind each port, and free it again. Raise ListenError for one that is taken."""
    for listener in listeners:
        if listener.port:
            check_free(listener.host, listener.port, listener.setting)
    named = ", ".join(one.address for one in listeners if one.port)
    chosen = sum(not one.port for one in listeners)
    texts = [f"{named} can be listened on" if named else ""]
    texts += [f"{_count(chosen, 'port')} chosen at the start" if chosen else ""]
    return "; ".join(filter(None, texts))


async def _certificates(settings: ListenSettings) -> str:
    """Read the TLS files. Return when the certificate ends. Raise Weak if that is soon."""
    if not settings.tls_cert:
        raise Skipped("plaintext; a proxy ends TLS" if settings.tls_terminated else "plaintext")
    from a2a_grpc.listening.tls import TlsFiles

    TlsFiles(settings)
    ends = {path: _end_of(Path(path)) for path in (settings.tls_cert, settings.tls_client_ca) if path}
    said = "; ".join(f"{path} is valid until {end:%Y-%m-%d %H:%M} UTC" for path, end in ends.items() if end is not None)
    if not said:
        raise Weak('the files fit each other; their ends are shown with cryptography: pip install "a2a-grpc[mtls]"')
    now = datetime.now(UTC)
    for path, end in ends.items():
        if end is not None and end <= now:
            raise ConfigurationError(f"{path} has expired: it was valid until {end:%Y-%m-%d %H:%M} UTC")
    if any(end is not None and (end - now).days < SOON_DAYS for end in ends.values()):
        raise Weak(f"{said}; renew it soon")
    return said


def _end_of(path: Path) -> datetime | None:
    """Return when the first certificate of a file ends; None if that cannot be read without the package."""
    try:
        from cryptography.x509 import load_pem_x509_certificates
    except ImportError:
        return None
    return min(one.not_valid_after_utc for one in load_pem_x509_certificates(path.read_bytes())[:1])


async def _credentials(found: Accepted, *, extra: int = 0) -> str:
    """Open the authenticators, and close them. Return what callers may show."""
    callers = Callers(found.authenticators)
    try:
        await callers.open()
    finally:
        await callers.close()
    kinds = [_kind(one) for one in found.authenticators]
    kinds += [f"{extra} of the program"] if extra else []
    if not kinds:
        return "every caller is accepted, without credentials"
    return f"callers may show: {', '.join(kinds)}"


def _kind(authenticator: object) -> str:
    names = {"ApiKeys": "API keys", "Jwt": "tokens (JWT)", "ClientCertificates": "client certificates"}
    name = type(authenticator).__name__
    return names.get(name, "no credentials" if name == "function" else name)


def _writable(path: str | None) -> str:
    if path is None:
        raise Skipped("there is none")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise ConfigurationError(f"audit_log is '{path}'; it cannot be written")
    if not os.path.exists(path):
        _check_folder(Path(path))
    return f"{path} can be written"


def _check_folder(path: Path) -> None:
    """Raise ConfigurationError if no file can be made at a path."""
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"{path}: no file can be made in {path.parent}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
