"""`a2a-grpc serve --check` and `a2a-grpc sentinel --check`, which check the settings and change nothing."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from a2a_grpc.agent import Agent, build_card
from a2a_grpc.auth import AuthSettings
from a2a_grpc.auth.file import OF_SENTINELS, Accepted, accepted
from a2a_grpc.cli.looks import certificates, count, credentials, free, key_file, shown, store_of, writable
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.show import Show
from a2a_grpc.cli.steps import Skipped, Step, take_all
from a2a_grpc.config import ConfigurationError, load
from a2a_grpc.errors import A2AError
from a2a_grpc.harmless import one_line
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.rules_file import RulesFile
from a2a_grpc.server import ServerSettings
from a2a_grpc.server.loaded import client_ca_of, make_server, names_store, with_callers, with_push, with_store
from a2a_grpc.server.loop import event_loop
from a2a_grpc.server.program import Served, check_unused
from a2a_grpc.server.pushing import KEY_SUFFIX, SIGNING_SUFFIX, next_to_store
from a2a_grpc.server.settings import advertised
from a2a_grpc.server.workers import check_workers


def check_server(find: Callable[[], Served], settings: Mapping[str, Any], output: OutputFormat) -> bool:
    """Check the settings of a server, step by step. Return True if it can start.

    Args:
        find: A function that finds the agent.
        settings: The settings, which count before the environment.
        output: The format of the output.
    """
    checks = _OfServer(_found(find), settings)
    return asyncio.run(take_all(Show(as_json=output is OutputFormat.JSON), checks.steps()))


def check_sentinel(settings: Mapping[str, Any], output: OutputFormat) -> bool:
    """Check the settings of a sentinel, step by step. Return True if it can start."""
    checks = _OfSentinel(settings)
    return asyncio.run(take_all(Show(as_json=output is OutputFormat.JSON), checks.steps()))


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
        return f"'{one_line(agent.name)}', {count(len(agent.skills), 'skill')}"

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
        address = advertised(server.advertise) if server.advertise else server.public_listeners[0].address
        card = build_card(self._agent, address=address, tenant=server.tenant, offers_push=bool(push.push))
        return f"{one_line(card.name)} {one_line(card.version)} at {card.supported_interfaces[0].url}"

    async def _store(self) -> str:
        url = load(ServerSettings, self._settings).store
        return await store_of(url, self._agent.name if self._agent is not None else "")

    async def _ports(self) -> str:
        return await free(load(ServerSettings, self._settings).listening)

    async def _tls(self) -> str:
        found = accepted(load(AuthSettings, self._given), client_ca=client_ca_of(self._given))
        return await certificates(load(ServerSettings, {**self._settings, "tls_client_ca": found.client_ca}))

    async def _auth(self) -> str:
        found = accepted(load(AuthSettings, self._given), client_ca=client_ca_of(self._given))
        return await credentials(found, extra=len(self._served.authenticators) if self._served is not None else 0)

    async def _audit_log(self) -> str:
        return writable(load(AuthSettings, self._given).audit_log)

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
            key_file("keys of secrets", keys, lambda path: Vault.from_file(path, make=False), may_make=may_make),
            key_file("key of signatures", signing, SigningKey.read),
        ]
        return "; ".join(said)


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
        return f"{shown(url)} answers" if found.is_there else f"{shown(url)} will be made"

    async def _ports(self) -> str:
        return await free(self._settings.listening)

    async def _tls(self) -> str:
        return await certificates(self._settings)

    async def _auth(self) -> str:
        return await credentials(self._accepted())

    async def _audit_log(self) -> str:
        return writable(load(AuthSettings, self._given).audit_log)
