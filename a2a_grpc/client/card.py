"""Agent cards: reading them, checking them, and choosing an interface."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import json_format
from google.protobuf.message import EncodeError
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.address import is_loopback, is_wildcard, join_address
from a2a_grpc.client.errors import AgentCardError
from a2a_grpc.client.lenient import fill
from a2a_grpc.client.responses import value_problem
from a2a_grpc.client.target import Address, grpc_address, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.protocol import GRPC_BINDING, PROTOCOL_VERSION
from a2a_grpc.wire import AgentCard, AgentInterface

MAX_REASON_CHARS = 300
"""The largest length of a parser's message in an error. The message may repeat the card."""

MAX_VERSION_CHARS = 32
"""The largest length of a version, or of the name of a member, in an error."""

MAX_DIGITS = 400
"""The largest number of digits of a whole number. Those of the largest double are 309."""

MAX_NAMED = 8
"""The largest number of interfaces that an error lists."""


def read_card(content: bytes | str, source: str, problems: list[str] | None = None) -> AgentCard:
    """Return the card that ProtoJSON text holds, without the members that cannot be read; `problems` gets a sentence
    for each of them. Unknown members are ignored (WIRE-5).

    Raises AgentCardError naming `source` for what is no card at all.
    """
    text = content.removeprefix("\ufeff") if isinstance(content, str) else content
    try:
        members = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant, parse_int=_integer)
    except RecursionError as error:
        raise AgentCardError(f"the card at {source} is nested too deeply") from error
    except ValueError as error:
        raise AgentCardError(f"the card at {source} is not JSON: {str(error)[:MAX_REASON_CHARS]}") from error
    if not isinstance(members, dict):
        raise AgentCardError(f"the card at {source} is a JSON {type(members).__name__}, not an object")
    if "url" in members and not (members.get("supportedInterfaces") or members.get("supported_interfaces")):
        members = {**members, "supportedInterfaces": _old_interfaces(members, source)}
    card = AgentCard()
    try:
        wrong = fill(card, members)
        card.SerializeToString()  # deeper than protobuf reads, it could be neither copied nor sent
    except (json_format.ParseError, RecursionError, EncodeError) as error:
        raise AgentCardError(f"the card at {source} is no agent card: {str(error)[:MAX_REASON_CHARS]}") from error
    if problem := value_problem(card):
        raise AgentCardError(f"the card at {source} is no agent card: {problem}")
    if problems is not None:
        problems += wrong
    return card


def _old_interfaces(members: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    """Return the interfaces of a card in the form of A2A 0.3. Raise AgentCardError unless they are for this version."""
    version = str(members.get("protocolVersion") or "0.3")[:MAX_VERSION_CHARS]
    if not _is_spoken(version):
        raise AgentCardError(f"the card at {source} is for A2A {version}; this client speaks {PROTOCOL_VERSION}")
    more = members.get("additionalInterfaces")
    others = [other for other in more if isinstance(other, dict)] if isinstance(more, list) else []
    pairs = [(members["url"], members.get("preferredTransport", "JSONRPC"))]
    pairs += [(other.get("url"), other.get("transport")) for other in others]
    return [{"url": url, "protocolBinding": binding, "protocolVersion": version} for url, binding in pairs]


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of a JSON object. Two readers of the same card must not see two different cards."""
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise ValueError(f"the member {twice[:MAX_VERSION_CHARS]!r} is given twice")
    "".join(members).encode()  # raises for half a surrogate pair, over which protobuf stumbles
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:  # Python's own limit names a setting of Python
        raise ValueError(f"a number has {len(text)} digits; at most {MAX_DIGITS} are read")
    return int(text)


def missing_fields(message: ProtobufMessage) -> list[str]:
    """Return the paths, in JSON names, of the REQUIRED fields that are not set (WIRE-6)."""
    return list(_missing(message, ""))


def _missing(message: ProtobufMessage, path: str) -> Iterator[str]:
    for field in message.DESCRIPTOR.fields:
        here = f"{path}.{field.json_name}" if path else field.json_name
        content = getattr(message, field.name)
        is_single = isinstance(content, ProtobufMessage)
        is_set = message.HasField(field.name) if is_single else bool(content)
        if not is_set:
            if _is_required(field):
                yield here
        elif is_single:
            yield from _missing(content, here)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for place, item in enumerate(content):
                yield from _missing(item, f"{here}[{place}]")


def _is_required(field: Any) -> bool:
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.FieldBehavior.Value("REQUIRED") in behaviors


def choose_interface(card: AgentCard, source: str) -> AgentInterface:
    """Return the first gRPC interface for this version (SEL-1, SEL-4). Raise AgentCardError, which lists the others."""
    return grpc_interfaces(card, source)[0]


def usable_interface(card: AgentCard, source: str, *, card_host: str, any_host: bool) -> tuple[AgentInterface, Address]:
    """Return the first gRPC interface that can be called, with its address.

    Raise AgentCardError if there is none. If there are gRPC interfaces, the error says why the first cannot be called.
    """
    refused: AgentCardError | None = None
    for interface in grpc_interfaces(card, source):
        try:
            return interface, interface_address(interface, source, card_host=card_host, any_host=any_host)
        except AgentCardError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def grpc_interfaces(card: AgentCard, source: str) -> list[AgentInterface]:
    """Return the gRPC interfaces for this version, at least one. Raise AgentCardError, which lists the others.

    The case of the binding does not count, and an interface without a version counts as one of this version.
    """
    found = [
        interface
        for interface in card.supported_interfaces
        if interface.protocol_binding.strip().upper() == GRPC_BINDING
        and interface.url.strip()
        and (not interface.protocol_version.strip() or _is_spoken(interface.protocol_version))
    ]
    if found:
        return found
    offers = ", ".join(
        f"{interface.protocol_binding} {interface.protocol_version} at {shown(interface.url)}"
        for interface in card.supported_interfaces[:MAX_NAMED]
        if interface.ByteSize()
    )[:MAX_REASON_CHARS]
    raise AgentCardError(
        f"the card at {source} has no {GRPC_BINDING} interface for A2A {PROTOCOL_VERSION}; it has {offers or 'none'}"
    )


def _is_spoken(version: str) -> bool:
    return ".".join(version.strip().split(".")[:2]) == PROTOCOL_VERSION


def problems_of(card: AgentCard, source: str, *, card_host: str, any_host: bool) -> list[str]:
    """Return what is wrong with a card: fields that the contract requires (CARD-9), names that other clients do not
    find, and what keeps this client from calling the agent."""
    problems = [f"{path} is missing" for path in missing_fields(card)]
    problems += [
        f"supportedInterfaces[{place}].protocolBinding is '{interface.protocol_binding}', not {GRPC_BINDING}"
        for place, interface in enumerate(card.supported_interfaces)
        if interface.protocol_binding.strip().upper() == GRPC_BINDING != interface.protocol_binding
    ]
    try:
        usable_interface(card, source, card_host=card_host, any_host=any_host)
    except AgentCardError as error:
        problems.append(str(error))
    return problems


def interface_address(interface: AgentInterface, source: str, *, card_host: str, any_host: bool) -> Address:
    """Return the address of an interface. Raise AgentCardError if it cannot be called.

    A card may only name its own host, `card_host`, unless `any_host` is True. The author of the card decides where the
    caller's credentials go. `card_host` is "" for a card from a file.
    """
    try:
        address = grpc_address(interface.url.strip())
    except ConfigurationError as error:
        raise AgentCardError(f"the card at {source}: the interface's {error}") from error
    if is_wildcard(address.host):
        near = join_address(card_host or "HOST", address.port)
        raise AgentCardError(
            f"the card at {source} names {shown(str(address))} for gRPC, which stands for every address of the agent's "
            f"machine and cannot be called. Have the agent advertise one (--advertise HOST:PORT), or call it at {near}"
        )
    same = address.host.lower() == card_host.lower() or (is_loopback(address.host) and is_loopback(card_host))
    if card_host and not any_host and not same:
        raise AgentCardError(
            f"the card at {source} sends gRPC to another host, {shown(str(address))}; "
            "allow it with any_card_host (--any-card-host)"
        )
    return address
