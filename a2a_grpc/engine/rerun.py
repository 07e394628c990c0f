"""Begins the run of a turn again from the message that began the turn."""

from collections.abc import Sequence

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed
from a2a_grpc.engine.queued_turn import QueuedTurn, read_caller
from a2a_grpc.engine.replay import Asked, Replay, kept_of, take_asked
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.runs import Runs
from a2a_grpc.engine.writer import Writer
from a2a_grpc.offload import offload
from a2a_grpc.piecewise import parsed
from a2a_grpc.store import Head, Pending, TaskKey
from a2a_grpc.wire import SendMessageRequest, Task


class Reruns:
    """Starts runs that repeat earlier ones. Its methods are called under the lock of the task's key, and under the
    claim of its row."""

    def __init__(self, resources: Resources, runs: Runs) -> None:
        self._resources = resources
        self._runs = runs

    async def answer(self, key: TaskKey, head: Head, stored: Sequence[Pending]) -> None:
        """Write the first message that waits as the answer to the question of a task that waits in `ask`; then run its
        handler again. Raise StaleAppend, StoreUnavailable."""
        answer = next(pending for pending in stored if pending.turn > head.turn)
        writer = self._resources.writer(key, head)
        message = SendMessageRequest.FromString(answer.request).message
        try:
            await writer.status(lifecycle.WORKING, incoming=message, turn=answer.turn)
        except Failed as over_limit:
            await self._runs.endings.finish(key, over_limit)
            return
        await self.begin(writer, stored, attempt=head.attempt)

    async def begin(self, writer: Writer, stored: Sequence[Pending], *, attempt: int) -> None:
        """Run the handler of a task again that is in WORKING, or was when its run was lost."""
        kept = kept_of(stored, writer.turn)
        assert kept is not None
        first = self._queued(kept, writer.key)._replace(is_kept=True, attempt=attempt, is_repeat=True)
        answered = next((pending for pending in stored if pending.turn == writer.turn), kept)
        first = first._replace(former=first.trace, trace=read_caller(answered.caller)[1])
        serialized = await writer.task()
        task: bytes | Task = serialized
        if answers := writer.turn - first.turn:
            asked, task = await offload(len(serialized), _split, serialized, stored, answers)
            first = first._replace(replay=Replay(asked, is_all_written=await self._ends_with_answer(writer)))
        waiting = [self._queued(pending, writer.key) for pending in stored if pending.turn > writer.turn]
        if not self._resources.is_draining:  # otherwise the task is lost again with this replica, for others
            self._runs.start(first, writer, task, waiting)

    async def _ends_with_answer(self, writer: Writer) -> bool:
        """Return True if nothing was written since the last answer."""
        records = await self._resources.log.store.read(writer.key, writer.seq - 1, 1)
        return bool(records and records[0].message)

    def _queued(self, pending: Pending, key: TaskKey) -> QueuedTurn:
        return QueuedTurn.of(pending, key, self._resources.agent, is_kept=self._resources.keeps_messages)


def _split(serialized: bytes, stored: Sequence[Pending], answers: int) -> tuple[list[Asked], Task]:
    """Return the questions with so many answers of a serialised task, and the task as its last turn began with it."""
    task = parsed(Task(), serialized)
    return take_asked(task, stored, answers), task
