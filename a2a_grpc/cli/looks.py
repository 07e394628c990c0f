"""What the checks of a server and of a sentinel look at: the store, ports, keys, certificates and credentials."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from a2a_grpc.auth.callers import Callers
from a2a_grpc.auth.file import Accepted
from a2a_grpc.cli.steps import Skipped, Weak
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.listening.listeners import Listener
from a2a_grpc.listening.ports import check_free
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.regular import MAX_PEM_BYTES, read_regular

SOON_DAYS = 14
"""Days before the end of a certificate from which on a check warns."""


def key_file(name: str, path: str, read: Callable[[Path], object], *, may_make: bool = True) -> str:
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


async def store_of(url: str, agent: str) -> str:
    """Look at the store of tasks. Return what is there."""
    if url.startswith("memory"):
        return "tasks are kept in memory, and end with the server"
    from a2a_grpc.database.urls import DatabaseUrl
    from a2a_grpc.store.sql.migrations import HEAD, check_head, is_newer
    from a2a_grpc.store.sql.upkeep.look import look

    found, parsed = await look(url), DatabaseUrl.parse(url)
    if not found.is_there:
        return f"{parsed.path} does not exist yet; the server will make it"
    if parsed.dialect != "sqlite" or is_newer(found.at):
        check_head(parsed, found.at)
    if found.at != HEAD:
        return f"{parsed.shown} is at {found.at}; the server will upgrade it to {HEAD}"
    if found.agent and agent and found.agent != agent:
        whose = f"'{one_line(found.agent)}', and this agent is '{one_line(agent)}'"
        raise ConfigurationError(f"store is '{parsed.shown}'; it keeps the tasks of the agent {whose}")
    return f"{parsed.shown} answers; the schema is at {HEAD}, as this version needs it"


def shown(url: str) -> str:
    from a2a_grpc.database.urls import DatabaseUrl

    return DatabaseUrl.parse(url).shown


async def free(listeners: Sequence[Listener]) -> str:
    """Bind each port, and free it again. Raise ListenError for one that is taken."""
    for listener in listeners:
        if listener.port:
            check_free(listener.host, listener.port, listener.setting)
    named = ", ".join(one.address for one in listeners if one.port)
    chosen = sum(not one.port for one in listeners)
    texts = [f"{named} can be listened on" if named else ""]
    texts += [f"{count(chosen, 'port')} chosen at the start" if chosen else ""]
    return "; ".join(filter(None, texts))


async def certificates(settings: ListenSettings) -> str:
    """Read the TLS files. Return when the certificate ends. Raise Weak if that is soon."""
    if not settings.tls_cert:
        raise Skipped("plaintext; a proxy ends TLS" if settings.tls_terminated else "plaintext")
    from a2a_grpc.listening.tls import TlsFiles

    TlsFiles(settings)
    ends = {path: _end_of(Path(path)) for path in (settings.tls_cert, settings.tls_client_ca) if path}
    said = "; ".join(f"{path} is valid until {end:%Y-%m-%d %H:%M} UTC" for path, end in ends.items() if end is not None)
    if not said:
        raise Weak('the files fit each other; their ends are shown with cryptography: pip install "a2a-grpc[auth]"')
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
    return min(one.not_valid_after_utc for one in load_pem_x509_certificates(read_regular(path, MAX_PEM_BYTES))[:1])


async def credentials(found: Accepted, *, extra: int = 0) -> str:
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


def writable(path: str | None) -> str:
    if path is None:
        raise Skipped("there is none")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise ConfigurationError(f"audit_log is '{path}'; it cannot be written")
    if not os.path.exists(path):
        _check_folder(Path(path))
    return f"{path} can be written"


def _check_folder(path: Path) -> None:
    """Raise ConfigurationError if no file can be made at a path."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # the name is too long, for example
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"{path}: no file can be made in {path.parent}")


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
