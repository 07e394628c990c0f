"""The agent card, built from the declaration and the address."""

from a2a_grpc.agent.agent import Agent
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import AgentCard, AgentExtension, AgentInterface, AgentSkill

GRPC_BINDING = "GRPC"
PROTOCOL_VERSION = "1.0"

SEQ_EXTENSION = "urn:a2a-grpc:extension:seq:1"
"""URI of the optional extension by which a client resumes a stream after a seq."""


def build_card(agent: Agent, *, address: str, tenant: str = "") -> AgentCard:
    """The card that is served, and that the server's behaviour follows (CARD-11).

    `address` is `host:port` (CARD-8). Every REQUIRED field is set (CARD-9). Raises ConfigurationError for an agent
    that cannot have a valid card.
    """
    if not agent.skills:
        raise ConfigurationError(f"agent '{agent.name}' has no skill; declare one with @agent.skill()")
    if agent.default_skill and agent.default_skill not in agent.skills:
        raise ConfigurationError(
            f"agent '{agent.name}': default_skill '{agent.default_skill}' is not one of its skills"
        )
    if agent.card.capabilities.push_notifications:
        raise ConfigurationError(
            f"agent '{agent.name}': the card offers push_notifications, which this server does not"
        )
    for field in ("name", "description", "version"):
        if not getattr(agent, field):
            raise ConfigurationError(f"agent '{agent.name}': {field} is empty; the card needs it")

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
    card.capabilities.push_notifications = False
    if not card.capabilities.HasField("extended_agent_card"):
        card.capabilities.extended_agent_card = agent.extended is not None
    if all(extension.uri != SEQ_EXTENSION for extension in card.capabilities.extensions):
        card.capabilities.extensions.append(
            AgentExtension(
                uri=SEQ_EXTENSION,
                description="Streams tell the seq of their first element in the initial metadata `a2a-grpc-seq`; "
                "SubscribeToTask resumes after the seq in the request metadata `a2a-grpc-after`.",
            )
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
