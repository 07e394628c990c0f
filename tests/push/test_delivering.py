"""Deliveries: what is sent, in which order, when it is tried again, and when it ends."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

import a2a_grpc.push.schedule as schedule
from a2a_grpc import Agent, InputRequired, Turn
from a2a_grpc.push.delivery import Delivery, Destination, Outcome
from a2a_grpc.store import PushName, TaskKey, open_store
from a2a_grpc.wire import DeleteTaskPushNotificationConfigRequest, Task, TaskPushNotificationConfig
from tests.covers import covers
from tests.harness import V1, Served, eventually, message, request, scripted
from tests.push.notified import asked, config_for, idle, notifying, told, told_end
from tests.push.sockets import Hook, hook


class Gates:
    """An agent whose handler takes a step whenever the test says so."""

    def __init__(self) -> None:
        self.agent = Agent("Steps", "Takes steps.")
        self.steps: asyncio.Queue[str] = asyncio.Queue()

        @self.agent.skill()
        async def step(turn: Turn) -> str:
            while (next_ := await self.steps.get()) != "end":
                if next_ == "ask":
                    raise InputRequired("Which?")
                await turn.status(next_)
            return "done"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have attempts follow each other at once."""
    monkeypatch.setattr(schedule, "DELAYS_S", (0.01,) * len(schedule.DELAYS_S))


def check(newest: list[tuple[int, str, str]], state: str) -> None:
    assert [told_state for _, _, told_state in newest] == [state]


async def begin(served: Served, receiver: Hook, *steps: str, gates: Gates) -> Task:
    for step in steps:
        gates.steps.put_nowait(step)
    sent = request("go", immediately=True, task_push_notification_config=config_for(receiver))
    task: Task = (await served.send(sent)).task
    return task


@covers("PUSH-6", "PUSH-11")
async def test_a_receiver_that_keeps_up_is_told_each_change_of_the_status_in_order() -> None:
    gates = Gates()
    async with hook() as receiver, notifying(gates.agent) as served:
        await begin(served, receiver, gates=gates)
        for count, step in enumerate(("one", "two", "three", "end"), 1):
            await asked(receiver, count)
            gates.steps.put_nowait(step)
        await told_end(receiver)
        seqs = [seq for seq, _, _ in told(receiver)]
        assert seqs == sorted(set(seqs))
        assert [state for _, _, state in told(receiver)][-1] == "COMPLETED"
        assert all(name != "artifactUpdate" for _, name, _ in told(receiver))


@covers("PUSH-6")
async def test_pieces_of_artifacts_are_sent_if_the_server_says_so() -> None:
    async with hook() as receiver, notifying(push_events="all") as served:
        sent = scripted({"artifact": "hello"})
        sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver))
        await served.send(sent)
        await told_end(receiver)
        assert "artifactUpdate" in [name for _, name, _ in told(receiver)] or told(receiver)[-1][1] == "task"


@covers("PUSH-11")
async def test_a_receiver_that_is_behind_is_told_the_task_as_it_is_now() -> None:
    gates, go = Gates(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await go.wait()
        return web.Response()

    async with hook() as receiver, notifying(gates.agent) as served:
        receiver.answer = slow
        task = await begin(served, receiver, gates=gates)
        await asked(receiver, 1)
        for step in ("one", "two", "three", "end"):
            gates.steps.put_nowait(step)
        await eventually(lambda: _is_completed(served, task))
        go.set()
        await told_end(receiver)
        assert len(receiver.received) == 2
        assert told(receiver)[1][1:] == ("task", "COMPLETED")


async def _is_completed(served: Served, task: Task) -> None:
    assert (await served.get(task.id)).status.state == 3


@covers("PUSH-5", "PUSH-11")
@pytest.mark.usefixtures("impatient")
async def test_a_failed_delivery_is_repeated_with_its_id_before_anything_later() -> None:
    gates, failures = Gates(), iter([500, 503, 302, 404])

    async def failing(_: web.Request) -> web.Response:
        return web.Response(status=next(failures, 200))

    async with hook() as receiver, notifying(gates.agent) as served:
        receiver.answer = failing
        await begin(served, receiver, gates=gates)
        await asked(receiver, 5)
        gates.steps.put_nowait("end")
        await told_end(receiver)
        assert len({received.headers["webhook-id"] for received in receiver.received[:5]}) == 1


@pytest.mark.usefixtures("impatient")
@covers("PUSH-5")
@pytest.mark.parametrize(("status", "attempts", "is_dead"), [(500, 9, True), (403, 3, True), (410, 1, False)])
async def test_attempts_end_and_what_could_not_be_delivered_is_kept_and_can_be_sent_again(
    tmp_path: Path, status: int, attempts: int, is_dead: bool
) -> None:
    url, answers = f"sqlite:///{tmp_path}/tasks.db", [status] * attempts

    async def answering(_: web.Request) -> web.Response:
        return web.Response(status=answers.pop() if answers else 200)

    async with hook() as receiver, notifying(store=url) as served:
        receiver.answer = answering
        sent = scripted({"artifact": "hello"})
        sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver, id="c"))
        task = (await served.send(sent)).task
        await asked(receiver, attempts)
        await idle(served)
        store = open_store(url)
        await store.open()
        try:
            name = PushName(TaskKey("", "", task.id), "c")
            dead = await store.dead_pushes(None, 10)  # type: ignore[attr-defined]
            assert [(one.name, one.attempts) for one in dead] == ([(name, attempts)] if is_dead else [])
            assert len(receiver.received) == attempts
            if is_dead:
                assert str(status) in dead[0].error
                assert await store.revive_push(name)  # type: ignore[attr-defined]
                await told_end(receiver)
                await asked(receiver, attempts + 1)
        finally:
            await store.close()


@covers("PDEL-1", "PDEL-3", "PCRE-3")
async def test_nothing_is_sent_after_a_config_was_deleted() -> None:
    gates = Gates()

    async def hanging(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with hook() as receiver, notifying(gates.agent) as served:
        receiver.answer = hanging
        sent = request("go", immediately=True, task_push_notification_config=config_for(receiver, id="c"))
        task = (await served.send(sent)).task
        await asked(receiver, 1)
        await served.stub.DeleteTaskPushNotificationConfig(
            DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="c"), metadata=V1
        )
        await idle(served)
        gates.steps.put_nowait("end")
        await eventually(lambda: _is_completed(served, task))
        assert len(receiver.received) == 1


@covers("PUSH-11")
async def test_the_config_of_a_task_that_waits_for_its_user_rests_and_goes_on_with_the_answer() -> None:
    gates = Gates()
    async with hook() as receiver, notifying(gates.agent) as served:
        task = await begin(served, receiver, "ask", gates=gates)
        await eventually(lambda: check(told(receiver)[-1:], "INPUT_REQUIRED"))
        await idle(served)
        gates.steps.put_nowait("end")
        await served.send(request(message("red", task_id=task.id)))
        await told_end(receiver)


@pytest.mark.usefixtures("impatient")
async def test_a_failed_delivery_of_a_question_after_many_pieces_is_repeated() -> None:
    agent, failures = Agent("Pieces", "Makes pieces, then asks."), iter([503])

    @agent.skill()
    async def pieces(turn: Turn) -> None:
        for number in range(40):  # more than a first read of the log has
            await turn.artifact(f"{number} ", id="pieces", append=True)
        raise InputRequired("Which?")

    async def failing(_: web.Request) -> web.Response:
        return web.Response(status=next(failures, 200))

    async with hook() as receiver, notifying(agent) as served:
        receiver.answer = failing
        await served.send(request("go", task_push_notification_config=config_for(receiver)))
        await eventually(lambda: check(told(receiver)[-1:], "INPUT_REQUIRED"))
        await idle(served)


@covers("PUSH-11", "G3", "P4")
async def test_a_receiver_that_hangs_delays_no_other_receiver_and_not_the_task() -> None:
    async def hanging(asked: web.Request) -> web.Response:
        if asked.path == "/hangs":
            await asyncio.Event().wait()
        return web.Response()

    async with hook() as receiver, notifying() as served:
        receiver.answer = hanging
        task = await served.start({"sleep": 0.2}, {"artifact": "hello"})
        for path in ("/hangs", "/hook"):
            config = config_for(receiver, path, task_id=task.id)
            await served.stub.CreateTaskPushNotificationConfig(config, metadata=V1)
        await told_end(receiver)
        assert len(told(receiver, "/hangs")) == 1


@covers("PUSH-4", "PUSH-10")
async def test_a_server_that_starts_again_delivers_what_it_had_left(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    async with hook() as receiver:

        async def refusing(_: web.Request) -> web.Response:
            return web.Response(status=503, headers={"Retry-After": "0"})

        receiver.answer = refusing
        async with notifying(store=url) as served:
            sent = scripted({"artifact": "hello"})
            sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver))
            await served.send(sent)
            await asked(receiver, 1)
        receiver.answer = None
        async with notifying(store=url):
            await told_end(receiver)
        assert receiver.received[-1].headers["Authorization"] == "Bearer s3cret"


class Mistaken:
    """A destination with a mistake: it raises what no caller expects."""

    def __init__(self, inner: Destination) -> None:
        self.check = inner.check
        self.close = inner.close
        self.attempts: list[int] = []

    def needs_settled(self, config: TaskPushNotificationConfig) -> bool:
        return False

    async def deliver(self, delivery: Delivery) -> Outcome:
        self.attempts.append(delivery.attempt)
        raise ZeroDivisionError


@covers("PUSH-5")
async def test_a_delivery_that_ends_in_a_mistake_is_tried_like_any_other_one_and_not_for_ever(
    impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with hook() as receiver, notifying() as served:
        assert served.server._running.pushing is not None
        sender = served.server._running.pushing.sender
        mistaken = sender._destination = Mistaken(sender._destination)
        await served.send(request("hi", task_push_notification_config=config_for(receiver)))

        def check() -> None:
            assert any("given up" in record.message and "attempts=9" in record.message for record in caplog.records)

        await eventually(check)
        assert mistaken.attempts == list(range(1, 10))
        assert not receiver.received
