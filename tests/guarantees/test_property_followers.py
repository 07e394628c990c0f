"""Whatever an agent does, whenever a follower joins, however slowly it reads, wherever it is cut and resumes: what it
folds is the stored task."""

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_grpc.lifecycle import COMPLETED, FAILED, INTERRUPTED, REJECTED, TERMINAL
from a2a_grpc.wire import StreamResponse, Task
from tests.covers import covers
from tests.guarantees.rig import folded, seq_of, without_user_messages
from tests.harness import Served, elements, refusal, scripted

TEXTS = st.text("abc ", max_size=5)
IDS = st.sampled_from(["a", "b", "c"])

STATUS = TEXTS.map(lambda text: {"status": text})
PAUSE = st.sampled_from([{"sleep": 0}, {"sleep": 0.001}])
CHUNKS = st.builds(
    lambda id, count, interval_s: {"chunks": {"id": id, "count": count, "text": "{i};", "interval_s": interval_s}},
    IDS, st.integers(1, 20), st.sampled_from([0, 0.0005]),
)  # fmt: skip
ARTIFACT = st.builds(
    lambda id, text, append, last: {
        "artifact": {"id": id, "text": text, "name": f"n{len(text)}", "append": append, "last": last}
    },
    IDS, TEXTS, st.booleans(), st.booleans(),
)  # fmt: skip
DATA = st.builds(
    lambda id, number, append: {"artifact": {"id": id, "data": {"n": number}, "append": append}},
    IDS, st.integers(0, 9), st.booleans(),
)  # fmt: skip
ASK = TEXTS.map(lambda text: {"input": text})
STEPS = st.lists(st.one_of(STATUS, PAUSE, CHUNKS, ARTIFACT, DATA, ASK), max_size=8)
"""An `input` with steps after it waits in `ask`; one at the end of its script ends the turn."""

INTERRUPTS = st.sampled_from([{"input": "?"}, {"auth": "?"}])
ENDS = st.sampled_from([({"complete": "x"}, COMPLETED), ({"fail": "x"}, FAILED), ({"reject": "x"}, REJECTED),
                        ({"raise": "x"}, FAILED), ({"status": "x"}, COMPLETED)])  # fmt: skip


@dataclass(frozen=True)
class Follows:
    """How one follower behaves."""

    join_at: int
    """Events of the task after which it comes."""
    from_start: bool
    """Whether it resumes from the start of the log instead of subscribing."""
    cuts: tuple[int, ...]
    """Elements after which its stream is cut, each time; then it resumes."""
    pause_s: float
    """Time it takes for an element."""


FOLLOWS = st.builds(
    Follows,
    join_at=st.integers(0, 40),
    from_start=st.booleans(),
    cuts=st.lists(st.integers(0, 12), max_size=3).map(tuple),
    pause_s=st.sampled_from([0.0, 0.0, 0.0005, 0.002]),
)


@covers("G1", "G2", "G4")
@settings(
    deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    turns=st.lists(st.tuples(STEPS, INTERRUPTS), max_size=2),
    last=STEPS,
    end=ENDS,
    followers=st.lists(FOLLOWS, min_size=1, max_size=4),
)
async def test_every_follower_folds_to_the_stored_task(
    served: Served,
    turns: list[tuple[list[Any], Any]],
    last: list[Any],
    end: tuple[Any, int],
    followers: list[Follows],
) -> None:
    async with asyncio.timeout(60):
        task = await served.start({"input": "ready?"})
        scripts = [[*steps, interrupt] for steps, interrupt in turns] + [[*last, end[0]]]
        reached = Reached()
        leader = asyncio.create_task(lead(served, task.id, reached))
        await reached.at(0)
        reading = [asyncio.create_task(follow(served, task.id, each, reached)) for each in followers]
        await drive(served, task.id, scripts)
        await leader
        stored = await served.get(task.id)
        assert stored.status.state == end[1]
        for read in await asyncio.gather(*reading):
            assert without_user_messages(read) == without_user_messages(stored)


class Reached:
    """How far a task is, as one follower sees it."""

    def __init__(self) -> None:
        self._events = -1
        self._over = False
        self._changed = asyncio.Condition()

    async def tell(self, *, over: bool = False) -> None:
        async with self._changed:
            self._events += 1
            self._over = over
            self._changed.notify_all()

    async def at(self, events: int) -> None:
        """Returns after so many events, or at the end of the task."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._over or self._events >= events)


async def lead(served: Served, task_id: str, reached: Reached) -> None:
    async for _ in served.subscribe(task_id):
        await reached.tell()
    await reached.tell(over=True)


async def drive(served: Served, task_id: str, scripts: list[list[Any]]) -> None:
    """Sends the scripts, one for each question; the last one's questions in the middle get plain answers."""
    task = await served.get(task_id)
    waiting = list(scripts)
    while task.status.state not in TERMINAL:
        if task.status.state in INTERRUPTED:
            # an empty script as an answer lets the handler that asked go on with its own
            asks = task.status.message.parts[0].text != "?" and len(waiting) < len(scripts)
            script = [] if asks or not waiting else waiting.pop(0)
            task = (await served.send(scripted(*script, task_id=task_id))).task
        else:
            task = await served.get(task_id)


async def follow(served: Served, task_id: str, how: Follows, reached: Reached) -> Task:
    """The task as this follower has folded it in the end."""
    await reached.at(how.join_at)
    seq = 0
    read: list[StreamResponse] = []
    call = served.subscribe(task_id)
    if how.from_start or await is_refused(call):
        call.cancel()
    else:
        read += await elements(call, 1)
        seq = await seq_of(call)
        seq += await take(call, how.cuts[0] if how.cuts else None, how.pause_s, read)
        call.cancel()
        if not how.cuts:
            return folded(read)
    for length in (*how.cuts[1:], None):
        call = served.subscribe(task_id, ("a2a-grpc-after", str(seq)))
        seq += await take(call, length, how.pause_s, read)
        call.cancel()
    return folded(read)


async def is_refused(call: Any) -> bool:
    """Whether the subscription came too late: the task has ended, and only its log is left."""
    if "a2a-grpc-seq" in dict(await call.initial_metadata()):
        return False
    assert (await refusal(call)).reason == "UNSUPPORTED_OPERATION"
    return True


async def take(call: Any, length: int | None, pause_s: float, into: list[StreamResponse]) -> int:
    """Reads so many elements, or all; how many there were."""
    taken = 0
    if length == 0:
        return taken
    async for element in call:
        into.append(element)
        taken += 1
        await asyncio.sleep(pause_s)
        if taken == length:
            break
    return taken
