"""Requests to the endpoints of an authorization server (RFC 6749, RFC 8414), within limits of time, size and place."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlsplit

from a2a_grpc.address import is_loopback
from a2a_grpc.bounded import TooLarge, read_within
from a2a_grpc.client.errors import CredentialsUnavailableError
from a2a_grpc.client.target import shown
from a2a_grpc.client.tokens import Token, token_of
from a2a_grpc.client.trust import trusting
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnauthenticatedError
from a2a_grpc.harmless import one_line

TIMEOUT_S = 10.0
"""Seconds for one request."""
MAX_BYTES = 256 * 1024
"""The largest size of a response."""
MAX_CODE_CHARS = 64
"""The largest length of an error code in a message."""
MAX_DESCRIPTION_CHARS = 200
"""The largest length of the description of an error in a message."""


class RefusedRequest(UnauthenticatedError):
    """An authorization server refused a request.

    Args:
        message: What happened.
        error: The error code of OAuth, for example "invalid_client"; empty if the server sent none.
    """

    def __init__(self, message: str, error: str = "") -> None:
        super().__init__(message)
        self.error = error


def is_http(url: str) -> bool:
    """Return True for an http or https URL of a host, without a user's name."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    is_web = bool(host) and parts.scheme in ("https", "http")
    return is_web and "@" not in parts.netloc and url.isprintable() and " " not in url


def check_url(url: str, what: str) -> None:
    """Raise ConfigurationError for an endpoint that does not use TLS, unless it is on this machine."""
    if not is_http(url):
        raise ConfigurationError(f"{what} is '{shown(url)}'; it must be https://HOST[:PORT][/PATH]")
    if urlsplit(url).scheme == "http" and not is_loopback(host_of(url)):
        raise ConfigurationError(
            f"{what} is '{shown(url)}'; secrets are sent over https only, or over http to this machine"
        )


def host_of(url: str) -> str:
    """Return the host of a URL in small letters; "" if it has none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


async def get_json(url: str, what: str, *, ca_cert: str | None = None) -> dict[str, Any]:
    """Return the JSON object at a URL, which is named `what` in errors.

    Raise ConfigurationError if there is none, CredentialsUnavailableError if the server cannot be asked now.
    """
    status, found = await _request("GET", url, what, None, {}, ca_cert)
    if status != 200 or found is None:
        raise ConfigurationError(f"{what} {shown(url)} answers {_status(status, found)}; there is no JSON object")
    return found


async def post_form(
    url: str,
    what: str,
    form: Mapping[str, str],
    *,
    basic: tuple[str, str] | None = None,
    ca_cert: str | None = None,
) -> dict[str, Any]:
    """Send a form to an endpoint, which is named `what` in errors. Return the JSON object of the answer.

    `basic` is the id and the secret of a client, for the header `authorization` (RFC 6749 §2.3.1). Raise RefusedRequest
    if the endpoint refuses the request, CredentialsUnavailableError if it cannot be asked now. No error holds what was
    sent.
    """
    headers = {}
    if basic is not None:
        pair = ":".join(map(quote_plus, basic))
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    secrets = [value for value in (*form.values(), *(basic or ())) if len(value) > 3]
    status, found = await _request("POST", url, what, form, headers, ca_cert)
    if status == 200 and found is not None and "error" not in found:
        return found
    error = _word(found.get("error"), MAX_CODE_CHARS) if found else ""
    why = _word(found.get("error_description"), MAX_DESCRIPTION_CHARS) if found and error else ""
    if any(secret in error + why for secret in secrets if secret != form.get("grant_type")):
        why = ""
        error = error if not any(secret in error for secret in secrets) else "an error"
    said = f"{error}{f' ({why})' if why else ''}" if error else f"HTTP {status}"
    raise RefusedRequest(f"{what} {shown(url)} refused the request: {said}", error)


async def post_for_token(
    url: str, form: Mapping[str, str], *, basic: tuple[str, str] | None = None, ca_cert: str | None = None
) -> Token:
    """Send a form to a token endpoint. Return the token of the answer. Errors are those of `post_form`."""
    answer = await post_form(url, "the token endpoint", form, basic=basic, ca_cert=ca_cert)
    value, kind = answer.get("access_token"), answer.get("token_type", "Bearer")
    if not isinstance(value, str) or not value.strip() or not value.isascii() or not value.isprintable():
        raise RefusedRequest(f"the token endpoint {shown(url)} answered without an access token that can be sent")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise RefusedRequest(
            f"the token endpoint {shown(url)} gave a token of the type '{_word(kind, MAX_CODE_CHARS)}', not Bearer"
        )
    refresh = answer.get("refresh_token")
    return token_of(
        value.strip(), expires_in=answer.get("expires_in"), refresh=refresh if isinstance(refresh, str) else ""
    )


def _word(value: object, most: int) -> str:
    return one_line(value[:most]) if isinstance(value, str) else ""


def _status(status: int, found: object) -> str:
    return f"HTTP {status}" if status != 200 or found is not None else "something else"


async def _request(
    method: str, url: str, what: str, form: Mapping[str, str] | None, headers: Mapping[str, str], ca_cert: str | None
) -> tuple[int, dict[str, Any] | None]:
    """Return the status and the JSON object of a response; None if it holds no JSON object.

    A redirect is not followed: the server that is named gets the secret, and no other.
    """
    import aiohttp  # here, as calls with a plain token do without it

    check_url(url, what)
    is_local = is_loopback(host_of(url))
    tls: Any = trusting(ca_cert, also_system=True) if url.lower().startswith("https:") else True
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            aiohttp.ClientSession(trust_env=not is_local, auto_decompress=False) as session,
            session.request(
                method,
                url,
                data=None if form is None else dict(form),
                headers={"Accept": "application/json", "Accept-Encoding": "identity", **headers},
                ssl=tls,
                allow_redirects=False,
            ) as answer,
        ):
            if 300 <= answer.status < 400:
                to = shown(answer.headers.get("Location", "nowhere"))
                raise ConfigurationError(
                    f"{what} {shown(url)} redirects to {to}, which is not followed; give the final URL"
                )
            if answer.status >= 500 or answer.status == 429:
                raise CredentialsUnavailableError(f"{what} {shown(url)} answers HTTP {answer.status}")
            return answer.status, _object(await read_within(answer.content, MAX_BYTES))
    except TooLarge:
        raise ConfigurationError(f"{what} {shown(url)} answers with more than {MAX_BYTES} bytes") from None
    except TimeoutError:
        raise CredentialsUnavailableError(f"{what} {shown(url)} does not answer within {TIMEOUT_S:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise ConfigurationError(
            f"the certificate of {what} {shown(url)} is not accepted: {error.certificate_error}; "
            "give its roots as ca_cert (--ca-cert)"
        ) from None
    except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, EOFError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        reason = error.os_error.strerror if isinstance(error, aiohttp.ClientConnectorError) else ""
        raise CredentialsUnavailableError(
            f"{what} {shown(url)} cannot be reached: {reason or type(error).__name__}"
        ) from None


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
