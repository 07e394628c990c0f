"""How long a call may take and how often it is made."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from a2a_grpc import Client, TaskState, connect
from a2a_grpc.client import TaskStream
from a2a_grpc.client.origin import MADE_UP
from a2a_grpc.errors import A2AError, DeadlineExceededError, ResourceExhaustedError, UnavailableError
from a2a_grpc.protocol import IDEMPOTENT_SEND_EXTENSION
from tests.client.peers import (
    OPERATIONS,
    RPCS,
    STREAMS,
    UNARY,
    Failure,
    Page,
    Peer,
    Site,
    card_json,
    collected,
    peering,
)
from tests.covers import covers
from tests.harness import eventually, scripted_agent, serving
from tests.ports import free_address

QUICK: dict[str, Any] = {"retry_initial_s": 0.001, "retry_maximum_s": 0.01}
SENDS: dict[str, Callable[[Client], Any]] = {
    "start": lambda client: client.start("hello"),
    "send": lambda client: client.send("hello"),
    "stream": lambda client: collected(client.stream("hello")),
}
UNAVAILABLE = Failure.of(UnavailableError("too busy"))


def received(peer: Peer, count: int) -> Callable[[], None]:
    """Asserts how many calls the peer has got."""

    def check() -> None:
        assert len(peer.calls) == count

    return check


# -- deadlines


@covers("S1-13")
@pytest.mark.parametrize("rpc", UNARY)
async def test_a_unary_call_that_is_not_answered_ends_in_time_and_says_so(rpc: str) -> None:
    async with peering(Peer(held=asyncio.Event())) as peer, connect(peer.address, timeout_s=0.25) as client:
        with pytest.raises(DeadlineExceededError) as failed:
            await OPERATIONS[rpc](client)
        assert str(failed.value) == f"{peer.address} did not answer {rpc} within 0.25 s"
        assert failed.value.retryable
        assert len(peer.calls) == 1

        def ended() -> None:
            assert peer.canceled == 1

        await eventually(ended)


@covers("S1-13")
async def test_retries_are_within_the_time_of_the_call_and_the_message_names_all_of_it() -> None:
    peer = Peer(failures=[UNAVAILABLE, UNAVAILABLE], held=asyncio.Event(), held_from=3)
    async with peering(peer), connect(peer.address, timeout_s=0.5, **QUICK) as client:
        with pytest.raises(DeadlineExceededError, match=r"did not answer GetTask within 0\.5 s"):
            await client.get("t-1")
    assert len(peer.calls) == 3


@covers("S1-13")
async def test_each_retry_has_the_time_that_is_left() -> None:
    peer = Peer(failures=[Failure.of(UnavailableError(retry_after_s=0.3))] * 2)
    async with peering(peer), connect(peer.address, timeout_s=9.0) as client:
        await client.get("t-1")
    remaining_s = [call.remaining_s or 0.0 for call in peer.calls]
    for left_s, at_most_s in zip(remaining_s, [9.05, 8.75, 8.45], strict=True):  # it travels rounded up a little
        assert 0 < left_s <= at_most_s


@covers("S1-13")
async def test_an_agent_that_stays_unavailable_is_given_up_on_within_the_time_of_the_call() -> None:
    async with peering(Peer(always=UNAVAILABLE)) as peer:
        async with connect(peer.address, timeout_s=0.3, max_retries=10**6, **QUICK) as client:
            with pytest.raises(A2AError) as failed:
                await asyncio.wait_for(client.get("t-1"), 30)
    assert isinstance(failed.value, (UnavailableError, DeadlineExceededError))
    assert len(peer.calls) > 2


@covers("S1-13")
@pytest.mark.parametrize("rpc", UNARY)
async def test_a_unary_call_has_a_deadline_by_default(rpc: str) -> None:
    async with peering() as peer, connect(peer.address) as client:
        await OPERATIONS[rpc](client)
    [call] = peer.calls
    assert call.remaining_s is not None
    assert call.remaining_s <= 31.0  # it travels rounded up


@covers("S1-13")
@pytest.mark.parametrize("rpc", STREAMS)
async def test_a_stream_has_no_deadline_whatever_a_call_may_take(rpc: str) -> None:
    async with peering() as peer, connect(peer.address, timeout_s=0.05) as client:
        await OPERATIONS[rpc](client)
    assert [call.remaining_s for call in peer.calls] == [None]


@covers("S1-13")
async def test_a_job_may_take_longer_than_any_call() -> None:
    """The job is released after three calls have timed out beside it."""
    job, calls = Peer(held=asyncio.Event()), Peer(held=asyncio.Event())
    async with peering(job), peering(calls), connect(job.address, timeout_s=0.1) as client:
        sending = asyncio.create_task(client.send("hello"))
        await eventually(received(job, 1))
        async with connect(calls.address, timeout_s=0.1) as other:
            for _ in range(3):
                with pytest.raises(DeadlineExceededError):
                    await other.get("t-1")
        assert not sending.done()
        assert job.held is not None
        job.held.set()
        await sending
    assert [call.rpc for call in job.calls] == ["SendStreamingMessage"]


async def test_a_deadline_that_the_agent_itself_tells_is_told_in_its_words() -> None:
    failure = Failure.of(DeadlineExceededError("the model did not answer in time"))
    async with peering(Peer(always=failure)) as peer, connect(peer.address) as client:
        with pytest.raises(DeadlineExceededError, match="the model did not answer in time"):
            await client.get("t-1")
    assert len(peer.calls) == 1


# -- retries


@covers("S1-14")
@pytest.mark.few(3)
@pytest.mark.parametrize("rpc", UNARY)
async def test_an_answer_is_not_tried_again(rpc: str) -> None:
    """What no agent has answered is tried again: tests/client/test_transport_failures.py."""
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK or code in MADE_UP:
            continue
        async with peering(Peer(always=Failure(code, "no"))) as peer, connect(peer.address, **QUICK) as client:
            with pytest.raises(A2AError):
                await OPERATIONS[rpc](client)
        assert (code, len(peer.calls)) == (code, 1)


@covers("S1-14")
@pytest.mark.parametrize("rpc", RPCS)
async def test_an_error_that_may_pass_is_not_tried_again_if_the_agent_names_no_time(rpc: str) -> None:
    failure = Failure.of(ResourceExhaustedError("the task is too large"))
    async with peering(Peer(always=failure)) as peer, connect(peer.address, **QUICK) as client:
        with pytest.raises(ResourceExhaustedError, match="the task is too large") as failed:
            await OPERATIONS[rpc](client)
    assert failed.value.retryable
    assert failed.value.retry_after_s is None
    assert len(peer.calls) == 1


@covers("S1-14")
@pytest.mark.parametrize("rpc", RPCS)
async def test_an_agent_that_is_unavailable_for_a_moment_is_called_again(rpc: str) -> None:
    peer = Peer(failures=[UNAVAILABLE, Failure(grpc.StatusCode.UNAVAILABLE, "restarting"), UNAVAILABLE])
    async with peering(peer), connect(peer.address, **QUICK) as client:
        await OPERATIONS[rpc](client)
    assert [call.rpc for call in peer.calls] == [rpc] * 4


@covers("S1-14")
@pytest.mark.parametrize("max_retries", [0, 1, 3])
@pytest.mark.parametrize(
    "failure", [UNAVAILABLE, Failure(grpc.StatusCode.UNAVAILABLE, "too busy")], ids=["details", "bare"]
)
async def test_a_call_is_made_again_so_many_times_and_no_more(failure: Failure, max_retries: int) -> None:
    async with peering(Peer(always=failure)) as peer:
        async with connect(peer.address, max_retries=max_retries, **QUICK) as client:
            with pytest.raises(UnavailableError, match="too busy"):
                await client.get("t-1")
    assert len(peer.calls) == max_retries + 1


@covers("ERR-6")
@pytest.mark.parametrize("rpc", RPCS)
async def test_the_agents_word_on_how_long_to_wait_is_kept(rpc: str) -> None:
    peer = Peer(failures=[Failure.of(UnavailableError(retry_after_s=0.2))])
    async with peering(peer), connect(peer.address, **QUICK) as client:
        await OPERATIONS[rpc](client)
    first, second = [call.at_s for call in peer.calls]
    assert second - first >= 0.2


@covers("ERR-6")
async def test_an_agent_that_asks_for_more_patience_than_there_is_gets_none() -> None:
    """With an hour to wait, this test would not end."""
    failure = Failure.of(UnavailableError("come back later", retry_after_s=3600.0))
    async with peering(Peer(always=failure)) as peer, connect(peer.address) as client:
        with pytest.raises(UnavailableError, match="come back later") as failed:
            await client.get("t-1")
    assert failed.value.retry_after_s == 3600.0
    assert len(peer.calls) == 1


# -- sends


OFFERED = {"streaming": True, "extensions": [{"uri": IDEMPOTENT_SEND_EXTENSION}]}


@covers("S1-14")
@pytest.mark.parametrize("operation", SENDS)
async def test_a_send_is_not_repeated_at_an_agent_whose_card_does_not_offer_it(operation: str) -> None:
    peer = Peer(always=UNAVAILABLE)
    async with peering(peer), Site(Page.card(peer.address)) as site, connect(site.url, **QUICK) as client:
        with pytest.raises(UnavailableError, match="too busy"):
            await SENDS[operation](client)
    assert len(peer.calls) == 1


@covers("S1-14")
@pytest.mark.parametrize("operation", SENDS)
async def test_a_send_is_not_repeated_although_the_agent_names_a_time(operation: str) -> None:
    peer = Peer(always=Failure.of(UnavailableError(retry_after_s=0.01)))
    async with peering(peer), Site(Page.card(peer.address)) as site, connect(site.url, **QUICK) as client:
        with pytest.raises(UnavailableError):
            await SENDS[operation](client)
    assert len(peer.calls) == 1


@covers("S1-14")
@pytest.mark.parametrize("operation", SENDS)
async def test_a_send_is_not_repeated_if_the_agent_itself_failed_to_connect_to_something(operation: str) -> None:
    """The words are those of a call that never left; but it did, and may have had its effect."""
    peer = Peer(always=Failure(grpc.StatusCode.UNAVAILABLE, "failed to connect to the model"))
    async with peering(peer), Site(Page.card(peer.address)) as site, connect(site.url, **QUICK) as client:
        with pytest.raises(UnavailableError, match="failed to connect to the model"):
            await SENDS[operation](client)
    assert len(peer.calls) == 1


@covers("S1-14")
@pytest.mark.parametrize("operation", SENDS)
async def test_a_send_is_repeated_where_the_card_offers_it(operation: str) -> None:
    peer = Peer(failures=[UNAVAILABLE, UNAVAILABLE])
    async with peering(peer), Site(Page.card(peer.address, capabilities=OFFERED)) as site:
        async with connect(site.url, **QUICK) as client:
            await SENDS[operation](client)
    assert len(peer.calls) == 3
    assert len({key for call in peer.calls for key in call.values("idempotency-key")}) == 1


@covers("S1-14")
@pytest.mark.parametrize("operation", SENDS)
async def test_an_agent_known_by_its_address_is_asked_before_a_send_is_repeated(operation: str) -> None:
    peer = Peer(failures=[UNAVAILABLE, UNAVAILABLE])
    async with peering(peer), connect(peer.address, **QUICK) as client:
        await SENDS[operation](client)
        peer.failures = [UNAVAILABLE]
        await SENDS[operation](client)
    assert (len(peer.calls), peer.questions) == (5, 1)  # what it said is remembered


@covers("S1-14")
@pytest.mark.parametrize("operation", SENDS)
async def test_a_send_is_not_repeated_if_an_agent_known_by_its_address_does_not_offer_it(operation: str) -> None:
    peer = Peer(always=UNAVAILABLE, repeats_safely=False)
    async with peering(peer), connect(peer.address, **QUICK) as client:
        with pytest.raises(UnavailableError, match="too busy"):
            await SENDS[operation](client)
    assert (len(peer.calls), peer.questions) == (1, 1)


@covers("S1-14")
@pytest.mark.parametrize("operation", SENDS)
async def test_a_send_that_never_left_is_sent_once_the_agent_is_there(operation: str, tmp_path: Path) -> None:
    address = free_address()
    (tmp_path / "card.json").write_text(json.dumps(card_json(address)))
    async with connect(f"{tmp_path}/card.json", connect_timeout_s=60.0, **QUICK) as client:
        sending = asyncio.create_task(SENDS[operation](client))

        def tried() -> None:
            assert client.channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE

        await eventually(tried)
        async with peering(listen=address) as peer:
            await sending
        assert len(peer.calls) == 1


@covers("S1-14")
async def test_what_is_no_send_is_repeated_whatever_the_card_says() -> None:
    peer = Peer(failures=[UNAVAILABLE, UNAVAILABLE])
    async with peering(peer), Site(Page.card(peer.address)) as site, connect(site.url, **QUICK) as client:
        await client.cancel("t-1")
    assert len(peer.calls) == 3


# -- canceling


@pytest.mark.parametrize("rpc", RPCS)
async def test_canceling_whoever_awaits_cancels_the_rpc_and_calls_nothing(rpc: str) -> None:
    async with peering(Peer(held=asyncio.Event())) as peer, connect(peer.address) as client:
        awaiting = asyncio.ensure_future(OPERATIONS[rpc](client))
        await eventually(received(peer, 1))
        awaiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await awaiting

        def ended() -> None:
            assert peer.canceled == 1

        await eventually(ended)
        assert peer.held is not None
        peer.held.set()
        await client.get("t-1")
    assert [call.rpc for call in peer.calls] == [rpc, "GetTask"]


async def test_canceling_a_call_that_waits_for_its_next_try_ends_it_at_once() -> None:
    peer = Peer(always=Failure.of(UnavailableError(retry_after_s=600.0)))
    async with peering(peer), connect(peer.address, timeout_s=3600.0) as client:
        awaiting = asyncio.create_task(client.get("t-1"))
        await eventually(received(peer, 1))
        awaiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await awaiting
    assert len(peer.calls) == 1


async def test_a_timeout_of_the_callers_own_is_a_timeout() -> None:
    async with peering(Peer(held=asyncio.Event())) as peer, connect(peer.address) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.get("t-1")


@pytest.mark.parametrize("operation", ["send", "wait", "stream"])
async def test_canceling_whoever_waits_for_a_job_leaves_the_job_alone(operation: str) -> None:
    async with serving(scripted_agent()) as served, connect(served.server.grpc_address) as client:
        script: Any = {"script": [{"sleep": 600}]}
        started = await served.start(*script["script"]) if operation == "wait" else None
        events: TaskStream = client.stream(script)

        async def wait() -> None:
            match operation:
                case "send":
                    await client.send(script)
                case "wait":
                    assert started is not None
                    await client.wait(started.id)
                case _:
                    await collected(events)

        waiting = asyncio.create_task(wait())

        async def at_work() -> None:
            tasks = [task async for task in client.list()]
            assert [task.status.state for task in tasks] == [TaskState.TASK_STATE_WORKING]

        await eventually(at_work)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        def unwatched() -> None:
            assert served.server._running.calls.streams == 0

        await eventually(unwatched)
        await at_work()
