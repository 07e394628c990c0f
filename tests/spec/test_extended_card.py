"""GetExtendedAgentCard: as the public card declares it (spec §3.1.11)."""

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.principal import Principal
from a2a_grpc.wire import AgentCapabilities, AgentCard, AgentSkill, GetExtendedAgentCardRequest
from tests.covers import covers
from tests.harness import V1, Served, refusal, serving
from tests.spec.required import faults
from tests.spec.rpcs import card_of


def declared(**capabilities: bool) -> Agent:
    """An agent whose card is a template with these capabilities."""
    card = AgentCard(capabilities=AgentCapabilities(**capabilities)) if capabilities else None  # type: ignore[arg-type]
    agent = Agent("Echo", "Echoes.", card=card)

    @agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    return agent


@covers("XCRD-1")
async def test_an_agent_without_extended_card_does_not_support_it(served: Served) -> None:
    assert served.server.card.capabilities.extended_agent_card is False
    refused = await refusal(card_of(served, *V1))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")


@covers("XCRD-1", "OPEN-25")
async def test_the_public_card_decides_even_where_a_card_is_configured() -> None:
    agent = declared(extended_agent_card=False)

    @agent.extended_card
    def extend(public: AgentCard, principal: Principal) -> AgentCard:
        return public

    async with serving(agent) as served:
        refused = await refusal(card_of(served, *V1))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")


@covers("XCRD-2")
async def test_an_extended_card_that_is_declared_but_not_configured_is_told_so() -> None:
    async with serving(declared(extended_agent_card=True)) as served:
        refused = await refusal(card_of(served, *V1))
        assert refused.code == grpc.StatusCode.FAILED_PRECONDITION
        assert refused.reason == "EXTENDED_AGENT_CARD_NOT_CONFIGURED"


@covers("XCRD-4")
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_extended_card_is_what_the_agent_makes_of_the_public_one(asynchronous: bool) -> None:
    agent = declared()

    def extend(public: AgentCard, principal: Principal) -> AgentCard:
        public.skills.append(AgentSkill(id="secret", name="Secret", description="For members.", tags=["members"]))
        return public

    async def extend_later(public: AgentCard, principal: Principal) -> AgentCard:
        return extend(public, principal)

    agent.extended_card(extend_later if asynchronous else extend)
    async with serving(agent) as served:
        assert served.server.card.capabilities.extended_agent_card is True
        cards = [await card_of(served, *V1) for _ in range(2)]
        assert [skill.id for skill in cards[0].skills] == ["echo", "secret"]
        assert cards[0] == cards[1]
        assert [skill.id for skill in served.server.card.skills] == ["echo"]
        assert faults(cards[0]) == []


@covers("XCRD-4")
async def test_the_extended_card_may_depend_on_who_calls() -> None:
    agent = declared()

    @agent.extended_card
    def extend(public: AgentCard, principal: Principal) -> AgentCard:
        public.description = f"for tenant '{principal.tenant}'"
        return public

    async with serving(agent) as served:
        cards = [
            await served.stub.GetExtendedAgentCard(GetExtendedAgentCardRequest(tenant=tenant), metadata=V1)
            for tenant in ("", "acme")
        ]
        assert [card.description for card in cards] == ["for tenant ''", "for tenant 'acme'"]


@covers("XCRD-6", "ERR-7", "P10")
async def test_a_failure_while_the_card_is_made_does_not_leave_the_server() -> None:
    agent = declared()

    @agent.extended_card
    def extend(public: AgentCard, principal: Principal) -> AgentCard:
        raise RuntimeError("db-password")

    async with serving(agent) as served:
        refused = await refusal(card_of(served, *V1))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
        assert "db-password" not in refused.text
        assert refused.metadata == {}
