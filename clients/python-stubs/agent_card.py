"""Finds out where an agent is: its card says so."""

import urllib.error
import urllib.request

import grpc
from a2a_grpc_pb import a2a_pb2 as a2a
from google.protobuf import json_format

LOOPBACK = ("localhost", "127.", "[::1]")


class CardError(Exception):
    """There is no card, or it names no gRPC."""


def grpc_interface(site: str) -> a2a.AgentInterface:
    """The first interface of the card that speaks A2A 1.0 over gRPC. Raises CardError."""
    url = f"{site.rstrip('/')}/.well-known/agent-card.json"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            card = json_format.Parse(response.read(), a2a.AgentCard(), ignore_unknown_fields=True)
    except (OSError, ValueError) as error:  # urllib's errors are OSErrors
        raise CardError(f"cannot fetch {url}: {getattr(error, 'reason', error)}") from error
    except json_format.ParseError as error:
        raise CardError(f"{url} is not an agent card: {error}") from error
    kinds = [f"{offered.protocol_binding} {offered.protocol_version}" for offered in card.supported_interfaces]
    if "GRPC 1.0" not in kinds:
        raise CardError(f"{url} names no interface GRPC 1.0, but {', '.join(kinds) or 'none at all'}")
    return card.supported_interfaces[kinds.index("GRPC 1.0")]


def credentials_for(address: str) -> grpc.ChannelCredentials | None:
    """TLS to other machines; None, for plaintext, within this one."""
    return None if address.startswith(LOOPBACK) else grpc.ssl_channel_credentials()
