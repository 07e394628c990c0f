"""Say why a card cannot be fetched, and what to do."""

import errno
import re
import socket
from urllib.parse import urlsplit

from a2a_grpc.address import join_address
from a2a_grpc.client.errors import UnreachableError
from a2a_grpc.client.probe import accepts_tls
from a2a_grpc.client.target import Address, CardUrl
from a2a_grpc.harmless import one_line
from a2a_grpc.masking import mask_url

TLS_TIMEOUT_S = 1.0
"""Seconds to find out if a peer that does not speak HTTP speaks TLS."""

NO_HTTP = "Expected HTTP/"
"""What aiohttp says of an answer that does not begin like HTTP/1. The bytes of the answer follow."""
SETTINGS_FRAME = re.compile(r"\\x04(?:\\x00){5}")
"""In such a text, the first frame of a server of HTTP/2, and so of gRPC."""
MAX_PROBLEM = 100
"""The largest length of what aiohttp says."""


async def unreachable(error: Exception, where: CardUrl, timeout_s: float, client_cert: str | None) -> UnreachableError:
    """Return the error for a card whose server has not answered.

    The texts of aiohttp are not shown, since they have the URL with its secrets.

    Args:
        error: The error of aiohttp.
        where: The URL of the card.
        timeout_s: The seconds that the server had.
        client_cert: The certificate of the client, if there is one.
    """
    import aiohttp  # here, as calls by address do without it

    babbled = isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientResponseError, aiohttp.ClientOSError))
    if babbled and not isinstance(error, aiohttp.ClientConnectorError):
        if where.url.startswith("http:") and await _speaks_tls(where):
            return UnreachableError(f"{where} speaks TLS, and was called in plaintext; is it https://?")
        if where.url.startswith("https:") and client_cert:
            return UnreachableError(
                f"the server at {_place(where)} has ended the connection; does it accept the certificate in "
                f"client_cert '{client_cert}' (--client-cert)?"
            )
    return UnreachableError(_why(error, where, timeout_s))


def _why(error: Exception, where: CardUrl, timeout_s: float) -> str:
    """Return a sentence about a failed request that says what to do."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"the certificate of {where} is not accepted: {error.certificate_error}; "
                "give its roots as ca_cert (--ca-cert)"
            )
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, socket.gaierror):
            return f"there is no host '{where.host}'; check the name in {where}"
        case aiohttp.ClientConnectorSSLError():
            return f"the server at {_place(where)} does not speak TLS; try http:// in place of https:// in {where}"
        case aiohttp.ClientConnectorError() if error.os_error.errno == errno.ECONNREFUSED:
            return f"nothing listens at {where}; check the port, and that the agent is running"
        case aiohttp.ClientConnectorError():
            return f"{where} cannot be reached: {error.os_error.strerror}"
        case TimeoutError():
            return f"{where} does not answer within {timeout_s:g} s"
        case aiohttp.ClientResponseError() if NO_HTTP not in error.message:
            return f"the server at {_place(where)} answers in HTTP that cannot be read: {_problem(error.message)}"
        case aiohttp.ClientResponseError() if not SETTINGS_FRAME.search(error.message):
            return f"the server at {_place(where)} does not speak HTTP"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientResponseError() | aiohttp.ClientOSError():
            place = _place(where)
            return (
                f"the server at {place} does not speak HTTP; if this is the gRPC port of the agent, give its address "
                f"without http:// (--agent {place})"
            )
    return f"the card at {where} cannot be had: {mask_url(str(error)) or type(error).__name__}"


def _problem(message: str) -> str:
    """Return what aiohttp says of an answer, without the bytes of the answer, which may be secret."""
    return one_line(message.partition("\n")[0].partition(": b")[0].strip(" :."), MAX_PROBLEM)


def _place(where: CardUrl) -> str:
    """Return the host and the port of a URL."""
    parts = urlsplit(where.url)
    return join_address(where.host, parts.port or (443 if parts.scheme == "https" else 80))


async def _speaks_tls(where: CardUrl) -> bool:
    """Return True if the server speaks TLS, although its URL says plaintext."""
    address = Address(where.url, where.host, urlsplit(where.url).port or 80, None)
    return await accepts_tls(address, TLS_TIMEOUT_S)
