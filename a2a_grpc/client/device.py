"""The device authorization grant of OAuth 2.0 (RFC 8628): a user signs in with a browser on any machine."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from a2a_grpc.client.credentials import Place
from a2a_grpc.client.endpoint import RefusedRequest, is_http, post_for_token, post_form
from a2a_grpc.client.errors import CredentialsUnavailableError
from a2a_grpc.client.issuer import Endpoints, endpoints_of_scheme, metadata_url_of
from a2a_grpc.client.target import shown
from a2a_grpc.client.tokens import Token
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnauthenticatedError
from a2a_grpc.wire import AgentCard

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
FLOW = "device_code"
OFFLINE = "offline_access"
"""The scope that asks for a refresh token (OpenID Connect Core §11)."""

INTERVAL_S = 5.0
"""Seconds between two questions if the server does not say it, and what is added if it says that this is too fast."""
INTERVALS_S = (1.0, 60.0)
"""The shortest and the longest interval that a server can ask for."""
LIFE_S = 1800.0
"""The longest time in seconds for a user to sign in."""


class LoginFailed(UnauthenticatedError):
    """The user has not signed in."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a user does to sign in.

    Attributes:
        url: The page to open.
        user_code: The code to enter there.
        device_code: The secret with which the token is asked for.
        expires_at: The Unix time in seconds at which the code ends.
        interval_s: Seconds between two questions for the token.
    """

    url: str
    user_code: str
    device_code: str = field(repr=False)
    expires_at: float
    interval_s: float


async def device_endpoints(
    card: AgentCard, source: str, host: str, *, ca_cert: str | None
) -> tuple[Endpoints, tuple[str, ...]] | None:
    """Return the endpoints of the first scheme of a card with a device authorization endpoint, and scopes to ask for.

    Schemes that the card requires come first. Return None if there is no such scheme. They may be on any host, since no
    secret is sent there: the user sees the page to sign in at.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    for requirement in card.security_requirements:
        for name in sorted(requirement.schemes):
            wanted.setdefault(name, tuple(requirement.schemes[name].list))
    for name in sorted(card.security_schemes):
        wanted.setdefault(name, ())
    for name, scopes in wanted.items():
        if name not in card.security_schemes:
            continue
        scheme = card.security_schemes[name]
        flows = scheme.oauth2_security_scheme.flows
        if flows.WhichOneof("flow") != FLOW and not metadata_url_of(scheme):
            continue
        place = Place(scheme, name, scopes, source, host, any_host=True)
        found = await endpoints_of_scheme(place, FLOW, ca_cert=ca_cert)
        if found.device_url:
            return found, scopes
    return None


async def ask_for_code(endpoints: Endpoints, client_id: str, scopes: Sequence[str], *, ca_cert: str | None) -> Prompt:
    """Ask an authorization server for a code that a user enters. Errors are those of `post_form`."""
    form = {"client_id": client_id, **({"scope": " ".join(scopes)} if scopes else {})}
    what = "the device endpoint"
    answer = await post_form(endpoints.device_url, what, form, ca_cert=ca_cert)
    texts = [answer.get(name) for name in ("device_code", "user_code", "verification_uri")]
    if not all(isinstance(text, str) and text for text in texts):
        raise LoginFailed(f"{what} {shown(endpoints.device_url)} answered without a code and a page")
    device_code, user_code, url = map(str, texts)
    if not is_http(url):
        raise LoginFailed(f"{what} {shown(endpoints.device_url)} names a page that is not an https:// or http:// URL")
    interval_s = min(max(_number(answer.get("interval"), INTERVAL_S), INTERVALS_S[0]), INTERVALS_S[1])
    life_s = min(_number(answer.get("expires_in"), LIFE_S), LIFE_S)
    return Prompt(url, user_code, device_code, time.time() + life_s, interval_s)


async def wait_for_token(endpoints: Endpoints, client_id: str, prompt: Prompt, *, ca_cert: str | None) -> Token:
    """Wait until the user has signed in. Return the token.

    Raise LoginFailed if the user refuses, or does not sign in before the code ends.
    """
    form = {"grant_type": GRANT, "device_code": prompt.device_code, "client_id": client_id}
    interval_s = prompt.interval_s
    while time.time() < prompt.expires_at:
        await asyncio.sleep(interval_s)
        try:
            return await post_for_token(endpoints.token_url, form, ca_cert=ca_cert)
        except CredentialsUnavailableError:
            interval_s = min(interval_s * 2, INTERVALS_S[1])  # RFC 8628 §3.5
        except RefusedRequest as refused:
            match refused.error:
                case "authorization_pending":
                    pass
                case "slow_down":
                    interval_s += INTERVAL_S
                case "access_denied":
                    raise LoginFailed("the login was refused on the page") from None
                case "expired_token":
                    break
                case _:
                    raise
    raise LoginFailed("the code was not entered in time; log in again")


async def refreshed(token_url: str, client_id: str, token: Token, *, ca_cert: str | None = None) -> Token:
    """Return a new token for the refresh token of an old one. Errors are those of `post_for_token`."""
    form = {"grant_type": "refresh_token", "refresh_token": token.refresh, "client_id": client_id}
    found = await post_for_token(token_url, form, ca_cert=ca_cert)
    return found if found.refresh else Token(found.value, found.expires_at, token.refresh)


def _number(value: Any, otherwise: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and value >= 0 else otherwise


def check_scopes(scopes: Sequence[str]) -> None:
    """Raise ConfigurationError for a scope that a request cannot carry."""
    for scope in scopes:
        if not scope or " " in scope or not scope.isprintable():
            raise ConfigurationError("a scope is empty, or has a space in it; give one scope at a time")
