"""A server, a network and a caller around a `Resumption`, without I/O, which do at each step what a schedule says."""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from functools import partial
from typing import TypeAlias

from a2a_grpc.client.resumption import Resumption
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.steps import Happening, Step
from a2a_grpc.errors import (
    A2AError,
    InvalidRequestError,
    PermissionDeniedError,
    ResourceExhaustedError,
    TaskNotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedOperationError,
    Violation,
)
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, SETTLED, SUBMITTED, TERMINAL, WORKING, Event, Fold
from a2a_grpc.protocol import Key
from a2a_grpc.wire import (
    ROLE_AGENT,
    ROLE_USER,
    Artifact,
    Message,
    Part,
    SendMessageRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

SENT = "m-sent"


class Fault(Enum):
    """What goes wrong at a step. A fault that cannot happen at the step does nothing."""

    NONE = auto()
    CUT = auto()
    END = auto()
    """The call ends with OK, although the task goes on."""
    CANCEL = auto()
    """The caller cancels its read."""
    REPEAT = auto()
    """The server sends events again."""
    SKIP = auto()
    """The server leaves events out."""
    SNAPSHOT = auto()
    """The server answers with the task, and not with the events after the last one."""
    STALE = auto()
    """The same, with the task as it was before the last event."""
    HEADLESS = auto()
    """The server announces the task, and sends an event in its place."""
    NO_PLACE = auto()
    """The server does not know the place of the last event."""
    FULL = auto()
    """A limit of the server refuses the call for now."""
    EXPIRED = auto()
    """The server does not take the token any more."""
    NOT_FOUND = auto()
    """The server does not find the task at first."""
    NO_STREAM = auto()
    """The server does not stream."""


class Fatal(Enum):
    """What ends a stream with an error."""

    GIVE_UP = auto()
    GONE = auto()
    """The server does not know the task any more."""
    DENIED = auto()
    """The caller may not do this."""
    SAME_TOKEN = auto()
    """There are no other credentials."""
    UNSAFE = auto()
    """The server takes a repeated message for another one."""


Moment: TypeAlias = tuple[Fault | Fatal, int]
"""What goes wrong at a step, and how many events the agent makes meanwhile."""


def log_of(chunks: int, *, end: TaskState = COMPLETED, asks_first: bool = False) -> list[Event]:
    """The log of a task. Its chunks and its statuses are told apart by their texts."""
    log: list[Event] = [Task(id="t-1", context_id="c-1", status=TaskStatus(state=SUBMITTED)), status(WORKING, 1)]
    if asks_first:
        log += [status(INPUT_REQUIRED, 2), status(WORKING, 3)]
    for number in range(chunks):
        artifact = Artifact(artifact_id="a", parts=[Part(text=f"{number}")])
        log.append(TaskArtifactUpdateEvent(task_id="t-1", context_id="c-1", artifact=artifact, append=number > 0))
        if number % 3 == 2:
            log.append(status(WORKING, len(log)))
    return [*log, status(end, len(log))]


def status(state: TaskState, number: int) -> TaskStatusUpdateEvent:
    said = Message(message_id=f"{number}", role=ROLE_AGENT)
    return TaskStatusUpdateEvent(task_id="t-1", context_id="c-1", status=TaskStatus(state=state, message=said))


def folded(events: Sequence[Event]) -> Task:
    folding = Fold(Task())
    for event in events:
        folding.apply(event)
    return folding.task


class World:
    """Runs one stream.

    Attributes:
        got: The events that the caller has read.
        sends: How often the message was sent.
        rows: The rows of the table of steps that have happened.
    """

    def __init__(
        self, log: list[Event], schedule: Sequence[Moment], *, is_send: bool, is_numbered: bool, answers: int = 0,
        after: int | None = None,
    ) -> None:  # fmt: skip
        """`answers` is the place of the question that the message answers; 0 for the first message of a task."""
        send = SendMessageRequest(message=Message(message_id=SENT, role=ROLE_USER, task_id="t-1" if answers else ""))
        task_id = "" if is_send else "t-1"
        self.machine = Resumption(
            ClientSettings(), "agent:1", send=send if is_send else None, task_id=task_id, after=after
        )
        self.log = log
        self.got: list[Event] = []
        self.sends = 0
        self.rows: set[tuple[Step, Happening, Step]] = set()
        self._schedule = iter(schedule)
        self.is_numbered = is_numbered
        self.answers = answers
        self.after = after
        self._written = max(answers, after or 0, 1)
        self._coming: Iterator[Event] = iter(())
        self._is_send_call = False
        self._is_accepted = True

    def run(self) -> A2AError | None:
        """Run until the stream ends. Return the error that it ends with."""
        machine = self.machine
        for _ in range(1000):
            self._take_ready()
            if machine.step is Step.STOP:
                return None
            fault, made = next(self._schedule, (Fault.NONE, 0))
            self._written = min(self._written + made, len(self.log))
            if (error := self._step(fault)) is not None:
                assert self.machine.step is Step.STOP
                self._take_ready()
                return error
        raise AssertionError("the stream does not end")

    def _step(self, fault: Fault | Fatal) -> A2AError | None:
        try:
            getattr(self, f"_{self.machine.step.name.lower()}")(fault)
        except A2AError as error:
            return error
        return None

    def _take_ready(self) -> None:
        self.got += self.machine.progress.ready
        self.machine.progress.ready.clear()

    def _report(self, happening: Happening, report: Callable[[], None]) -> None:
        before = self.machine.step
        try:
            report()
        finally:
            self.rows.add((before, happening, self.machine.step))

    def _fail(self, error: A2AError) -> None:
        self._report(Happening.ERROR, partial(self.machine.failed, error))

    def _is_common(self, fault: Fault | Fatal) -> bool:
        """Do what may go wrong at any step. Return False for any other fault."""
        if fault is Fault.CUT:
            self._fail(UnavailableError("cut"))
        elif fault is Fault.CANCEL:
            self._report(Happening.CANCELED, self.machine.canceled)
        else:
            return False
        return True

    def _is_refused(self, fault: Fault | Fatal) -> bool:
        """Do what may go wrong at any step of a call. Return False for any other fault."""
        if fault is Fault.FULL:
            self._fail(ResourceExhaustedError("full", retry_after_s=1.0))
        elif fault is Fault.EXPIRED and self._is_accepted and not self.machine.is_polled:
            self._fail(UnauthenticatedError("expired"))
        elif fault is Fault.NO_STREAM and not self.machine.is_polled:
            self._fail(UnsupportedOperationError("no streams"))
        elif fault is Fault.NOT_FOUND and not self.machine.is_sending:
            self._fail(TaskNotFoundError("unknown"))
        elif fault is Fatal.DENIED:
            self._fail(PermissionDeniedError("no"))
        else:
            return self._is_common(fault)
        return True

    # -- the steps

    def _connect(self, fault: Fault | Fatal) -> None:
        if fault in (Fault.FULL, Fault.EXPIRED) or not self._is_refused(fault):  # no server was asked yet
            self._is_send_call = self.machine.is_sending
            self.sends += self._is_send_call
            self._report(Happening.BEGUN, partial(self.machine.begun, is_polled=self.machine.is_polled))

    def _open(self, fault: Fault | Fatal) -> None:
        seq = self.machine.progress.places.seq
        has_place = seq is not None and self.machine.progress.followed.task is not None
        if self._is_refused(fault):
            return
        if fault is Fatal.GONE and not self._is_send_call:
            self._fail(TaskNotFoundError("unknown"))
        elif fault is Fault.NO_PLACE and has_place and not self._is_send_call:
            self._fail(InvalidRequestError("no such place", violations=[Violation(Key.AFTER, "too large")]))
        else:
            metadata = self._answer(fault, seq)
            self._is_accepted |= bool(metadata)
            self._report(Happening.METADATA, partial(self.machine.metadata, metadata))

    def _answer(self, fault: Fault | Fatal, seq: int | None) -> dict[str, str]:
        """Begin the elements of a call. Return its initial metadata."""
        shift = {Fault.REPEAT: -2, Fault.SKIP: 2}.get(fault, 0) if isinstance(fault, Fault) else 0
        if self.machine.is_polled:
            self._coming = self._polled()
            return {}
        if not self.is_numbered:
            begin = self._written if self._is_send_call else min(max(self._written + shift, 1), len(self.log) - 1)
            self._coming = iter([self.snapshot(self._written), *self.log[begin:]])
            return {}
        if seq is not None and fault is Fault.HEADLESS and self._written < len(self.log):
            self._coming = iter(self.log[self._written :])
            return {Key.SEQ: str(self._written + 1)}
        if seq is not None and fault not in (Fault.SNAPSHOT, Fault.STALE):
            after = min(max(seq + shift, 0), len(self.log))
            self._coming = iter(self.log[after:])
            return {Key.AFTER: str(after)}
        at = max(1, seq - 2) if seq is not None and fault is Fault.STALE else self._written
        self._coming = iter([self.snapshot(at), *self.log[at:]])
        return {Key.SEQ: str(at)}

    def _polled(self) -> Iterator[Event]:
        """Yield the task from time to time, until it has ended, or asks in answer to a message."""
        at = max(self._written, self.answers + 1)
        while at < len(self.log):
            yield self.snapshot(at)
            at = self._written = max(self._written, at + 1)
        yield self.snapshot(at)

    def _read(self, fault: Fault | Fatal) -> None:
        state = self.machine.progress.followed.state
        if self._is_refused(fault):
            return
        if fault is Fault.END and state not in SETTLED:
            self._report(Happening.END, self.machine.end)
        elif (event := next(self._coming, None)) is not None:
            if event in self.log:
                self._written = max(self._written, self.log.index(event) + 1)
            self._is_accepted = True
            self._report(Happening.ELEMENT, partial(self.machine.element, event))
        else:
            may_end = self._is_send_call or self.log[-1].status.state in TERMINAL  # type: ignore[union-attr]
            assert may_end, "the stream waits for ever"
            self._report(Happening.END, self.machine.end)

    def _check(self, fault: Fault | Fatal) -> None:
        if self.machine.progress.checks_history and fault in (Fault.NO_STREAM, Fault.NOT_FOUND):
            fault = Fault.NONE  # a server that streams the task has it
        if not self._is_refused(fault):
            self._hand_task()

    def _look(self, fault: Fault | Fatal) -> None:
        if fault is Fatal.GONE:
            self._fail(TaskNotFoundError("gone"))
        elif fault is Fatal.DENIED:
            self._fail(PermissionDeniedError("no"))
        elif not self._is_common(fault):
            self._hand_task()

    def _hand_task(self) -> None:
        self._report(Happening.TASK, partial(self.machine.read, self.snapshot(self._written)))

    def _wait(self, fault: Fault | Fatal) -> None:
        if fault is Fatal.GIVE_UP:
            self._fail(UnavailableError("for the last time"))
        elif fault is Fault.CANCEL:
            self._report(Happening.CANCELED, self.machine.canceled)
        else:
            may_go_on = fault is not Fatal.UNSAFE or not self.machine.is_sending
            self._report(Happening.WAITED, partial(self.machine.waited, may_go_on=may_go_on))

    _ask = _wait

    def _renew(self, fault: Fault | Fatal) -> None:
        if fault is Fatal.DENIED:
            self._fail(PermissionDeniedError("no"))
        elif not self._is_common(fault):
            are_others = fault is not Fatal.SAME_TOKEN
            self._is_accepted = False
            self._report(Happening.RENEWED, partial(self.machine.renewed, are_others=are_others))

    def _part(self, fault: Fault | Fatal) -> None:
        if fault is Fault.REPEAT:
            self._report(Happening.ELEMENT, partial(self.machine.element, self.log[-1]))
        elif not self._is_common(fault):
            self._report(Happening.END, self.machine.end)

    def snapshot(self, written: int) -> Task:
        """The task after so many events. Its history has the message once the task has taken the message."""
        task = folded(self.log[:written])
        if written > self.answers:
            task.history.append(Message(message_id=SENT, role=ROLE_USER))
        return task
