"""Tenants: on every request, part of whose a task is, never a credential (spec §8.3.2, TEN)."""

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.wire import GetExtendedAgentCardRequest
from tests.covers import covers
from tests.harness import V1, Served, refusal, request, scripted_agent, serving
from tests.spec.rpcs import PAST_THE_FIRST_CHECKS, RPCS, call_of, reason_of


@covers("TEN-1")
@pytest.mark.parametrize("tenant", ["acme", "Some/Team é #1", "t" * 256])
@pytest.mark.parametrize("rpc", RPCS)
async def test_every_rpc_takes_a_tenant_of_any_form(served: Served, rpc: str, tenant: str) -> None:
    assert await reason_of(call_of(served, rpc, *V1, tenant=tenant)) == PAST_THE_FIRST_CHECKS[rpc]


@covers("TEN-1")
@pytest.mark.parametrize("tenant", ["t" * 257, "a\0b"])
@pytest.mark.parametrize("rpc", RPCS)
async def test_every_rpc_refuses_a_tenant_that_cannot_be(served: Served, rpc: str, tenant: str) -> None:
    refused = await refusal(call_of(served, rpc, *V1, tenant=tenant))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["tenant"])


@covers("TEN-3")
async def test_the_tenant_reaches_the_agent() -> None:
    agent = Agent("Teller", "Tells the tenant.", default_skill="task")

    @agent.skill()
    async def task(turn: Turn) -> str:
        return f"{turn.tenant}|{turn.principal.tenant}"

    async with serving(agent) as served:
        for tenant in ("", "acme"):
            made = (await served.send(request(tenant=tenant))).task
            assert made.artifacts[0].parts[0].text == f"{tenant}|{tenant}"


@covers("TEN-5")
async def test_one_idempotency_key_serves_each_tenant_apart(served: Served) -> None:
    key = ("idempotency-key", "k-1")
    ids = [(await served.send(request(tenant=tenant), key)).task.id for tenant in ("a", "b", "a")]
    assert ids[0] == ids[2]
    assert ids[0] != ids[1]


@covers("TEN-5", "OPEN-7", "Q9")
@pytest.mark.parametrize("rpc", RPCS)
async def test_a_server_of_one_tenant_refuses_all_others_alike_on_every_rpc(rpc: str) -> None:
    async with serving(scripted_agent(), tenant="acme", only_tenant=True) as served:
        assert await reason_of(call_of(served, rpc, *V1, tenant="acme")) == PAST_THE_FIRST_CHECKS[rpc]
        refusals = [await refusal(call_of(served, rpc, *V1, tenant=tenant)) for tenant in ("", "other", "ACME")]
        assert refusals == [refusals[0]] * 3
        assert (refusals[0].code, refusals[0].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
        assert refusals[0].fields == ["tenant"]
        assert refusals[0].text == "tenant: is not served here"


@covers("TEN-5")
async def test_a_server_of_no_tenant_may_refuse_all_tenants() -> None:
    async with serving(scripted_agent(), only_tenant=True) as served:
        assert await reason_of(call_of(served, "ListTasks", *V1)) == ""
        assert (await refusal(call_of(served, "ListTasks", *V1, tenant="acme"))).fields == ["tenant"]


@covers("TEN-6")
async def test_the_tenant_of_the_card_alone_refuses_nobody() -> None:
    async with serving(scripted_agent(), tenant="acme") as served:
        assert [one.tenant for one in served.server.card.supported_interfaces] == ["acme"]
        for tenant in ("acme", "", "other"):
            assert await reason_of(call_of(served, "SendMessage", *V1, tenant=tenant)) == ""


@covers("TEN-1")
async def test_without_a_tenant_the_interface_names_none(served: Served) -> None:
    assert [one.tenant for one in served.server.card.supported_interfaces] == [""]


@covers("TEN-4")
async def test_the_extended_card_is_made_for_the_tenant_that_asks() -> None:
    agent = scripted_agent()
    agent.extended_card(lambda public, principal: type(public)(name=f"card of {principal.tenant}"))
    async with serving(agent) as served:
        card = await served.stub.GetExtendedAgentCard(GetExtendedAgentCardRequest(tenant="acme"), metadata=V1)
        assert card.name == "card of acme"
