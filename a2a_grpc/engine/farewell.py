"""Runs a handler once more after its task was ended while it waited, so that it cancels another agent's task.

A handler that waits in `ask` may not be in memory. If its task is canceled then, or expires, no code of the handler
sees that. This matters if another agent has asked the question: its task would wait for an answer that never comes.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, cast

from a2a_grpc.agent import Outcome, Output, Turn
from a2a_grpc.engine.player import Sink, play
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.repeatable import Repeatable
from a2a_grpc.engine.replay import Replay, kept_of, take_asked
from a2a_grpc.engine.resources import Resources
from a2a_grpc.lifecycle import INTERRUPTED
from a2a_grpc.offload import offload
from a2a_grpc.parts import Json
from a2a_grpc.piecewise import parsed
from a2a_grpc.protocol import REMOTE
from a2a_grpc.store import CORE, Head, TaskKey, TaskView
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, Task, TaskState

logger = logging.getLogger("a2a_grpc.engine")


class Abandoned(NamedTuple):
    """A handler that waits for the answer to another agent's question, and is not in memory."""

    first: QueuedTurn
    """The message that began the turn, with the answers that were given."""
    task: Task
    question: Message
    """The one that waits."""


async def waiting_for_another(resources: Resources, key: TaskKey, head: Head) -> Abandoned | None:
    """Return the handler of a task that waits for the answer to another agent's question; None for any other task."""
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
    task = await offload(len(whole), parsed, Task(), whole)
    asked = take_asked(task, stored, head.turn - kept.turn)
    first = QueuedTurn.of(kept, key, resources.agent, is_kept=True)
    return Abandoned(first._replace(replay=Replay(asked, is_all_written=True)), task, question)


class Farewell(Repeatable):
    """The backend of a turn whose task has ended: it writes nothing. The handler gets the recorded answers and results
    of steps, then CancelledError where it waited, or where it begins a step that has no result. Such a step in another
    branch of the handler waits instead, since the question may be asked at the same time."""

    def __init__(self, waiting: Abandoned, key: TaskKey, resources: Resources) -> None:
        super().__init__(key, waiting.first.turn, waiting.first.origin, resources.log.store)
        self._waiting = waiting
        self._past = resources.past
        self._replay = cast(Replay, waiting.first.replay)
        self._is_canceled = False
        self._worker = asyncio.current_task()
        self._waiting_branches: set[asyncio.Future[NoReturn]] = set()

    def end(self) -> None:
        """Cancel the branches that wait. Call this once the handler has ended."""
        for waiting in self._waiting_branches:
            waiting.cancel()

    @property
    def canceled(self) -> bool:
        return self._is_canceled

    @property
    def cancel_metadata(self) -> dict[str, Json]:
        return {}

    @property
    def trace_id(self) -> str:
        return ""

    @property
    def is_replaying(self) -> bool:
        return True

    @property
    def is_let_go(self) -> bool:
        return False

    @property
    def recorded_questions(self) -> Sequence[Message]:
        return [*self._replay.questions, self._waiting.question]

    async def recorded(self, step: str) -> bytes | None:
        if (packed := await super().recorded(step)) is None:
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

    async def context(self, limit: int, artifacts: bool, history_length: int | None) -> list[Task]:
        view = TaskView(artifacts, history_length)
        return await self._past.of_context(
            self.key.scope, self._waiting.task.context_id, limit, view, without=self.key.id
        )

    async def tasks(self, ids: Sequence[str], artifacts: bool, history_length: int | None) -> list[Task]:
        return await self._past.named(self.key.scope, ids, TaskView(artifacts, history_length))

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        await asyncio.sleep(0)
        if not self._replay.is_over:
            return self._replay.answer(question)
        return await self._stop()

    async def _stop(self) -> NoReturn:
        """Cancel the handler here."""
        self._is_canceled = True
        assert self._worker is not None
        self._worker.cancel()
        await self._never()

    async def _never(self) -> NoReturn:
        """Wait until the calling code is canceled."""
        never: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        self._waiting_branches.add(never)
        await never
        raise AssertionError("the future has no result")


class Nothing(Sink):
    """Takes no output."""

    async def whole(self, output: Output) -> None:
        """Drop a result."""

    async def piece(self, piece: Output) -> None:
        """Drop a piece."""

    async def last(self) -> None:
        """Do nothing."""


async def say_farewell(waiting: Abandoned, key: TaskKey, resources: Resources) -> None:
    """Run the handler up to where it waited, and cancel it there. What it raises is logged."""
    first, backend = waiting.first, Farewell(waiting, key, resources)
    turn = Turn(
        skill=first.skill.id,
        request=first.request,
        task=waiting.task,
        context_id=waiting.task.context_id,
        principal=first.principal,
        backend=backend,
        threads=resources.threads,
    )
    try:
        await play(first.skill, turn, Nothing())
    except asyncio.CancelledError:
        logger.info("handler of an ended task was run again up to its question and canceled there task=%s", key.id)
    except Outcome:
        logger.warning(
            "handler of an ended task did not ask its earlier question again, so it was not canceled there task=%s",
            key.id,
        )
    except BaseException:  # agent code may raise anything, and this is the outermost frame
        logger.exception("handler failed after its task had ended task=%s skill=%s", key.id, first.skill.id)
    finally:
        backend.end()
