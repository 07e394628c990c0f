"""Steps, and what a task remembers: every run of a turn gets the same."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import Failed, InputRequired, Message, Part, Server, ServerSettings, Task, Turn, connect
from a2a_grpc.agent.packed import MAX_BYTES, pack, unpack
from a2a_grpc.lifecycle import COMPLETED, FAILED, INPUT_REQUIRED, WORKING
from a2a_grpc.parts import text_of
from a2a_grpc.store import MemoryStore, Note, StoreUnavailable, TaskKey, open_store
from tests.agent.agents import agent_of, follow_up
from tests.agent.test_let_go import let_go
from tests.covers import covers
from tests.harness import eventually, request, serving, texts
from tests.store.test_sql_cost import sending


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/tasks.db"


class Calls:
    """Notes the calls of the functions of steps."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    async def later(self, value: Any) -> Any:
        await asyncio.sleep(0)
        return self.now(value)

    def now(self, value: Any) -> Any:
        self.made.append(value)
        return value

    def failing(self, times: int, error: Exception, value: str) -> Callable[[], str]:
        """A function that fails so many times."""

        def call() -> str:
            self.made.append(value)
            if self.made.count(value) <= times:
                raise error
            return value

        return call


async def test_every_run_of_a_turn_gets_what_the_first_run_got(store: str) -> None:
    calls, runs, threads = Calls(), list[list[Any]](), set[str]()
    message = Message(message_id="m", parts=[Part(text="hi"), Part(raw=b"\0")])

    def in_thread() -> str:
        threads.add(threading.current_thread().name)
        return calls.now("sync")  # type: ignore[no-any-return]

    async def handler(turn: Turn) -> str:
        async def writing() -> tuple[str, str, float]:
            return await turn.artifact("by a step"), str(turn.uuid()), turn.random()

        got: list[Any] = [
            turn.random(),
            await turn.step("sync", in_thread),
            await turn.step("message", calls.now, message),
        ]
        got += [await turn.step("writing", writing), turn.uuid(), await turn.artifact("by the handler")]
        got += [await turn.step("page#", calls.later, {"page": number, "of": (1, None)}) for number in range(2)]
        got += await asyncio.gather(*(turn.step(f"part-{name}", calls.later, name.encode()) for name in "ab"))
        got += [turn.now(), turn.random(), turn.new_call_id(), await turn.recall("count", 0)]
        await turn.remember("count", len(runs) + 1)
        runs.append(got)
        answer = await turn.ask("one?")
        got += [await turn.step("after", calls.now, str(answer)), turn.uuid()]
        got += [await turn.ask("two?"), turn.random(), await turn.step("last", partial(calls.now, value="end"))]
        return "done"

    async with serving(agent_of(handler), store=store, ask_hold_s=0.0) as served:
        task = (await served.send(request("go"))).task
        for answer in ("1", "2"):
            await let_go(served)
            task = (await served.send(follow_up(task, answer))).task
    assert (task.status.state, texts(task)) == (COMPLETED, ["by a step", "by the handler", "done"])
    first, second, third = runs
    for run, length in ((first, 14), (second, 16)):  # up to the questions at which they were let go
        assert [repr(value) for value in run[:13]] == [repr(value) for value in third[:13]]
        assert len(run) == length
    assert [run[13] for run in runs] == [0, 1, 2]
    assert [str(value) for value in second[14:]] == [str(value) for value in third[14:16]]
    assert third[1:3] == ["sync", message]
    assert third[6:8] == [{"page": number, "of": [1, None]} for number in range(2)]
    assert isinstance(third[3], list)
    assert calls.made[0] == "sync"
    assert calls.made[-2:] == ["1", "end"]
    assert len(calls.made) == 8, "each function was called once"
    assert len({third[0], third[3][2], third[11], third[17]}) == 4
    assert len({str(third[4]), third[3][1], str(third[15])}) == 3
    assert threads == {"a2a-grpc:in_thread"}
    assert first[10].timestamp() <= task.status.timestamp.ToDatetime(first[10].tzinfo).timestamp()


async def test_a_later_turn_has_steps_of_its_own_and_what_the_task_remembers(store: str) -> None:
    calls = Calls()

    async def handler(turn: Turn) -> str:
        said = [*await turn.recall("said", []), await turn.step("read", calls.later, turn.text)]  # type: ignore[misc]
        await turn.remember("said", said)
        if len(said) < 3:
            raise InputRequired("and?")
        return " ".join(map(str, said))

    async with serving(agent_of(handler), store=store) as served:
        task = (await served.send(request("a"))).task
        for text in "bc":
            task = (await served.send(follow_up(task, text))).task
        other = (await served.send(request("x"))).task
    assert texts(task) == ["a b c"]
    assert calls.made == ["a", "b", "c", "x"]
    assert texts(other) == []


async def test_what_a_step_refuses_is_said_and_nothing_is_stored() -> None:
    calls = Calls()

    async def handler(turn: Turn) -> dict[str, str]:
        said: dict[str, str] = {}

        async def note(what: str, call: Any) -> None:
            try:
                await call
            except Exception as error:
                said[what] = f"{type(error).__name__}: {error}"

        async def inner() -> None:
            await note("nested", turn.step("inner", calls.now, 1))
            await note("asked", turn.ask("well?"))

        async def slow() -> None:
            await asyncio.Event().wait()

        await turn.step("outer", inner)
        await note("twice", turn.step("outer", inner))
        await note("set", turn.step("set", calls.now, {1}))
        await note("keys", turn.step("keys", calls.now, {"a": [{1: 2}]}))
        await note("nan", turn.step("nan", calls.now, [float("nan")]))
        await note("large", turn.step("large", calls.now, "x" * MAX_BYTES))
        await note("many", turn.step("many", lambda: {"a": [0] * MAX_BYTES}))
        await note("name", turn.step("n" * 257, calls.now, 1))
        await note("empty", turn.remember("", 1))
        await note("slow", turn.step("slow", slow, timeout_s=0.01))
        await note("retries", turn.step("retries", slow, retries=-1))
        await note("remember", turn.remember("set", [{1}]))  # type: ignore[list-item]
        await note("own error", turn.step("own", calls.failing(1, KeyError("k"), "own")))
        said["again"] = await turn.step("own", calls.failing(0, KeyError("k"), "own"))
        await note("outcome", turn.step("outcome", calls.failing(9, Failed("no"), "outcome"), retries=3))
        said["retried"] = await turn.step("retried", calls.failing(1, KeyError("k"), "retried"), retries=1)
        return said

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request("go"))).task
    [artifact] = task.artifacts
    said = {key: field.string_value for key, field in artifact.parts[0].data.struct_value.fields.items()}
    for what, words in {
        "nested": "RuntimeError: the step 'inner' was begun inside of the step 'outer'",
        "asked": "RuntimeError: a question was asked inside of the step 'outer'",
        "twice": "ValueError: this turn has a step 'outer' already; give each step a name of its own",
        "set": "TypeError: the result of the step 'set' is of type set, which cannot be kept",
        "keys": "TypeError: the result of the step 'keys' cannot be kept: value.a[0] is a dict with a key that is not",
        "nan": "ValueError: the result of the step 'nan' cannot be written as JSON",
        "large": f"ValueError: the result of the step 'large' has {MAX_BYTES + 2} bytes; the limit is {MAX_BYTES}",
        "many": f"ValueError: the result of the step 'many' has at least {2 * MAX_BYTES + 2} bytes; the limit is",
        "name": "ValueError: the name of a step has 257 characters; the limit is 256",
        "empty": "ValueError: the name of a value is empty",
        "slow": "TimeoutError: the step 'slow' took longer than 0.01 s",
        "retries": "ValueError: retries is -1; it must be 0 or more",
        "remember": "TypeError: the value 'set' is of type list, which cannot be kept",
        "own error": "KeyError: 'k'",
        "again": "own",
        "outcome": "Failed: no",
        "retried": "retried",
    }.items():
        assert said.pop(what).startswith(words)
    assert not said
    assert [calls.made.count(name) for name in ("outcome", "retried")] == [1, 2]


async def test_what_a_run_keeps_is_limited_as_events_are() -> None:
    async def handler(turn: Turn) -> None:
        for number in range(9):
            await turn.remember("replaced", "x" * 600)
            await turn.step("step#", lambda number: number * b"x", 100 * number)

    async with serving(agent_of(handler), max_task_bytes=2048) as served:
        task = (await served.send(request("go"))).task
    assert task.status.state == FAILED
    assert text_of(task.status.message) == (
        "with 501 bytes of 'step#6' this run keeps 2109 bytes of results of steps and values; "
        "the limit is 2048 bytes (--max-task-bytes)"
    )


class LateStore(MemoryStore):
    """A store that writes each note, and then gives no answer to some of the calls."""

    def __init__(self, *faults: str) -> None:
        super().__init__()
        self._faults = list(faults)
        self.hangs = asyncio.Event()

    async def put_note(self, key: TaskKey, note: Note, *, epoch: int) -> None:
        await super().put_note(key, note, epoch=epoch)
        match self._faults.pop(0) if self._faults else "":
            case "hangs":
                self.hangs.set()
                await asyncio.Event().wait()
            case "fails":
                raise StoreUnavailable("no answer")


async def test_a_step_whose_result_is_stored_is_not_called_again_if_the_answer_was_lost() -> None:
    calls, store = Calls(), LateStore("hangs", "fails")

    async def handler(turn: Turn) -> list[Any]:
        cut = asyncio.create_task(turn.step("cut", calls.now, "cut"))
        await store.hangs.wait()
        cut.cancel()
        await asyncio.wait([cut])
        with pytest.raises(StoreUnavailable):
            await turn.step("failed", calls.now, "failed")
        return [await turn.step(name, calls.now, "again") for name in ("cut", "failed", "new")]

    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with (
        Server(agent_of(handler), settings, store=store) as server,
        connect(server.grpc_address) as client,
    ):
        task = await client.send("go")
    assert isinstance(task, Task)
    assert list(task.artifacts[0].parts[0].data.list_value) == ["cut", "failed", "again"]
    assert calls.made == ["cut", "failed", "again"]


async def test_what_earlier_runs_of_a_turn_have_kept_counts_too() -> None:
    async def handler(turn: Turn) -> None:
        for number in range(4):
            await turn.step("step#", str, "x" * 900)
            await turn.ask(f"{number}?")

    async with serving(agent_of(handler), max_task_bytes=2048, ask_hold_s=0.0) as served:
        task = (await served.send(request("go"))).task
        for _ in range(2):
            await let_go(served)
            task = (await served.send(follow_up(task, "on"))).task
    assert task.status.state == FAILED
    assert "results of steps" in text_of(task.status.message)
    assert "2048 bytes (--max-task-bytes)" in text_of(task.status.message)


async def test_the_values_of_a_task_are_limited_over_all_its_turns() -> None:
    async def handler(turn: Turn) -> str:
        await turn.remember("same", "x" * 3000)
        await turn.remember(turn.text, "x" * 9000)
        raise InputRequired("and?")

    async with serving(agent_of(handler), max_task_bytes=30_000) as served:
        task = (await served.send(request("a"))).task
        for text in "aab":
            task = (await served.send(follow_up(task, text))).task
        assert task.status.state == INPUT_REQUIRED
        task = (await served.send(follow_up(task, "c"))).task
    assert task.status.state == FAILED
    assert "results of steps" in text_of(task.status.message)
    assert "30000 bytes (--max-task-bytes)" in text_of(task.status.message)


async def test_a_store_without_room_for_a_result_ends_the_task_with_the_reason() -> None:
    async def handler(turn: Turn) -> None:
        for _ in range(3):
            await turn.step("step#", str, "x" * 1000)

    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with (
        Server(agent_of(handler), settings, store=MemoryStore(max_note_bytes=4096)) as server,
        connect(server.grpc_address) as client,
    ):
        task = await client.send("go")
        assert isinstance(task, Task)
        assert task.status.state == FAILED
        assert "the store has no room for another result" in text_of(task.status.message)


async def test_a_skill_that_answers_with_a_message_has_random_values_but_no_steps() -> None:
    async def handler(turn: Turn) -> str:
        values = {turn.random(), turn.random(), turn.uuid(), turn.now()}
        for call in (turn.step("a", str), turn.remember("a", 1), turn.recall("a")):
            with pytest.raises(RuntimeError, match="no task"):
                await call
        return str(len(values))

    agent = agent_of(handler, answers="message")
    async with serving(agent) as served:
        assert (await served.send(request("go"))).message.parts[0].text == "4"


@covers("G5")
async def test_a_run_that_lost_its_task_stores_no_result(tmp_path: Path) -> None:
    told: list[str] = []
    url = f"sqlite:///{tmp_path}/tasks.db"
    other = open_store(url)
    await other.open()
    await other.join("another", 60.0)

    async def handler(turn: Turn) -> None:
        assert turn.task is not None
        key = TaskKey("", "", turn.task.id)

        async def lose() -> str:
            assert await other.claim(key, "another", force=True)
            return "late"

        await turn.step("kept", str, 1)
        for call in (partial(turn.step, "lose", lose), partial(turn.remember, "a", 1)):
            try:
                await call()
            except asyncio.CancelledError:
                told.append("canceled")
        told.extend([str(await other.get_note(key, *place)) for place in ((1, "kept"), (1, "lose"), (0, "a"))])

    async with serving(agent_of(handler), store=url) as served:
        task = (await served.send(request("go", immediately=True))).task
        await eventually(lambda: _equal(told, ["canceled", "canceled", "b'j\"1\"'", "None", "None"]))
        assert (await served.get(task.id)).status.state == WORKING
    await other.close()


def _equal(found: object, wanted: object) -> None:
    assert found == wanted


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue("postgres_store"))


async def test_a_step_costs_one_statement_and_a_turn_without_steps_none(store_url: str) -> None:
    async def handler(turn: Turn) -> str:
        number, _, more = turn.text.partition(" ")
        for _ in range(int(number)):
            await turn.step("number#", str, 1)
        if more:
            raise InputRequired("more?")
        return "done"

    counts, task = [], Task()
    async with serving(agent_of(handler), store=store_url) as served:
        for text in ("0", "3", "3 more", "0 more"):
            with sending() as sent:
                task = (await served.send(follow_up(task, text) if text == "0 more" else request(text))).task
            counts.append(len([statement for statement in sent.statements if "a2a_note" in statement]))
    assert counts == [0, 3, 4, 0], "the end of a turn with steps deletes their results, if the task goes on"


def test_a_value_with_too_many_levels_is_refused_by_its_name() -> None:
    refused = set()
    for levels in (*range(100, 1000, 20), 200_000):
        value: list[Any] = []
        for _ in range(levels):
            value = [value]
        try:
            pack(value, "it")
        except ValueError as error:
            refused.add(str(error))
    assert refused == {"it has too many levels to be kept"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(
    _JSON | st.binary(max_size=64) | st.text().map(lambda text: Part(text="x" + text.encode(errors="ignore").decode()))
)
def test_what_is_packed_comes_back_as_it_was(value: Any) -> None:
    packed, copy = pack(value, "it")
    assert (copy, type(copy)) == (value, type(value))
    assert unpack(packed, "it") == value
