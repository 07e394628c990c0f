"""Tenants: on every request, part of whose a task is, never a credential (spec §8.3.2, TEN)."""

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.wire import GetExtendedAgentCardRequest, ListTasksRequest
from tests.covers import covers
from tests.harness import V1, Served, message, refusal, request, scripted, scripted_agent, serving
from tests.spec.rpcs import PAST_THE_FIRST_CHECKS, RPCS, call_of, reason_of

TASK_RPCS = ("GetTask", "CancelTask", "SubscribeToTask")


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


@covers("TEN-5", "P11")
@pytest.mark.parametrize("other", ["b", "", "A", "a "])
@pytest.mark.parametrize("rpc", TASK_RPCS)
async def test_a_task_of_one_tenant_is_unknown_to_another(served: Served, rpc: str, other: str) -> None:
    waiting = (await served.send(scripted({"input": "Which?"}, tenant="a"))).task
    refused = await refusal(call_of(served, rpc, *V1, tenant=other, task_id=waiting.id))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert await served.get(waiting.id, tenant="a") == waiting


@covers("TEN-5")
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_message_of_another_tenant_does_not_reach_the_task(served: Served, streaming: bool) -> None:
    waiting = (await served.send(scripted({"input": "Which?"}, tenant="a"))).task
    sent = request(message("red", task_id=waiting.id), tenant="b")
    refused = await refusal(served.stream(sent) if streaming else served.send(sent))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert await served.get(waiting.id, tenant="a") == waiting


@covers("TEN-5")
async def test_each_tenant_lists_its_own_tasks(served: Served) -> None:
    made = {tenant: (await served.send(request(tenant=tenant))).task.id for tenant in ("", "a", "b")}
    for tenant, task_id in made.items():
        page = await served.stub.ListTasks(ListTasksRequest(tenant=tenant), metadata=V1)
        assert ([task.id for task in page.tasks], page.total_size) == ([task_id], 1)


@covers("TEN-5")
async def test_one_idempotency_key_serves_each_tenant_apart(served: Served) -> None:
    key = ("idempotency-key", "k-1")
    ids = [(await served.send(request(tenant=tenant), key)).task.id for tenant in ("a", "b", "a")]
    assert ids[0] == ids[2]
    assert ids[0] != ids[1]


@covers("TEN-5", "OPEN-7")
@pytest.mark.parametrize("rpc", RPCS)
async def test_a_server_of_one_tenant_refuses_all_others_alike_on_every_rpc(rpc: str) -> None:
    async with serving(scripted_agent(), tenant="acme", only_tenant=True) as served:
        assert await reason_of(call_of(served, rpc, *V1, tenant="acme")) == PAST_THE_FIRST_CHECKS[rpc]
        refusals = [await refusal(call_of(served, rpc, *V1, tenant=tenant)) for tenant in ("", "other", "ACME")]
        assert refusals == [refusals[0]] * 3
        assert (refusals[0].code, refusals[0].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
        assert refusals[0].fields == ["tenant"]
        assert "acme" not in refusals[0].text


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
