"""The agent card, built from the declaration and the address."""

import json

from google.protobuf import json_format

from a2a_grpc.agent.agent import Agent
from a2a_grpc.config import ConfigurationError
from a2a_grpc.protocol import (
    ARTIFACTS_EXTENSION,
    CALLBACK_EXTENSION,
    GRPC_BINDING,
    IDEMPOTENT_SEND_EXTENSION,
    PROTOCOL_VERSION,
    SEQ_EXTENSION,
)
from a2a_grpc.wire import AgentCard, AgentExtension, AgentInterface, AgentSkill

EXTENSIONS = {
    SEQ_EXTENSION: "Streams tell the seq of their first element in the initial metadata `a2a-grpc-seq`; "
    "SubscribeToTask resumes after the seq in the request metadata `a2a-grpc-after`.",
    ARTIFACTS_EXTENSION: "With the request metadata `a2a-grpc-artifacts: none` the tasks that a call returns hold no "
    "artifacts: the task of GetTask, of CancelTask, of a send, and the first element of a stream.",
    IDEMPOTENT_SEND_EXTENSION: "A send with the request metadata `idempotency-key`, repeated, makes no second task.",
}
"""The extensions that every server of this package offers, each with its description for the card."""


CALLBACKS = {
    CALLBACK_EXTENSION: "A message whose metadata has an object under this URI, or under `callback_task`, with the "
    "member `endpoint` has the result of its task sent to the agent at this endpoint with SendMessage."
}
"""The extension of servers that send push notifications."""


def build_card(agent: Agent, *, address: str, tenant: str = "", offers_push: bool = False) -> AgentCard:
    """Return the agent card of an agent that is served at an address.

    Every required field of the card is set (spec §4.4.1).

    Args:
        agent: The agent.
        address: HOST:PORT of the gRPC server, as callers reach it.
        tenant: The tenant that the interface names; empty for none.
        offers_push: True if the server sends push notifications.

    Raises:
        ConfigurationError: The agent cannot have a valid card, for example because it has no skill.
    """
    check_card(agent, offers_push=offers_push)
    card = AgentCard()
    card.CopyFrom(agent.card)
    card.name, card.description, card.version = agent.name, agent.description, agent.version
    del card.supported_interfaces[:]
    card.supported_interfaces.append(
        AgentInterface(url=address, protocol_binding=GRPC_BINDING, tenant=tenant, protocol_version=PROTOCOL_VERSION)
    )
    card.supported_interfaces.extend(agent.card.supported_interfaces)
    if not card.capabilities.HasField("streaming"):
        card.capabilities.streaming = agent.streaming
    card.capabilities.push_notifications = offers_push
    if not card.capabilities.HasField("extended_agent_card"):
        card.capabilities.extended_agent_card = agent.extended is not None
    declared = {extension.uri for extension in card.capabilities.extensions}
    card.capabilities.extensions.extend(
        AgentExtension(uri=uri, description=description)
        for uri, description in (EXTENSIONS | CALLBACKS if offers_push else EXTENSIONS).items()
        if uri not in declared
    )
    card.default_input_modes[:] = card.default_input_modes or agent.input_modes
    card.default_output_modes[:] = card.default_output_modes or agent.output_modes
    del card.skills[:]
    card.skills.extend(
        AgentSkill(
            id=skill.id,
            name=skill.name,
            description=skill.description,
            tags=skill.tags,
            examples=skill.examples,
            input_modes=skill.input_modes,
            output_modes=skill.output_modes,
        )
        for skill in agent.skills.values()
    )
    return card


def check_card(agent: Agent, *, offers_push: bool) -> None:
    """Raise ConfigurationError for an agent that cannot have a valid card, for example because it has no skill.

    Args:
        agent: The agent.
        offers_push: True if the server sends push notifications.
    """
    if not agent.skills:
        raise ConfigurationError(f"agent '{agent.name}' has no skill; declare one with @agent.skill()")
    if agent.default_skill and agent.default_skill not in agent.skills:
        raise ConfigurationError(
            f"agent '{agent.name}': default_skill '{agent.default_skill}' is not one of its skills"
        )
    if agent.card.capabilities.push_notifications and not offers_push:
        raise ConfigurationError(
            f"agent '{agent.name}': the card offers push_notifications, which this server does not: give --push, or "
            "Server(…, push=PushSettings(push=True))"
        )
    for field in ("name", "description", "version"):
        if not getattr(agent, field):
            raise ConfigurationError(f"agent '{agent.name}': {field} is empty; the card needs it")


def card_json(card: AgentCard) -> bytes:
    """Return a card in JSON, as it is served over HTTP."""
    return json.dumps(json_format.MessageToDict(card), ensure_ascii=False, indent=2).encode()
