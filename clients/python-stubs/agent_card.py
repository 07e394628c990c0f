"""The address of an agent, from its agent card."""

import urllib.error
import urllib.request

import grpc
from a2a_grpc_pb import a2a_pb2 as a2a
from google.protobuf import json_format

LOOPBACK = ("localhost", "127.", "[::1]")


class CardError(Exception):
    """There is no card, or it names no gRPC interface."""


def grpc_interface(site: str) -> a2a.AgentInterface:
    """Return the first interface of the card for A2A 1.0 over gRPC. Raise CardError if there is none."""
    url = f"{site.rstrip('/')}/.well-known/agent-card.json"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            card = json_format.Parse(response.read(), a2a.AgentCard(), ignore_unknown_fields=True)
    except (OSError, ValueError) as error:  # the errors of urllib are OSErrors
        raise CardError(f"cannot fetch {url}: {getattr(error, 'reason', error)}") from error
    except json_format.ParseError as error:
        raise CardError(f"{url} is not an agent card: {error}") from error
    kinds = [f"{offered.protocol_binding} {offered.protocol_version}" for offered in card.supported_interfaces]
    if "GRPC 1.0" not in kinds:
        raise CardError(f"{url} names no interface GRPC 1.0, but {', '.join(kinds) or 'none at all'}")
    return card.supported_interfaces[kinds.index("GRPC 1.0")]


def credentials_for(address: str) -> grpc.ChannelCredentials | None:
    """Return credentials for TLS to another machine, or None for plaintext on this one."""
    return None if address.startswith(LOOPBACK) else grpc.ssl_channel_credentials()
