"""A call over a limit of the agent: RESOURCE_EXHAUSTED with RetryInfo is waited out, and the call made again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from a2a_grpc import Agent, Client, Server, ServerSettings, Task, TaskState, Turn, connect
from a2a_grpc.auth import AuthSettings, CallCredentials
from a2a_grpc.client import ConnectionLostError
from a2a_grpc.engine import EngineSettings
from a2a_grpc.errors import ResourceExhaustedError, UnavailableError
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import STATUS_DETAILS
from a2a_grpc.rpc.responses import Responses
from a2a_grpc.wire import StreamResponse, TaskStatus
from tests.cli.terminal import error_of, run, run_all
from tests.client.peers import ANSWERS, OPERATIONS, RPCS, UNARY, Failure, Page, Peer, Site, collected, peering
from tests.covers import covers
from tests.harness import eventually

QUICK: dict[str, Any] = {"retry_initial_s": 0.001, "retry_maximum_s": 0.01}
FULL = Failure.of(ResourceExhaustedError("1 call a second, the limit", retry_after_s=0.01))
FULL_FOR_LONG = Failure.of(ResourceExhaustedError("60 tasks wait", retry_after_s=60.0))


@covers("ERR-6", "ERR-17")
@pytest.mark.few(6)
@pytest.mark.parametrize("rpc", RPCS)
async def test_a_call_over_a_limit_is_made_again_whatever_the_agent_says_of_keys(rpc: str) -> None:
    peer = Peer(failures=[FULL, FULL], repeats_safely=False)
    async with peering(peer), Site(Page.card(peer.address)) as site, connect(site.url, **QUICK) as client:
        await OPERATIONS[rpc](client)
    assert [call.rpc for call in peer.calls] == [rpc] * 3
    assert peer.questions == 0


@pytest.mark.parametrize("rpc", RPCS)
async def test_a_wait_that_does_not_fit_into_the_time_is_not_begun(rpc: str) -> None:
    """With a minute to wait, this test would not end in time."""
    async with peering(Peer(always=FULL_FOR_LONG)) as peer, connect(peer.address) as client:
        with pytest.raises(ResourceExhaustedError, match="60 tasks wait") as failed:
            await OPERATIONS[rpc](client)
    assert failed.value.retry_after_s == 60.0
    assert len(peer.calls) == 1


@pytest.mark.parametrize("rpc", UNARY)
async def test_the_tries_of_a_unary_call_are_counted_and_end_with_the_error_of_the_agent(rpc: str) -> None:
    async with peering(Peer(always=FULL)) as peer, connect(peer.address, max_retries=2, **QUICK) as client:
        with pytest.raises(ResourceExhaustedError, match="1 call a second") as failed:
            await OPERATIONS[rpc](client)
    assert failed.value.retry_after_s == 0.01
    assert len(peer.calls) == 3


@pytest.mark.parametrize("rpc", ["SendStreamingMessage", "SubscribeToTask"])
async def test_a_stream_that_has_not_begun_is_given_up_on_after_its_time(rpc: str) -> None:
    async with peering(Peer(always=FULL)) as peer, connect(peer.address, give_up_after_s=0.1, **QUICK) as client:
        with pytest.raises(ResourceExhaustedError, match="1 call a second"):
            await asyncio.wait_for(OPERATIONS[rpc](client), 30)
    assert len(peer.calls) > 1


@pytest.mark.parametrize("rpc", ["GetTask", "SendMessage", "SendStreamingMessage", "SubscribeToTask"])
async def test_a_limit_without_the_reason_of_the_protocol_is_raised_at_once(rpc: str) -> None:
    """Another reason may mean that the call has had its effect."""
    status = Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="quota")
    status.details.add().Pack(ErrorInfo(reason="QUOTA_OF_TODAY", domain="agents.example"))
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(10)
    status.details.add().Pack(retry)
    failure = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota", ((STATUS_DETAILS, status.SerializeToString()),))
    async with peering(Peer(always=failure)) as peer, connect(peer.address, **QUICK) as client:
        with pytest.raises(ResourceExhaustedError, match="quota"):
            await OPERATIONS[rpc](client)
    assert len(peer.calls) == 1


@pytest.mark.parametrize("rpc", ["GetTask", "SendMessage", "SendStreamingMessage", "SubscribeToTask"])
async def test_canceling_a_call_that_waits_for_a_limit_ends_it_at_once(rpc: str) -> None:
    failure = Failure.of(ResourceExhaustedError(retry_after_s=600.0))
    async with peering(Peer(always=failure)) as peer:
        async with connect(peer.address, timeout_s=3600.0, give_up_after_s=3600.0) as client:
            awaiting = asyncio.ensure_future(OPERATIONS[rpc](client))

            def refused() -> None:
                assert len(peer.calls) == 1

            await eventually(refused)
            awaiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await awaiting
    assert len(peer.calls) == 1


@pytest.mark.parametrize("rpc", ["SendMessage", "SendStreamingMessage"])
async def test_a_limit_after_a_try_that_may_have_had_its_effect_is_raised_with_that_doubt(rpc: str) -> None:
    peer = Peer(failures=[Failure.of(UnavailableError("busy"))], always=FULL_FOR_LONG)
    async with peering(peer), connect(peer.address, **QUICK) as client:
        with pytest.raises(ResourceExhaustedError, match="whether an earlier try has had its effect is not known"):
            await OPERATIONS[rpc](client)
    assert len(peer.calls) == 2


async def test_a_send_that_is_unavailable_after_a_limit_is_not_sent_a_third_time() -> None:
    peer = Peer(failures=[FULL, Failure.of(UnavailableError("busy")), FULL], repeats_safely=False)
    async with peering(peer), Site(Page.card(peer.address)) as site, connect(site.url, **QUICK) as client:
        with pytest.raises(UnavailableError, match="busy"):
            await client.start("hello")
    assert len(peer.calls) == 2  # UNAVAILABLE may have had its effect


def at_work(*failures: Failure | None) -> Peer:
    """A peer whose stream of a send ends while the task is at work."""
    task = Task(id="t-1", status=TaskStatus(state=TaskState.TASK_STATE_WORKING))
    return Peer(answers={**ANSWERS, "SendStreamingMessage": StreamResponse(task=task)}, failures=list(failures))


async def test_a_task_that_is_followed_goes_on_after_a_limit_and_its_message_is_sent_once() -> None:
    peer = at_work(None, FULL, FULL)
    async with peering(peer), connect(peer.address, **QUICK) as client:
        done = await client.send("hello")
    assert isinstance(done, Task)
    assert done.status.state == TaskState.TASK_STATE_COMPLETED
    assert [call.rpc for call in peer.calls] == ["SendStreamingMessage", *["SubscribeToTask"] * 3]


async def test_a_task_that_is_followed_and_given_up_on_is_in_the_error() -> None:
    peer = at_work(None, Failure.of(ResourceExhaustedError("no room", retry_after_s=400.0)))
    async with peering(peer), connect(peer.address, **QUICK) as client:
        with pytest.raises(ConnectionLostError, match="no room") as failed:
            await client.send("hello")
    assert failed.value.task is not None
    assert len(peer.calls) == 2


# -- real servers


class Counting:
    """An authenticator that counts the calls. Every caller is one and the same."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        self.calls += 1
        return Principal("ann", "key")

    def schemes(self) -> dict[str, Any]:
        return {}

    def challenge(self) -> str:
        return "Bearer"


def echo() -> tuple[Agent, list[str]]:
    agent, seen = Agent("Echo", "Repeats."), list[str]()

    @agent.skill()
    async def repeat(turn: Turn) -> str:
        """Repeats the text."""
        seen.append(turn.text)
        return turn.text

    return agent, seen


async def test_a_response_without_room_names_a_time_only_if_its_call_has_had_no_effect() -> None:
    responses = Responses(max_bytes=20_000, unread_s=0.01)
    async with asyncio.TaskGroup() as group:
        first = asyncio.current_task()
        assert first is not None
        await responses.hold(first, "a", 19_000)
        with pytest.raises(ResourceExhaustedError, match="leave no room for one of 5000 bytes") as failed:
            await responses.hold(group.create_task(asyncio.sleep(0)), "b", 5000)
        assert failed.value.retry_after_s is None
        with pytest.raises(ResourceExhaustedError, match="leave no room for one of 5000 bytes") as failed:
            await responses.hold(group.create_task(asyncio.sleep(0)), "b", 5000, has_acted=False)
        assert failed.value.retry_after_s == 1.0
        responses.release(first)


@asynccontextmanager
async def limited(agent: Agent, **limits: Any) -> AsyncIterator[tuple[str, Counting]]:
    """Serve an agent with a limit of calls for each caller. Give its address, and what counts the calls."""
    counting = Counting()
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0)
    async with Server(agent, settings, auth=[counting], callers=AuthSettings(**limits)) as server:
        yield server.grpc_address, counting


async def one_of_each(client: Client, place: int) -> None:
    """Send in one of the ways of a client."""
    match place % 3:
        case 0:
            await client.send(f"{place}")
        case 1:
            await client.start(f"{place}")
        case _:
            await collected(client.stream(f"{place}"))


async def test_sends_in_parallel_over_the_calls_per_second_all_succeed_and_each_once() -> None:
    agent, seen = echo()
    async with limited(agent, calls_per_second=20, calls_burst=2) as (address, counting), connect(address) as client:
        await asyncio.gather(*(one_of_each(client, place) for place in range(9)))
        await eventually(lambda: _assert_same(sorted(seen), [f"{place}" for place in range(9)]))
    assert counting.calls > 9


def _assert_same(found: list[str], expected: list[str]) -> None:
    assert found == expected


async def test_a_rate_with_a_long_wait_is_told_at_once() -> None:
    agent, _ = echo()
    async with limited(agent, calls_per_second=0.001, calls_burst=1) as (address, counting):
        async with connect(address) as client:
            await client.start("first")
            for place in range(3):
                with pytest.raises(ResourceExhaustedError) as failed:
                    await one_of_each(client, place)
                assert failed.value.retry_after_s
                assert failed.value.retry_after_s > 100
    assert counting.calls == 4


async def test_a_queue_that_is_full_takes_the_send_once_there_is_room() -> None:
    agent, go, begun = Agent("Slow", "Waits."), asyncio.Event(), list[str]()

    @agent.skill()
    async def work(turn: Turn) -> str:
        """Works until it may end."""
        begun.append(turn.text)
        await go.wait()
        return turn.text

    counting = Counting()
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0)
    engine = EngineSettings(max_runs=1, max_queued_per_caller=1)
    async with Server(agent, settings, engine=engine, auth=[counting]) as server:
        async with connect(server.grpc_address, **QUICK) as client:
            running = await client.start("0")
            assert isinstance(running, Task)
            await client.start("1")
            before = counting.calls
            sending = asyncio.create_task(client.send("2"))

            def refused() -> None:
                assert counting.calls > before + 1  # the send was refused once, and came again

            await eventually(refused)
            assert not sending.done()
            go.set()
            done = await sending
            assert (await client.wait(running.id)).status.state == TaskState.TASK_STATE_COMPLETED
    assert begun == ["0", "1", "2"]
    assert isinstance(done, Task)
    assert done.status.state == TaskState.TASK_STATE_COMPLETED


# -- the command line


async def test_commands_over_the_rate_succeed_and_a_long_wait_ends_with_6_and_the_seconds() -> None:
    agent, seen = echo()
    async with limited(agent, calls_per_second=5, calls_burst=1) as (address, _):
        ended = await run_all(*(("send", f"--agent={address}", f"{place}") for place in range(4)))
    assert [done.code for done in ended] == [0] * 4
    assert sorted(seen) == ["0", "1", "2", "3"]
    async with peering(Peer(always=FULL_FOR_LONG)) as peer:
        done = await run("send", f"--agent={peer.address}", "hello")
    assert error_of(done, 6) == "60 tasks wait (try again in 60 s)"
    assert len(peer.calls) == 1
