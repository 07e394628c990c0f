"""Extensions: asked for per call, required by the card, told in the response (spec §4.6, §3.3.4)."""

from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.protocol import SEQ_EXTENSION
from a2a_grpc.wire import AgentCapabilities, AgentCard, AgentExtension, ListTasksRequest
from tests.covers import covers
from tests.harness import V1, Served, elements, refusal, request, serving
from tests.spec.rpcs import PAST_THE_FIRST_CHECKS, RPCS, call_of, reason_of, request_of

pytestmark = pytest.mark.usefixtures("any_way")

OFFERED, OTHER, REQUIRED = "urn:example:offered:1", "urn:example:other:1", "urn:example:required:1"
KEY = "a2a-extensions"


def agent_with(*extensions: AgentExtension) -> Agent:
    """An agent that offers these extensions: it streams, asks, and answers."""
    card = AgentCard(capabilities=AgentCapabilities(extensions=extensions))
    agent = Agent("Extended", "Offers extensions.", card=card)

    @agent.skill()
    async def echo(turn: Turn) -> str | None:
        return await turn.ask("Which?") if turn.text == "ask" else turn.text

    return agent


offering = [AgentExtension(uri=OFFERED), AgentExtension(uri=OTHER)]
requiring = [AgentExtension(uri=OFFERED), AgentExtension(uri=REQUIRED, required=True)]


def extensions_in(metadata: Any) -> list[str]:
    """The extensions that metadata names."""
    return [uri for key, value in metadata for uri in str(value).split(",") if key == KEY and uri]


@covers("EXT-3", "OPEN-12", "OP-2")
@pytest.mark.parametrize("rpc", RPCS)
async def test_a_required_extension_must_be_declared_on_every_rpc(rpc: str) -> None:
    async with serving(agent_with(*requiring)) as served:
        for declared in ((), ((KEY, OFFERED),), ((KEY, REQUIRED.upper()),), ((KEY, f"{REQUIRED}.0"),)):
            refused = await refusal(call_of(served, rpc, *V1, *declared))
            assert refused.code == grpc.StatusCode.FAILED_PRECONDITION
            assert refused.reason == "EXTENSION_SUPPORT_REQUIRED"
            assert refused.metadata == {"required_extensions": REQUIRED}
        accepted = call_of(served, rpc, *V1, (KEY, f"{OFFERED},{REQUIRED}"))
        assert await reason_of(accepted) == PAST_THE_FIRST_CHECKS[rpc]


@covers("EXT-3")
async def test_a_refused_send_begins_no_task() -> None:
    async with serving(agent_with(*requiring)) as served:
        assert (await refusal(served.send(request()))).reason == "EXTENSION_SUPPORT_REQUIRED"
        page = await served.stub.ListTasks(ListTasksRequest(), metadata=(*V1, (KEY, REQUIRED)))
        assert page.total_size == 0


@covers("EXT-3")
async def test_every_required_extension_that_is_missing_is_named() -> None:
    both = [AgentExtension(uri=uri, required=True) for uri in (OFFERED, REQUIRED)]
    async with serving(agent_with(*both)) as served:
        refused = await refusal(call_of(served, "ListTasks", *V1))
        assert refused.metadata == {"required_extensions": f"{OFFERED},{REQUIRED}"}
        partly = await refusal(call_of(served, "ListTasks", *V1, (KEY, OFFERED)))
        assert partly.metadata == {"required_extensions": REQUIRED}


@covers("EXT-2")
@pytest.mark.parametrize("rpc", RPCS)
async def test_extensions_that_the_agent_does_not_know_are_ignored(served: Served, rpc: str) -> None:
    call: Any = call_of(served, rpc, *V1, (KEY, "urn:unknown:1,https://x.example/ext/v2"))
    assert await reason_of(call) == PAST_THE_FIRST_CHECKS[rpc]
    assert extensions_in(await call.initial_metadata()) == []
    assert extensions_in(await call.trailing_metadata()) == []


@covers("EXT-2")
async def test_another_version_of_an_extension_is_not_fallen_back_to() -> None:
    async with serving(agent_with(*offering)) as served:
        call: Any = call_of(served, "ListTasks", *V1, (KEY, "urn:example:offered:2,urn:example:offered"))
        await call
        assert extensions_in(await call.trailing_metadata()) == []


@covers("EXT-1")
@pytest.mark.parametrize("rpc", ["SendMessage", "SendStreamingMessage", "ListTasks"])
async def test_without_being_asked_for_no_extension_is_active(rpc: str) -> None:
    async with serving(agent_with(*offering)) as served:
        call: Any = call_of(served, rpc, *V1)
        assert await reason_of(call) == ""
        assert extensions_in(await call.initial_metadata()) == []
        assert extensions_in(await call.trailing_metadata()) == []


@covers("EXT-4", "OPEN-11")
@pytest.mark.parametrize("rpc", ["SendMessage", "GetTask", "ListTasks", "CancelTask"])
async def test_a_unary_response_names_activated_extensions_in_initial_and_trailing_metadata(
    rpc: str,
) -> None:
    async with serving(agent_with(*offering)) as served:
        waiting = (await served.send(request("ask"))).task
        call: Any = call_of(served, rpc, *V1, (KEY, f"urn:unknown:1,{OFFERED}"), task_id=waiting.id)
        assert await reason_of(call) == ""
        assert extensions_in(await call.trailing_metadata()) == [OFFERED]
        assert extensions_in(await call.initial_metadata()) == [OFFERED]


@covers("EXT-4", "OPEN-11")
async def test_the_extended_card_comes_with_the_activated_extensions_too() -> None:
    agent = agent_with(*offering)
    agent.extended_card(lambda public, principal: public)
    async with serving(agent) as served:
        call: Any = call_of(served, "GetExtendedAgentCard", *V1, (KEY, OFFERED))
        assert await reason_of(call) == ""
        assert extensions_in(await call.trailing_metadata()) == [OFFERED]
        assert extensions_in(await call.initial_metadata()) == [OFFERED]


@covers("EXT-4", "OPEN-11")
@pytest.mark.parametrize("rpc", ["SendStreamingMessage", "SubscribeToTask"])
async def test_a_stream_names_activated_extensions_before_its_first_element_and_at_its_end(
    rpc: str,
) -> None:
    async with serving(agent_with(*offering)) as served:
        waiting = (await served.send(request("ask"))).task
        sent = request_of(rpc, task_id=waiting.id)
        call: Any = getattr(served.stub, rpc)(sent, metadata=(*V1, (KEY, f"{OTHER},urn:unknown:1"), (KEY, OFFERED)))
        assert sorted(extensions_in(await call.initial_metadata())) == [OFFERED, OTHER]
        await elements(call, 1)
        answer = request("red")
        answer.message.task_id = waiting.id
        await served.send(answer)
        await elements(call)
        assert await call.code() == grpc.StatusCode.OK
        assert sorted(extensions_in(await call.trailing_metadata())) == [OFFERED, OTHER]


@covers("EXT-4", "OPEN-11")
async def test_a_stream_that_answers_with_a_message_names_them_in_both_places() -> None:
    agent = Agent("Talker", "Talks.", card=AgentCard(capabilities=AgentCapabilities(extensions=offering)))

    @agent.skill(answers="message")
    async def talk(turn: Turn) -> str:
        return turn.text

    async with serving(agent) as served:
        for call in (
            served.stream(request(), (KEY, OFFERED)),
            served.stub.SendMessage(request(), metadata=(*V1, (KEY, OFFERED))),
        ):
            assert await reason_of(call) == ""
            assert extensions_in(await call.trailing_metadata()) == [OFFERED]
            assert extensions_in(await call.initial_metadata()) == [OFFERED]


@covers("EXT-4")
async def test_a_call_that_fails_names_the_activated_extensions_beside_its_error() -> None:
    async with serving(agent_with(*offering)) as served:
        call: Any = call_of(served, "GetTask", *V1, (KEY, OFFERED))
        assert (await refusal(call)).reason == "TASK_NOT_FOUND"
        assert extensions_in(await call.trailing_metadata()) == [OFFERED]


@covers("EXT-9", "OPEN-30")
async def test_resuming_by_seq_is_an_optional_extension_of_the_card(served: Served) -> None:
    found = [one for one in served.server.card.capabilities.extensions if one.uri == SEQ_EXTENSION]
    assert [one.required for one in found] == [False]
    call: Any = call_of(served, "ListTasks", *V1, (KEY, SEQ_EXTENSION))
    await call
    assert extensions_in(await call.trailing_metadata()) == [SEQ_EXTENSION]


@covers("EXT-5", "EXT-9")
async def test_every_extension_of_the_package_is_optional_and_has_a_version_in_its_uri(served: Served) -> None:
    offered = served.server.card.capabilities.extensions
    assert len(offered) > 0
    assert [one.uri for one in offered if one.required] == []
    assert [one.uri for one in offered if not one.uri.rpartition(":")[2].isdigit()] == []
