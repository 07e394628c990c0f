"""Find out why an agent cannot be reached, by taking the steps of a connection one by one.

gRPC says UNAVAILABLE for a wrong name, a closed port and a wrong kind of encryption. The steps tell them apart.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import Address
from a2a_grpc.client.trust import trusting
from a2a_grpc.logical import is_logical

SETTLE_S = 1.0
"""Seconds that a server has to refuse a client's certificate after the handshake."""


class ProbeFailure(Exception):
    """A step failed. The text says what happened and what to do. `is_final` is True if waiting would not help."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


async def explain(address: Address, settings: ClientSettings, *, tls: bool, timeout_s: float) -> None:
    """Take the steps of a connection. Raise ProbeFailure if a step fails.

    Return if all steps succeed, or if the time is over.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(3 * timeout_s + 1.0):  # each step has a better message for a timeout
            if address.host:
                await _steps(address, settings, tls=tls, timeout_s=timeout_s)
            else:
                await connect_unix(address)


async def _steps(address: Address, settings: ClientSettings, *, tls: bool, timeout_s: float) -> None:
    await resolve(address, timeout_s)
    is_at_sentinel = settings.sentinel is not None and is_logical(settings.tenant or "")
    await connect_tcp(address, timeout_s, listener="sentinel" if is_at_sentinel else "agent")
    if tls:
        check_alpn(address, await handshake(address, settings, timeout_s))
    else:
        await plain(address, timeout_s)


async def plain(address: Address, timeout_s: float) -> None:
    """Check that a server speaks HTTP/2 without TLS."""
    if await accepts_tls(address, timeout_s):
        raise ProbeFailure(
            f"{address} speaks TLS, and was called in plaintext; call grpcs://{address}, "
            "with ca_cert (--ca-cert) if its roots are its own",
            is_final=True,
        )
    if not await answers(address, timeout_s):
        raise ProbeFailure(f"{address} accepts connections, but does not answer; is this the agent's gRPC port?")


async def answers(address: Address, timeout_s: float) -> bool:
    """Return True if a server sends its HTTP/2 settings."""
    try:
        async with _connection(address, timeout_s) as (reader, writer), asyncio.timeout(timeout_s):
            writer.write(PREFACE)
            return bool(await reader.read(1))
    except TimeoutError:
        return False
    except OSError:
        return True


async def resolve(address: Address, timeout_s: float) -> list[str]:
    """Return the IP addresses of the host."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise ProbeFailure(f"no name server answered for '{address.host}' within {timeout_s:g} s") from None
    except (OSError, UnicodeError) as error:  # a name that cannot be one is a UnicodeError
        why = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise ProbeFailure(
            f"there is no host '{address.host}' ({why}); check the name; in Docker Compose use the name of the service"
        ) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def connect_tcp(address: Address, timeout_s: float, *, listener: str = "agent") -> None:
    """Open a TCP connection, and close it. `listener` is the word for the program that has to listen."""
    try:
        async with _connection(address, timeout_s):
            pass
    except TimeoutError:
        raise ProbeFailure(
            f"{address} does not answer within {timeout_s:g} s; check host, port and firewalls"
        ) from None
    except ConnectionRefusedError:
        raise ProbeFailure(
            f"nothing listens at {address}; check the port, and that the {listener} is running"
        ) from None
    except OSError as error:
        raise ProbeFailure(f"{address} cannot be connected to: {error.strerror or error}") from error


async def connect_unix(address: Address) -> None:
    """Open a connection to a Unix socket, and close it."""
    try:
        _, writer = await asyncio.open_unix_connection(address.dial.removeprefix("unix:"))
    except FileNotFoundError:
        raise ProbeFailure(f"there is no socket {address}; check the path, and that the agent is running") from None
    except OSError as error:
        raise ProbeFailure(f"{address} cannot be connected to: {error.strerror or error}") from error
    writer.transport.abort()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""The first bytes of an HTTP/2 client, with empty SETTINGS (RFC 9113 §3.4)."""


class Handshake(NamedTuple):
    """The result of a TLS handshake.

    Attributes:
        version: The version of TLS.
        alpn: The protocol that was chosen; empty for none.
    """

    version: str
    alpn: str


async def handshake(address: Address, settings: ClientSettings, timeout_s: float) -> Handshake:
    """Make a TLS handshake as the client does, and return its result."""
    name = settings.authority or address.host
    try:
        async with _connection(address, timeout_s, _context(settings), name) as (reader, writer):
            chosen: ssl.SSLObject = writer.get_extra_info("ssl_object")
            await _settled(reader, address, settings)
            return Handshake(chosen.version() or "", chosen.selected_alpn_protocol() or "")
    except ssl.SSLCertVerificationError as error:
        raise ProbeFailure(
            f"the certificate of {address} is not accepted: {error.verify_message}; "
            "give its roots as ca_cert (--ca-cert), or its name as authority (--authority)",
            is_final=True,
        ) from error
    except ssl.SSLError as error:
        if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
            raise ProbeFailure(_plain(address), is_final=True) from error
        raise ProbeFailure(f"TLS with {address} failed: {error.reason or error}", is_final=True) from error
    except (ConnectionResetError, asyncio.IncompleteReadError):
        raise ProbeFailure(_plain(address), is_final=True) from None
    except TimeoutError:
        raise ProbeFailure(f"{address} accepts connections, but does not answer TLS", is_final=True) from None


def check_alpn(address: Address, agreed: Handshake) -> None:
    """Check that the peer chose HTTP/2."""
    if agreed.alpn != "h2":
        raise ProbeFailure(
            f"{address} speaks TLS but not HTTP/2 (no ALPN 'h2'); is this the agent's gRPC port?", is_final=True
        )


async def accepts_tls(address: Address, timeout_s: float) -> bool:
    """Return True if the peer answers a TLS handshake, with any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with _connection(address, timeout_s, context, address.host):
            return True
    except (OSError, TimeoutError):
        return False


async def _settled(reader: asyncio.StreamReader, address: Address, settings: ClientSettings) -> None:
    """Wait for a refusal of the client's certificate, which comes only after the handshake (TLS 1.3)."""
    try:
        async with asyncio.timeout(SETTLE_S):
            if await reader.read(1):
                return  # its HTTP/2 settings
            raise ConnectionResetError
    except TimeoutError:
        return
    except (ssl.SSLError, ConnectionError) as error:
        lacks = "wants" if not settings.client_cert else "does not accept"
        raise ProbeFailure(
            f"{address} {lacks} a client certificate; give one that it trusts as client_cert (--client-cert)",
            is_final=True,
        ) from error


def _plain(address: Address) -> str:
    return (
        f"{address} speaks plaintext, and was called with TLS; "
        "allow plaintext (--plaintext), or call it without grpcs:// if it is on this machine"
    )


def _context(settings: ClientSettings) -> ssl.SSLContext:
    context = trusting(settings.ca_cert, settings.client_cert, settings.client_key)
    context.set_alpn_protocols(["h2"])
    return context


@asynccontextmanager
async def _connection(
    address: Address, timeout_s: float, context: ssl.SSLContext | None = None, name: str | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname=name if context else None
        )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
