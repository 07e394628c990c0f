"""The tokens that `a2a-grpc login` has obtained, in a file that only its user can read."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from a2a_grpc import private
from a2a_grpc.client.credentials import Provider
from a2a_grpc.client.device import LoginFailed, refreshed
from a2a_grpc.client.endpoint import RefusedRequest
from a2a_grpc.client.target import origin_of
from a2a_grpc.client.tokens import RenewedBearer, Token
from a2a_grpc.config import ConfigurationError
from a2a_grpc.regular import check_regular, read_regular

FILE = "logins.json"


@dataclass(frozen=True, slots=True)
class Login:
    """A login at the agents of one origin.

    Attributes:
        origin: The scheme, host and port of the agents' cards.
        client_id: The id of this program at the authorization server.
        token_url: The token endpoint.
        token: The access token.
        refresh_token: The refresh token; empty if there is none.
        expires_at: The Unix time in seconds at which the token ends; None if that is not known.
    """

    origin: str
    client_id: str
    token_url: str
    token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float | None = None


def path() -> Path:
    """Return the path of the file."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(given):
        given = os.environ.get("APPDATA", "") if sys.platform == "win32" else ""
    return (Path(given) if given else Path.home() / ".config") / "a2a-grpc" / FILE


def logins() -> dict[str, Login]:
    """Return the stored logins by origin. Raise ConfigurationError if the file cannot be used."""
    file = path()
    try:
        mode = check_regular(file).st_mode
        if os.name == "posix" and mode & 0o077:
            raise ConfigurationError(f"others can read the logins in {file}; run: chmod 600 {file}")
        found = json.loads(read_regular(file))
        return {origin: Login(**{"origin": origin, **login}) for origin, login in found.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read the logins in {file}: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"the logins in {file} cannot be read; delete the file, and log in again") from None


async def check() -> None:
    """Raise ConfigurationError if a login could not be stored."""
    async with locked():
        if known := logins():
            _write(known)
        elif not os.access(path().parent, os.W_OK | os.X_OK):
            raise ConfigurationError(f"cannot write {path()}: the folder cannot be written")


async def keep(login: Login) -> Path:
    """Store a login in place of the last one of its origin. Return the path of the file."""
    async with locked():
        _write({**logins(), login.origin: login})
    return path()


async def forget(origin: str | None = None) -> list[str]:
    """Remove the login of an origin, or all logins. Return the origins whose logins were removed."""
    async with locked():
        known = logins()
        removed = [one for one in known if origin in (None, one)]
        if removed:
            _write({one: login for one, login in known.items() if one not in removed})
    return removed


@asynccontextmanager
async def locked() -> AsyncIterator[None]:
    """Keep other processes from changing the file meanwhile."""
    file = path()
    with ExitStack() as stack:
        with _errors(file):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            await asyncio.to_thread(stack.enter_context, private.locked(file))
        yield


def _write(known: dict[str, Login]) -> None:
    """Replace the content of the file."""
    content = {
        origin: {name: value for name, value in asdict(login).items() if name != "origin"}
        for origin, login in known.items()
    }
    with _errors(path()):
        private.write_private(path(), json.dumps(content, indent=2) + "\n")


@contextmanager
def _errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"cannot write {file}: {error.strerror}") from None


class StoredToken(RenewedBearer):
    """The token of a stored login. It is renewed by its refresh token, once for all processes of the user."""

    def __init__(self, login: Login, *, ca_cert: str | None) -> None:
        self._origin = login.origin
        self._ca_cert = ca_cert
        super().__init__(_token(login))

    async def _obtain(self, old: Token | None) -> Token:
        again = f"run: a2a-grpc login {self._origin}"
        async with locked():
            login = logins().get(self._origin)
            if login is None:
                raise LoginFailed(f"there is no login for {self._origin}; {again}")
            if old is not None and login.token != old.value:
                return _token(login)  # another process has renewed it
            if not login.refresh_token:
                raise LoginFailed(f"the login for {self._origin} has ended; {again}")
            try:
                token = await refreshed(login.token_url, login.client_id, _token(login), ca_cert=self._ca_cert)
            except RefusedRequest as error:
                raise LoginFailed(f"the login for {self._origin} has ended: {error}; {again}") from None
            _write({**logins(), self._origin: login_of(login.origin, login.client_id, login.token_url, token)})
        return token


def login_of(origin: str, client_id: str, token_url: str, token: Token) -> Login:
    """Return the login with a token."""
    return Login(origin, client_id, token_url, token.value, token.refresh, token.expires_at)


def _token(login: Login) -> Token:
    return Token(login.token, login.expires_at, login.refresh_token)


def stored_for(target: str, *, ca_cert: str | None) -> tuple[Provider, list[str]] | None:
    """Return the credentials of the login for a target, with their secrets; None if there is none."""
    origin = origin_of(target)
    if not origin or not path().exists():
        return None
    login = logins().get(origin)
    if login is None:
        return None
    return StoredToken(login, ca_cert=ca_cert), [login.token, login.refresh_token]
