"""The options of the command line for credentials."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from a2a_grpc.cli.grpcurl import escaped
from a2a_grpc.client import Credentials, api_key, bearer, oauth2, token_command
from a2a_grpc.client.credentials import Place, Provider
from a2a_grpc.config import PREFIX, ConfigurationError, flag_of
from a2a_grpc.regular import MAX_TOKEN_BYTES, read_regular
from a2a_grpc.wire import AgentCard, SecurityScheme

KINDS = ("token", "token_file", "token_command", "api_key", "oauth2_client_id")
"""Options of which one may be given."""
DETAILS = ("oauth2_client_secret_file", "oauth2_token_url", "oauth2_issuer", "oauth2_scope", "oauth2_audience")
"""Options that go with `--oauth2-client-id`."""
SECRET_VARIABLE = f"{PREFIX}OAUTH2_CLIENT_SECRET"

TOKEN_HEADER = "authorization: Bearer $A2A_GRPC_TOKEN"


@dataclass(frozen=True, slots=True)
class Shown:
    """The credentials of a command.

    Attributes:
        credentials: The credentials; None for none.
        kind: What they are, in words; "" for none.
        header: Returns the header for a command of a shell, with a variable in place of the secret. It gets the card.
        secrets: The secrets that are known from the start.
    """

    credentials: Credentials | None = None
    kind: str = ""
    header: Callable[[AgentCard | None], str] = lambda card: ""
    secrets: tuple[str, ...] = ()


def parameters() -> list[inspect.Parameter]:
    """Return the options for credentials."""

    def option(name: str, kind: Any, default: Any, help_text: str, **words: Any) -> inspect.Parameter:
        flag = flag_of(name)
        variable = f" \\[env: {PREFIX}{name.upper()}]"
        panel = "OAuth 2.0" if name.startswith("oauth2") else "Calling"
        given = {"help": help_text + variable, "show_default": False, "rich_help_panel": panel, **words}
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=typer.Option(default, flag, **given), annotation=kind
        )

    return [
        option("token", str | None, None, "Bearer token."),
        option("token_file", Path | None, None, "File with the bearer token, read for each call."),
        option("token_command", str | None, None, "Command that prints a bearer token. No shell runs.", metavar="CMD"),
        option("api_key", str | None, None, "API key, with its name or under the name that the card gives.",
               metavar="[NAME=]KEY"),
        option("oauth2_client_id", str | None, None, "Id of this client, to take tokens from an authorization server.",
               metavar="ID"),
        option("oauth2_client_secret_file", Path | None, None,
               f"File with the secret. The variable {SECRET_VARIABLE} holds the secret itself.", metavar="FILE"),
        option("oauth2_issuer", str | None, None, "Issuer whose metadata names the token endpoint.", metavar="URL"),
        option("oauth2_token_url", str | None, None,
               "Token endpoint. Without it and the issuer: as the card says.", metavar="URL"),
        option("oauth2_scope", list[str], [], "Scope to ask for. May be given several times.", metavar="NAME"),
        option("oauth2_audience", str | None, None, "Audience to ask for.", metavar="TEXT"),
    ]  # fmt: skip


def of_options(given: Mapping[str, Any], *, ca_cert: str | None, hide: Callable[[Iterable[str]], None]) -> Shown:
    """Return the credentials that options name, or else variables. Options win over variables.

    `hide` is called with each secret that comes up later.
    """
    values = {name: given.get(name) for name in KINDS}
    if all(value is None for value in values.values()):
        values = {name: os.environ.get(PREFIX + name.upper()) for name in KINDS}
    named = [name for name, value in values.items() if value is not None]
    details = {name: given.get(name) or _variable(name) for name in DETAILS}
    if len(named) > 1:
        raise ConfigurationError(f"give one of {', '.join(map(flag_of, KINDS[:-1]))} and {flag_of(KINDS[-1])}")
    if "oauth2_client_id" not in named and (loose := [name for name in DETAILS if given.get(name)]):
        raise ConfigurationError(f"{flag_of(loose[0])} goes with --oauth2-client-id")
    if not named:
        return Shown()
    value = values[named[0]]
    match named[0]:
        case "token":
            return Shown(bearer(str(value)), "a bearer token", lambda card: TOKEN_HEADER, (str(value),))
        case "token_file":
            file = Path(str(value))
            header = f"authorization: Bearer $(cat {escaped(str(file))})"
            return Shown(bearer(file), "a file with a bearer token", lambda card: header, (_read(file),))
        case "token_command":
            command = Hiding(token_command(str(value)), hide)
            return Shown(command, "a command that prints a bearer token", lambda card: TOKEN_HEADER)
        case "api_key":
            return _api_key(str(value))
    secret: str | Path = details["oauth2_client_secret_file"] and Path(details["oauth2_client_secret_file"])
    secret = secret or os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        raise ConfigurationError(f"--oauth2-client-id needs --oauth2-client-secret-file, or {SECRET_VARIABLE}")
    credentials = oauth2(
        str(value),
        secret,
        token_url=details["oauth2_token_url"],
        scopes=details["oauth2_scope"] or (),
        audience=details["oauth2_audience"],
        issuer=details["oauth2_issuer"],
        ca_cert=ca_cert,
    )
    secrets = (_read(secret) if isinstance(secret, Path) else secret,)
    return Shown(Hiding(credentials, hide), "OAuth 2.0 client credentials", lambda card: TOKEN_HEADER, secrets)


def _api_key(text: str) -> Shown:
    name, equals, secret = text.partition("=")
    if equals and not name:
        raise ConfigurationError("--api-key must be NAME=KEY, or KEY alone")
    if equals and secret.strip("="):  # a key may end with "=" itself
        header = f"{name.lower()}: ${{A2A_GRPC_API_KEY#*=}}"
        return Shown(api_key(name, secret), f"an API key '{name.lower()}'", lambda card: header, (secret,))

    def header_of(card: AgentCard | None) -> str:
        for scheme in card.security_schemes.values() if card is not None else ():
            if scheme.api_key_security_scheme.name:
                return f"{scheme.api_key_security_scheme.name.lower()}: $A2A_GRPC_API_KEY"
        raise ConfigurationError("--api-key has no name, and there is no card that gives one; give NAME=KEY")

    return Shown(api_key(None, text), "an API key", header_of, (text,))


class Hiding(Provider):
    """Credentials whose secrets are masked in the output once they are known."""

    def __init__(self, credentials: Credentials, hide: Callable[[Iterable[str]], None]) -> None:
        assert isinstance(credentials, Provider)
        self._credentials = credentials
        self._hide = hide

    async def __call__(self) -> tuple[str, str]:
        """Return the entry of metadata for one call."""
        name, value = await self._credentials()
        self._hide([value.removeprefix("Bearer ")])
        return name, value

    def meets(self, scheme: SecurityScheme) -> bool:
        """Return True if the credentials can meet a scheme."""
        return self._credentials.meets(scheme)

    def bound(self, place: Place) -> Provider:
        """Return the credentials with what the card says of them."""
        return Hiding(self._credentials.bound(place), self._hide)

    def refused(self, value: str) -> None:
        """Record that the agent has refused a value."""
        self._credentials.refused(value)


def _variable(name: str) -> Any:
    text = os.environ.get(PREFIX + name.upper())
    if name == "oauth2_scope":
        return [line for line in (text or "").split("\n") if line]
    return text


def _read(file: Path) -> str:
    """Return what a file holds now, or "" if it cannot be read, which the call then reports."""
    try:
        return read_regular(file, MAX_TOKEN_BYTES).decode().strip()
    except (OSError, ValueError):
        return ""
