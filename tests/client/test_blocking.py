"""The client for programs without an event loop."""

import asyncio
import concurrent.futures
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from a2a_grpc import Message, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent, connect, data_of, text_of
from a2a_grpc.client import BlockingClient, UnreachableError
from a2a_grpc.client.portal import Portal
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import (
    A2AError,
    DeadlineExceededError,
    InvalidRequestError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
    VersionNotSupportedError,
)
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.principal import Principal
from a2a_grpc.wire import AgentCard, TaskPushNotificationConfig
from tests.client.local_agents import GUARD_S, Passage, Sleeper, Writer, client_of, descriptors, observer, script
from tests.client.peers import silent_port
from tests.covers import covers
from tests.harness import ROOT, Program, Served, eventually, serving, texts
from tests.ports import free_port
from tests.regressions.faults import open_streams

pytestmark = pytest.mark.usefixtures("any_way")

T = TypeVar("T")


@pytest.fixture(autouse=True)
async def no_thread_left_behind() -> AsyncIterator[None]:
    """After each test no thread of a client is left."""
    yield
    assert _portals() == 0


def _portals() -> int:
    return sum(thread.name == "a2a-grpc:portal" for thread in threading.enumerate())


async def plainly(served: Served, work: Callable[[BlockingClient], T], **arguments: Any) -> T:
    """What a plain function does with a client, in a thread without an event loop."""

    def run() -> T:
        with BlockingClient(served.server.grpc_address, **arguments) as client:
            return work(client)

    return await asyncio.to_thread(run)


def task_of(reply: Task | Message) -> Task:
    assert isinstance(reply, Task)
    return reply


def no_stream(served: Served) -> None:
    assert open_streams(served) == 0


# -- every operation


@covers("S2-11")
async def test_send_start_wait_get_cancel_and_list(served: Served) -> None:
    def work(client: BlockingClient) -> None:
        sent = task_of(client.send("hello", context_id="c-1"))
        assert (sent.status.state, texts(sent)) == (COMPLETED, ["hello"])
        assert client.get(sent.id) == sent
        assert len(client.get(sent.id, history_length=0).history) == 0

        begun = task_of(client.start(script({"status": "going"}, {"sleep": 0.05}, {"complete": "x"})))
        assert begun.status.state in (SUBMITTED, WORKING)
        assert client.wait(begun.id).status.state == COMPLETED
        assert client.wait(begun.id, poll_s=0.01).status.state == COMPLETED

        long = task_of(client.start(script({"sleep": 600})))
        assert client.cancel(long.id).status.state == CANCELED

        assert [task.id for task in client.list(page_size=1)] == [long.id, begun.id, sent.id]
        assert [task.id for task in client.list(context_id="c-1", include_artifacts=True)] == [sent.id]

        reply = client.send(script({"message": "no task"}))
        assert isinstance(reply, Message)

        asked = task_of(client.send(script({"input": "which?"})))
        assert asked.status.state == INPUT_REQUIRED
        assert texts(task_of(client.send("this", task_id=asked.id))) == ["this"]

    await plainly(served, work)


@covers("S2-11")
async def test_streams_and_subscriptions(served: Served) -> None:
    def work(client: BlockingClient) -> None:
        with client.stream(script({"chunks": {"count": 3}}, {"complete": "done"})) as events:
            read = list(events)
        assert isinstance(read[0], Task)
        assert sum(isinstance(event, TaskArtifactUpdateEvent) for event in read) == 3
        assert isinstance(read[-1], TaskStatusUpdateEvent)
        assert events.source.task == client.get(events.source.task_id)
        with client.subscribe(events.source.task_id) as ended:
            assert list(ended) == [events.source.task]
        with client.subscribe(events.source.task_id, after=2) as rest:
            assert list(rest) == read[3 - first_seq(read) :]

    await plainly(served, work)


def first_seq(read: list[Any]) -> int:
    """Place in the log of the task that a stream of a send began with."""
    assert isinstance(read[0], Task)
    return 1 if read[0].status.state == SUBMITTED else 2


@covers("S2-11")
async def test_cards() -> None:
    agent = observer()

    @agent.extended_card
    def extended(card: AgentCard, principal: Principal) -> AgentCard:
        card.description = "More."
        return card

    async with serving(agent, http_listen="127.0.0.1:0") as served:
        url = served.server.http_url
        assert url

        def work() -> None:
            with BlockingClient(url) as client:
                assert client.card().name == "Observer"
                assert text_of(client.send("hello", metadata={"skill": "shout"})) == "HELLO"
                assert client.extended_card().description == "More."

        await asyncio.to_thread(work)


@covers("S2-11")
async def test_push_configs_are_there_too(served: Served) -> None:
    config = TaskPushNotificationConfig(task_id="t-1", id="p-1", url="https://hooks.example/")
    operations: list[Callable[[BlockingClient], Any]] = [
        lambda client: client.create_push_config(config),
        lambda client: client.get_push_config("t-1", "p-1"),
        lambda client: list(client.list_push_configs("t-1")),
        lambda client: client.delete_push_config("t-1", "p-1"),
    ]

    def work(client: BlockingClient) -> None:
        for operation in operations:
            with pytest.raises(PushNotificationNotSupportedError):
                operation(client)

    await plainly(served, work)


@covers("S2-11")
async def test_the_operations_take_what_those_of_a_client_take(served: Served) -> None:
    old = [("a2a-version", "0.2")]

    def work(client: BlockingClient) -> None:
        task = task_of(client.start(script({"sleep": 600}), idempotency_key="k"))
        for operation in (
            lambda: client.get(task.id, headers=old),
            lambda: client.cancel(task.id, headers=old),
            lambda: list(client.subscribe(task.id, headers=old)),
            lambda: client.send("hello", headers=old),
        ):
            with pytest.raises(VersionNotSupportedError):
                operation()
        assert client.cancel(task.id, metadata={"why": "enough"}).status.state == CANCELED

    await plainly(served, work)


@pytest.mark.direct
async def test_options_and_settings_reach_the_agent() -> None:
    async with serving(observer()) as served:

        def work(client: BlockingClient) -> Any:
            return data_of(client.send("hello", metadata={"n": 1}, accepted_output_modes=["application/json"]))

        told = await plainly(served, work, tenant="acme")
        assert (told["metadata"], told["modes"]) == ({"n": 1}, ["application/json"])
        async with client_of(served, tenant="acme") as acme:
            assert len([task async for task in acme.list()]) == 1


# -- streams


@covers("S2-36")
async def test_the_first_event_is_there_before_the_last_is_made() -> None:
    writer = Writer()
    async with serving(writer.agent) as served:
        loop = asyncio.get_running_loop()

        def work(client: BlockingClient) -> list[str]:
            heard = []
            with client.stream("a story") as events:
                for event in events:
                    if isinstance(event, TaskArtifactUpdateEvent):
                        heard.append(text_of(event.artifact))
                        if len(heard) == 1:
                            assert not writer.gate.opened.is_set()
                            loop.call_soon_threadsafe(writer.gate.opened.set)
            return heard

        assert await plainly(served, work) == ["Once ", "upon a time"]


@covers("S2-36")
async def test_leaving_the_block_of_a_stream_cancels_its_rpc_and_the_task_goes_on() -> None:
    writer = Writer()
    left, go_on = threading.Event(), threading.Event()
    async with serving(writer.agent) as served:

        def work(client: BlockingClient) -> str:
            with client.stream("a story") as events:
                for event in events:
                    if isinstance(event, TaskArtifactUpdateEvent):
                        break
            left.set()
            go_on.wait(GUARD_S)
            assert list(events) == []
            return text_of(client.wait(events.source.task_id))

        working = asyncio.create_task(plainly(served, work))
        await asyncio.to_thread(left.wait, GUARD_S)
        await eventually(lambda: no_stream(served))
        assert not writer.gate.opened.is_set()
        writer.gate.opened.set()
        go_on.set()
        assert await working == "Once upon a time"


async def test_a_list_that_is_left_leaves_nothing(served: Served) -> None:
    def work(client: BlockingClient) -> str:
        for number in range(3):
            client.send(f"{number}")
        for task in client.list(page_size=1):
            return task.id
        raise AssertionError("there are three")

    assert await plainly(served, work)


async def test_a_stream_may_be_read_on_after_a_loop_was_left(served: Served) -> None:
    def work(client: BlockingClient) -> None:
        with client.stream(script({"chunks": {"count": 3}}, {"complete": "done"})) as events:
            read = [next(iter(events)) for _ in range(2)]
            read += list(events)
            assert events.source.seq is not None
            assert len(read) == events.source.seq - first_seq(read) + 1
        assert sum(isinstance(event, TaskArtifactUpdateEvent) for event in read) == 3

    await plainly(served, work)


# -- errors


async def test_a_stream_is_read_without_a_block_and_left_with_its_last_name(served: Served) -> None:
    def work(client: BlockingClient) -> None:
        assert [event.status.state for event in client.stream("hello") if isinstance(event, Task)] == [SUBMITTED]
        events = client.stream(script({"status": "one"}, {"sleep": 60}))
        assert isinstance(next(events), Task)
        for event in events:
            assert isinstance(event, TaskStatusUpdateEvent)
            break
        assert client.get(events.source.task_id).status.state == WORKING

    await plainly(served, work)
    await eventually(lambda: no_stream(served))


async def test_errors_are_the_same_as_those_of_a_client(served: Served) -> None:
    def work(client: BlockingClient) -> None:
        ended = task_of(client.send("hello"))
        for kind, operation in (
            (TaskNotFoundError, lambda: client.get("t-none")),
            (TaskNotFoundError, lambda: client.wait("t-none")),
            (TaskNotFoundError, lambda: list(client.subscribe("t-none"))),
            (TaskNotCancelableError, lambda: client.cancel(ended.id)),
            (UnsupportedOperationError, lambda: client.send("more", task_id=ended.id)),
            (UnsupportedOperationError, lambda: client.card()),
            (InvalidRequestError, lambda: list(client.list(page_size=0))),
        ):
            with pytest.raises(A2AError) as error:
                operation()
            assert type(error.value) is kind

    await plainly(served, work)


async def test_a_call_that_takes_too_long_is_a_deadline_and_a_client_that_cannot_be_is_refused() -> None:
    threads = threading.active_count()
    with pytest.raises(ConfigurationError, match="gprc"):
        BlockingClient("gprc://agents.example")
    with pytest.raises(TypeError, match="no such setting"):
        BlockingClient("127.0.0.1:1", timeout_seconds=3)
    assert threading.active_count() == threads
    async with silent_port() as silent:

        def work() -> None:
            with BlockingClient(silent, timeout_s=0.3, connect_timeout_s=0.3, max_retries=0) as client:
                with pytest.raises((DeadlineExceededError, UnreachableError)):
                    client.get("t-1")

        await asyncio.to_thread(work)


async def test_a_block_that_cannot_be_entered_leaves_no_thread() -> None:
    def work() -> None:
        with pytest.raises(UnreachableError):
            with BlockingClient(f"http://127.0.0.1:{free_port()}", connect_timeout_s=0.3):
                raise AssertionError("there is nobody")

    await asyncio.to_thread(work)


# -- threads


@covers("S2-11")
async def test_many_threads_share_a_client_and_its_connection(served: Served) -> None:
    async with Passage(served.server.grpc_address) as passage:

        def work() -> list[tuple[str, int]]:
            with BlockingClient(passage.address) as client:
                with concurrent.futures.ThreadPoolExecutor(16) as pool:
                    return list(pool.map(lambda number: one(client, number), range(64)))

        def one(client: BlockingClient, number: int) -> tuple[str, int]:
            with client.stream(script({"chunks": {"count": 4, "text": f"{number}."}})) as events:
                count = sum(isinstance(event, TaskArtifactUpdateEvent) for event in events)
            return text_of(client.get(events.source.task_id)), count

        assert await asyncio.to_thread(work) == [(f"{number}." * 4, 4) for number in range(64)]
        assert passage.taken == 1


async def test_a_thread_that_waits_holds_up_no_other() -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent) as served:

        def work(client: BlockingClient) -> None:
            waiting = threading.Thread(target=lambda: states.append(task_of(client.send("sleep")).status.state))
            states: list[Any] = []
            waiting.start()
            while not (tasks := list(client.list(status=WORKING))):
                pass
            assert states == []
            client.cancel(tasks[0].id)
            waiting.join(GUARD_S)
            assert states == [CANCELED]

        await plainly(served, work)


@covers("S2-11")
async def test_it_works_in_a_thread_whose_own_event_loop_runs() -> None:
    """As in a notebook, whose cells run in a loop."""
    async with Program.server("servers/scripted.py", "--drain-grace-s", "0") as program:
        with BlockingClient(program.address) as client:
            assert texts(task_of(client.send("hello"))) == ["hello"]
            with client.stream(script({"chunks": {"count": 2}})) as events:
                assert sum(isinstance(event, TaskArtifactUpdateEvent) for event in events) == 2


# -- the end


class Waiter:
    """A thread in a call that does not end by itself, with what became of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.outcome: Any = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._call()
        except BaseException as error:
            self.outcome = error

    def joined(self) -> Any:
        self._thread.join(GUARD_S / 2)
        assert not self._thread.is_alive(), "the thread hangs"
        return self.outcome


WAITS: dict[str, Callable[[BlockingClient, str], Any]] = {
    "send": lambda client, _: client.send("sleep"),
    "wait": lambda client, task_id: client.wait(task_id),
    "wait by asking": lambda client, task_id: client.wait(task_id, poll_s=0.01),
    "stream": lambda client, _: list(client.stream("sleep")),
}


@covers("S2-11")
@pytest.mark.parametrize("name", WAITS)
async def test_leaving_the_block_ends_what_other_threads_wait_for_with_an_error_and_the_tasks_go_on(
    name: str,
) -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent) as served, client_of(served) as other:

        def work() -> Any:
            with BlockingClient(served.server.grpc_address) as client:
                task = task_of(client.start("sleep"))
                waiter = Waiter(lambda: WAITS[name](client, task.id))
                under_way.wait(GUARD_S)
            return waiter.joined()

        under_way = threading.Event()
        working = asyncio.create_task(asyncio.to_thread(work))

        def begun() -> None:
            assert len(sleeper.started) == (2 if name in ("send", "stream") else 1)
            assert name == "wait by asking" or open_streams(served) == 1

        await eventually(begun)
        under_way.set()
        outcome = await working
        await eventually(lambda: no_stream(served))
        assert sleeper.canceled == []
        assert {task.status.state async for task in other.list()} == {WORKING}
    assert isinstance(outcome, (RuntimeError, A2AError)), repr(outcome)
    assert "closed" in str(outcome)


@covers("S2-11")
async def test_threads_that_call_while_the_client_closes_get_an_answer_or_an_error_and_never_hang(
    served: Served,
) -> None:
    def call(client: BlockingClient, begun: threading.Event) -> None:
        while True:
            with pytest.raises(TaskNotFoundError):
                client.get("t-none")
            begun.set()

    def work() -> list[Any]:
        outcomes = []
        for _ in range(20):
            begun = [threading.Event() for _ in range(4)]
            with BlockingClient(served.server.grpc_address) as client:
                waiters = [Waiter(lambda event=event: call(client, event)) for event in begun]  # type: ignore[misc]
                for event in begun:
                    event.wait(GUARD_S)
            outcomes += [waiter.joined() for waiter in waiters]
        return outcomes

    outcomes = await asyncio.to_thread(work)
    assert len(outcomes) == 80
    assert {type(outcome) for outcome in outcomes} <= {RuntimeError, A2AError}, set(map(repr, outcomes))


USES: dict[str, Callable[[BlockingClient], Any]] = {
    "send": lambda client: client.send("hello"),
    "get": lambda client: client.get("t-1"),
    "list": lambda client: list(client.list()),
    "stream": lambda client: list(client.stream("hello")),
}


@pytest.mark.parametrize("name", USES)
async def test_a_client_that_is_used_after_its_block_says_that_it_is_closed(served: Served, name: str) -> None:
    client = await plainly(served, lambda client: client)
    with pytest.raises(RuntimeError, match="client is closed"):
        USES[name](client)


async def test_closing_twice_and_closing_a_stream_after_its_client_change_nothing(served: Served) -> None:
    def work() -> None:
        with BlockingClient(served.server.grpc_address) as client:
            events = client.stream("hello")
            assert isinstance(next(iter(events)), Task)
            client.close()
        client.close()
        events.close()

    await asyncio.to_thread(work)


async def test_closing_a_client_leaves_the_portal_that_it_was_given(served: Served) -> None:
    def work() -> None:
        portal = Portal()
        try:
            for _ in range(2):
                with BlockingClient(served.server.grpc_address, portal=portal) as client:
                    assert texts(task_of(client.send("hello"))) == ["hello"]
            assert portal.call(asyncio.sleep(0, "alive")) == "alive"
        finally:
            portal.close()
            portal.close()

    await asyncio.to_thread(work)


async def test_a_portal_closes_in_spite_of_what_is_under_way() -> None:
    def work() -> Any:
        portal, begun = Portal(), threading.Event()

        async def forever() -> None:
            begun.set()
            await asyncio.Event().wait()

        waiter = Waiter(lambda: portal.call(forever()))
        begun.wait(GUARD_S)
        portal.close()
        return waiter.joined()

    assert isinstance(await asyncio.to_thread(work), RuntimeError)


async def test_a_portal_hands_on_an_error_of_the_coroutine_whatever_it_is() -> None:
    async def fail(error: BaseException) -> None:
        await asyncio.sleep(0)
        raise error

    def work() -> None:
        portal = Portal()
        try:
            for kind in (TimeoutError, ZeroDivisionError, TaskNotFoundError):
                with pytest.raises(kind):
                    portal.call(fail(kind()))
            assert portal.call(asyncio.sleep(0.25, "longer than a look")) == "longer than a look"
        finally:
            portal.close()

    await asyncio.to_thread(work)


async def test_a_client_that_is_used_in_its_own_event_loop_says_so_and_does_not_wait_for_itself(served: Served) -> None:
    def work() -> None:
        portal = Portal()
        with BlockingClient(served.server.grpc_address, portal=portal) as client:
            use_in(portal, client)
        portal.close()

    def use_in(portal: Portal, client: BlockingClient) -> None:
        async def use() -> None:
            client.get("t-1")

        waiter = Waiter(lambda: portal.call(use()))
        outcome = waiter.joined()
        assert isinstance(outcome, RuntimeError)
        assert "cannot be used in its own event loop" in str(outcome)
        assert texts(task_of(client.send("hello"))) == ["hello"], "the client goes on"

    await asyncio.to_thread(work)


@covers("S0-22")
async def test_closing_leaves_no_descriptor(served: Served) -> None:
    await plainly(served, lambda client: client.send("hello"))
    before = descriptors()
    for _ in range(5):
        await plainly(served, lambda client: client.send("hello"))

    def nothing_left() -> None:
        assert descriptors() <= before

    await eventually(nothing_left)


INTERRUPTED = """
import sys, threading, time, traceback
from a2a_grpc.client import BlockingClient

begun = threading.Event()

def tell_once_it_waits():
    begun.wait()
    main = threading.main_thread().ident
    while all(frame.f_code.co_name != "_result" for frame, _ in traceback.walk_stack(sys._current_frames()[main])):
        time.sleep(0.01)
    print("ready", flush=True)

threading.Thread(target=tell_once_it_waits, daemon=True).start()
with BlockingClient(sys.argv[1]) as client:
    match sys.argv[2]:
        case "send":
            begun.set()
            client.send({"script": [{"status": "at work"}, {"sleep": 600}]})
        case "wait":
            task = client.start({"script": [{"sleep": 600}]})
            begun.set()
            client.wait(task.id, poll_s=600)
        case _:
            with client.stream({"script": [{"chunks": {"count": 2}}, {"sleep": 600}]}) as events:
                for place, event in enumerate(events):
                    if place == 3:  # the task, WORKING, two chunks
                        begun.set()
"""


@covers("S2-11")
@pytest.mark.few
@pytest.mark.parametrize("operation", ["send", "wait", "stream"])
async def test_ctrl_c_leaves_the_block_and_the_task_goes_on(operation: str) -> None:
    async with Program.server("servers/scripted.py", "--drain-grace-s", "0") as program:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-X", "dev", "-c", INTERRUPTED, program.address, operation, cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            async with connect(program.address) as client:

                async def at_work() -> None:
                    assert [task.status.state async for task in client.list()] == [WORKING]

                await eventually(at_work)
                process.send_signal(signal.SIGINT)
                _, stderr = await process.communicate()
                await at_work()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        said = stderr.decode()
        assert process.returncode == -signal.SIGINT
        assert said.rstrip().endswith("KeyboardInterrupt")
        assert said.count("Traceback") == 1, said
        for word in ("Warning", "was destroyed", "never awaited", "never retrieved"):
            assert word not in said, said
