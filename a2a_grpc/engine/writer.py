"""Write the events of one run as records of the log of its task."""

from collections import deque

from a2a_grpc import lifecycle
from a2a_grpc.engine.events import Chunks, OverLimit, artifact_event, check_limits, now_us, status_event, text_event
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.waiting import Waiting
from a2a_grpc.log import Log
from a2a_grpc.offload import offload
from a2a_grpc.parts import check_content, encodable
from a2a_grpc.store import Append, Head, Pending, Record, StaleAppend, TaskKey, Written, over
from a2a_grpc.store.views import artifact_ids
from a2a_grpc.wire import Artifact, Message, StreamResponse, TaskState

MAX_BEHIND = 64
"""Records of one run that may be on their way to the store at a time."""
MAX_END_BYTES = 1024
"""Size up to which an event that ends a task is written in spite of limits, so that a task always says why it ended."""


class Writer:
    """Appends the events of one run under one claim.

    Guarantees:

    - Events are in the log in the order of the calls.
    - An event that is over a limit, or not allowed after the task's state, is not written.
    - After another claim was taken, nothing is written, and StaleAppend is raised.
    - After a write whose outcome is unknown (StoreUnavailable), the next call reads the log first.

    A write begins at once, also while earlier ones are on their way, so that many share a transaction. With `behind`, a
    call does not wait for its write. If the write fails, a later call raises the error.
    """

    __slots__ = (
        "_artifacts",
        "_chunks",
        "_failure",
        "_is_told",
        "_log",
        "_on_the_way",
        "_settings",
        "_size",
        "_waiting",
        "context_id",
        "epoch",
        "key",
        "last_turn",
        "replica",
        "seq",
        "state",
        "turn",
    )

    def __init__(
        self, log: Log, settings: EngineSettings, key: TaskKey, head: Head, waiting: Waiting | None = None
    ) -> None:
        self._log = log
        self._waiting = waiting
        self._settings = settings
        self._artifacts: set[str] = set()
        self._chunks: Chunks | None = None
        self._on_the_way: deque[Written] = deque()
        self._failure: BaseException | None = None
        """The error of the first write that failed since the log was read."""
        self._is_told = False
        """True once `_failure` has been raised to a caller."""
        self._size = head.size
        self.key = key
        self.context_id = head.context_id
        self.epoch = head.epoch
        self.replica = head.replica
        """The replica that holds the claim."""
        self.last_turn = head.last_turn
        """The turn of the newest message that was accepted for the task, as far as this process knows."""
        self.seq = head.seq
        self.state = head.state
        self.turn = head.turn

    async def status(
        self,
        state: TaskState,
        message: Message | None = None,
        *,
        incoming: Message | None = None,
        turn: int | None = None,
        done: int = 0,
        release: bool = False,
        keep: Pending | None = None,
        behind: bool = False,
    ) -> None:
        """Write a new status with the agent's message, and with `incoming`, the user's message that opens `turn`.

        For `done`, `release` and `keep` see `Append`.

        Raises:
            IllegalTransition: The task cannot go from its state to the new one.
            StaleAppend: The claim is lost.
            StoreUnavailable: The outcome of a write is unknown.
            ValueError: The contract does not allow the content.
            Failed: A status that does not end the task is over a limit.
        """
        if message is not None:
            check_content(message)
        at_us = now_us()
        element = status_event(self.key, self.context_id, state, at_us, message)
        event = element.SerializeToString()
        serialized = incoming.SerializeToString() if incoming is not None else b""
        if not self.is_ready:
            await self.ready()
        lifecycle.check(self.state, state)
        if state not in lifecycle.TERMINAL or len(event) > MAX_END_BYTES:
            check_limits(self._settings, self.seq, self._size, len(event), len(serialized))
        record = Record(self.seq + 1, event, state, self.turn if turn is None else turn, at_us, serialized)
        if self._waiting is not None:
            self._waiting.move(self.state, state)
        written = self._append(record, element, done, release, keep)
        if not behind and not written.done():
            await self._stored(written)

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool, behind: bool = False) -> None:
        """Write an artifact, which makes, replaces or extends one. `append` is left out of an artifact's first event.

        Raises:
            StaleAppend: The claim is lost.
            StoreUnavailable: The outcome of a write is unknown.
            ValueError: The contract does not allow the content.
            Failed: The event is over a limit.
        """
        check_content(artifact)
        element = artifact_event(self.key, self.context_id, artifact, append=append, last_chunk=last_chunk)
        await self.ready()
        written = self._extend(artifact.artifact_id, element)
        if not behind and not written.done():
            await self._stored(written)

    @property
    def is_ready(self) -> bool:
        """True if there is room for another write, and it is known what was written so far."""
        return self._failure is None and len(self._on_the_way) < MAX_BEHIND

    async def ready(self, behind: int = MAX_BEHIND - 1) -> None:
        """Return once at most `behind` writes are on their way, and it is known what the others have written.

        Raise the error of the first write that failed without a waiter; StaleAppend, StoreUnavailable.
        """
        while len(self._on_the_way) > behind:
            await self._land(self._on_the_way[0])
        while self._failure is not None:
            if not self._is_told:
                self._is_told = True
                raise self._failure
            await self.look()

    def text(
        self, artifact_id: str, text: str, *, name: str = "", append: bool = False, last_chunk: bool = False
    ) -> None:
        """Write a text as a part of an artifact, as `artifact` does with `behind`. Call this after `ready`."""
        encodable(text, ("text",))
        if append and artifact_id in self._artifacts and not name and not last_chunk:
            if self._chunks is None or self._chunks.artifact_id != artifact_id:
                self._chunks = Chunks(self.key, self.context_id, artifact_id)
            self._extend(artifact_id, self._chunks.of(text), is_reused=True)
            return
        element = text_event(
            self.key, self.context_id, artifact_id, text, name=name, append=append, last_chunk=last_chunk
        )
        self._extend(artifact_id, element)

    def _extend(self, artifact_id: str, element: StreamResponse, *, is_reused: bool = False) -> Written:
        if artifact_id not in self._artifacts:
            if len(self._artifacts) >= self._settings.max_artifacts:
                raise OverLimit(
                    f"the task has reached the limit of {self._settings.max_artifacts} artifacts (--max-artifacts)"
                )
            element.artifact_update.append = False
        event = element.SerializeToString()
        check_limits(self._settings, self.seq, self._size, len(event))
        written = self._append(Record(self.seq + 1, event, self.state, self.turn), None if is_reused else element)
        self._artifacts.add(artifact_id)
        return written

    async def task(self) -> bytes:
        """Return the serialised task as it is now. Call this before the first artifact, unless the task is new.

        So the writer knows the artifacts that the task has already.
        """
        serialized = (await self._log.snapshot(self.key)).task
        self._artifacts = await offload(len(serialized), artifact_ids, serialized)
        return serialized

    def _append(
        self,
        record: Record,
        element: StreamResponse | None,
        done: int = 0,
        release: bool = False,
        keep: Pending | None = None,
    ) -> Written:
        """Begin to write a record. Raise the error of a write that has failed already. `element` is the parsed event,
        unless it will be changed."""
        written = self._log.write(Append(self.key, record, self.epoch, None, done, release, keep), element)
        if not written.done():
            self._on_the_way.append(written)
        elif written.exception() is None:
            self.last_turn = written.result()
        else:
            self._note(written)
            self._check(written)
        self.seq, self.state, self.turn = record.seq, record.state, record.turn
        self._size += record.size
        return written

    async def _stored(self, written: Written) -> None:
        """Wait until a write has happened."""
        await self._land(written)
        self._check(written)

    def _check(self, written: Written) -> None:
        """Raise the error of a write that is over, if there is one."""
        if (failure := written.exception()) is not None:
            self._is_told = True
            raise self._failure or failure  # the first failure is the cause of the others

    async def _land(self, written: Written) -> None:
        """Wait until a write is over. Take note of all writes that are."""
        await over(written)
        while self._on_the_way and self._on_the_way[0].done():
            self._note(self._on_the_way.popleft())

    def _note(self, written: Written) -> None:
        """Take note of a write that is over."""
        if (failure := written.exception()) is None:
            self.last_turn = written.result()
        elif self._failure is None:
            self._failure, self._is_told = failure, False

    async def look(self) -> None:
        """Read what the log has. Raise StaleAppend if the claim is lost, or StoreUnavailable."""
        while self._on_the_way:
            await self._land(self._on_the_way[0])
        head = await self._log.head(self.key)
        if head.epoch != self.epoch:
            raise StaleAppend
        if head.seq != self.seq:  # what is missing may have begun an artifact
            await self.task()
        self.seq, self.state, self.turn, self._size = head.seq, head.state, head.turn, head.size
        self.last_turn = head.last_turn
        self._failure = None
