"""Runs a handler once more after its task was ended while it waited, so that it cancels another agent's task.

A handler that waits in `ask` may not be in memory. If its task is canceled then, or expires, no code of the handler
sees that. This matters if another agent has asked the question: its task would wait for an answer that never comes.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NoReturn

from a2a_grpc.agent import Outcome
from a2a_grpc.engine.player import Sink, play
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.repeatable import Repeatable
from a2a_grpc.engine.replay import Replay, kept_of, replay_of
from a2a_grpc.engine.resources import Resources
from a2a_grpc.lifecycle import INTERRUPTED
from a2a_grpc.offload import offload
from a2a_grpc.parts import Json
from a2a_grpc.protocol import REMOTE
from a2a_grpc.store import CORE, Head, TaskKey
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, Task, TaskState

logger = logging.getLogger("a2a_grpc.engine")


class Farewell(Repeatable):
    """The backend of a turn whose task has ended: it writes nothing. The handler gets the recorded answers and results
    of steps, then CancelledError where it waited, or where it begins a step that has no result. Such a step in another
    branch of the handler waits instead, since the question may be asked at the same time."""

    canceled = is_let_go = False
    is_replaying = True
    cancel_metadata: dict[str, Json] = {}
    trace_id = ""

    def __init__(
        self, resources: Resources, key: TaskKey, first: QueuedTurn, task: Task, replay: Replay, question: Message
    ) -> None:
        """Take the message that began the turn, the task as it was then, the answers, and the question that waits."""
        super().__init__(resources, key, task.context_id, first)
        self._first_turn = first.as_turn(task, task.context_id, self, resources.threads)
        self._skill = first.skill
        self._replay = replay
        self._question = question
        self._worker: asyncio.Task[Any] | None = None
        self._waiting_branches: set[asyncio.Future[NoReturn]] = set()

    async def say(self) -> None:
        """Run the handler up to where it waited, and cancel it there. What it raises is logged."""
        task_id, self._worker = self.key.id, asyncio.current_task()
        try:
            await play(self._skill, self._first_turn, Sink())
        except asyncio.CancelledError:
            logger.info("handler of an ended task was run again up to its question and canceled there task=%s", task_id)
        except Outcome:
            logger.warning(
                "handler of an ended task did not ask its earlier question again, so it was not canceled there task=%s",
                task_id,
            )
        except BaseException:  # agent code may raise anything, and this is the outermost frame
            logger.exception("handler failed after its task had ended task=%s skill=%s", task_id, self._skill.id)
        finally:
            for waiting in self._waiting_branches:
                waiting.cancel()

    @property
    def recorded_questions(self) -> Sequence[Message]:
        return [*self._replay.questions, self._question]

    async def recorded(self, step: str) -> bytes | None:
        if (packed := await self._store.get_note(self.key, self._first, step)) is None:
            if asyncio.current_task() is self._worker:
                await self._stop()
            await self._never()
        return packed

    async def record(self, step: str, packed: bytes) -> None:
        await self._stop()

    async def remember(self, name: str, packed: bytes) -> None:
        await asyncio.sleep(0)

    async def status(self, message: Message | None) -> None:
        await asyncio.sleep(0)

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        await asyncio.sleep(0)

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        await asyncio.sleep(0)
        if not self._replay.is_over:
            return self._replay.answer(question)
        return await self._stop()

    async def _stop(self) -> NoReturn:
        """Cancel the handler here."""
        self.canceled = True
        assert self._worker is not None
        self._worker.cancel()
        await self._never()

    async def _never(self) -> NoReturn:
        """Wait until the calling code is canceled."""
        never: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        self._waiting_branches.add(never)
        await never
        raise AssertionError("the future has no result")


async def farewell_of(resources: Resources, key: TaskKey, head: Head) -> Farewell | None:
    """Return the farewell of a task that waits for the answer to another agent's question; None for any other task."""
    log = resources.log
    if head.state not in INTERRUPTED:
        return None
    question = Task.FromString((await log.snapshot(key, CORE)).task).status.message
    if not question.HasField("metadata") or REMOTE not in question.metadata.fields:
        return None
    stored = await log.store.pending(key)
    if (kept := kept_of(stored, head.turn)) is None:
        return None
    whole = (await log.snapshot(key)).task
    replay, task = await offload(len(whole), replay_of, whole, stored, head.turn - kept.turn)
    return Farewell(resources, key, resources.queued(key, kept), task, replay, question)
