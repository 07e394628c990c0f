"""Decides how the stream of a task goes on, without a call or a clock of its own, by the table of `steps`."""

from collections.abc import Mapping
from typing import NoReturn

from a2a_grpc import lifecycle
from a2a_grpc.client.disconnects import Remedy, given_up, gone, is_passing, is_unsent, remedy_for
from a2a_grpc.client.errors import ConnectionLostError, CredentialsUnavailableError, UnreachableError
from a2a_grpc.client.progress import Progress
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.steps import WITH_CALL, Happening, Step, check
from a2a_grpc.errors import A2AError, TaskNotFoundError, UnavailableError, UnsupportedOperationError
from a2a_grpc.lifecycle import Event
from a2a_grpc.wire import SendMessageRequest, Task

LEFT_OUT = "the agent left out events of the task"


class Resumption:
    """Says with `step` what the reader of a stream does next. The reader reports what happens, with a method for each.

    Guarantees, for any order of lost connections, snapshots, repeated events, ends and errors:

    - If the server numbers its events, each event after the first one becomes `ready` once, in order, or is part of the
      difference to a snapshot. An event that comes again is dropped. If one is left out, a snapshot is asked for.
    - Otherwise, the events lead to the state of the task in which the server ends.
    - A send whose call was lost is begun again only after `waited`, if this cannot make a second task.
    - Each error that ends the stream is raised by the method that reports it. Then `step` is STOP.

    Attributes:
        step: The step that the reader has to do next.
        problem: The error that WAIT, ASK, RENEW or LOOK is about.
        progress: The state of the task as far as it was read, with the events that the caller has not read yet.
        is_polled: True once the agent has refused to stream, or `max_lost` calls of the stream were lost.
        is_refused: True once the agent has refused to stream.
    """

    def __init__(
        self,
        settings: ClientSettings,
        target: str,
        *,
        send: SendMessageRequest | None = None,
        task_id: str = "",
        after: int | None = None,
        max_lost: int | None = None,
    ) -> None:
        self._target = target
        self._max_lost = max_lost
        self._lost = 0
        self._give_up_after_s = settings.give_up_after_s
        self._send = send
        self.step = Step.CONNECT
        self.problem: A2AError | None = None
        self.progress = Progress(settings, send=send, task_id=task_id, after=after)
        self.is_polled = self.is_refused = False
        self._has_streamed = self._has_polled = False
        """What the last call is; neither of them before it has begun."""
        self._is_accepted = True
        """False after the credentials were renewed, until the agent answers a call with them."""

    @property
    def is_sending(self) -> bool:
        """True if the next call is the send. False if it is a subscription after the last event."""
        return self._send is not None and not self.progress.followed.id

    @property
    def is_settled(self) -> bool:
        """True once the task has ended, or waits for its user after it has taken the message of a send."""
        if self.step is Step.STOP:
            return self.progress.followed.state in lifecycle.SETTLED
        return self.progress.is_settled

    # -- what the reader reports

    def begun(self, *, is_polled: bool) -> None:
        """Report that a call has begun, or one that reads the task from time to time."""
        self._has_streamed, self._has_polled = not is_polled, is_polled
        self._go(Happening.BEGUN, Step.OPEN)

    def metadata(self, metadata: Mapping[str, str]) -> None:
        """Report the initial metadata of the call."""
        self._is_accepted |= bool(metadata)
        places = self.progress.places
        if places.begin(metadata):
            return self._go(Happening.METADATA, Step.READ)
        places.forget()
        return self._lose(UnavailableError(LEFT_OUT), Happening.METADATA)

    def element(self, event: Event | None) -> None:
        """Report an element of the call; None for one of a later contract."""
        if self.step is not Step.READ:
            return self._go(Happening.ELEMENT, Step.STOP)
        self._is_accepted = True
        step = self.progress.element(event)
        if step is Step.READ:
            return None  # the most frequent row of the table
        if step is Step.WAIT:
            return self._lose(UnavailableError(LEFT_OUT), Happening.ELEMENT)
        return self._go(Happening.ELEMENT, step)

    def end(self) -> None:
        """Report that the call has ended with OK."""
        if self.step is not Step.READ:
            return self._go(Happening.END, Step.STOP)
        return self._ended(self.progress.end(), Happening.END)

    def read(self, task: Task) -> None:
        """Report the task that CHECK or LOOK has read."""
        if self.step is Step.LOOK:
            return self._looked(task)
        if self.step is not Step.CHECK:
            return self._go(Happening.TASK, Step.STOP)
        return self._ended(self.progress.read(task), Happening.TASK)

    def failed(self, error: A2AError) -> None:
        """Report that the step has failed. Raise an error, this one or one that says more, if the stream ends."""
        match self.step:
            case Step.CONNECT:
                self._has_streamed = self._has_polled = False
                self._call_failed(error)
            case Step.CHECK if self.progress.checks_history and not is_passing(error):
                self._go(Happening.ERROR, self.progress.unread())
            case Step.OPEN | Step.READ | Step.CHECK:
                self._call_failed(error)
            case Step.LOOK:
                self._look_failed(error)
            case Step.WAIT | Step.ASK:
                self._give_up(error)
            case Step.RENEW:
                self._is_accepted = False
                if not isinstance(error, UnavailableError):
                    self._raise(error)
                self._lose(error, Happening.ERROR)
            case Step.PART:
                # Nothing is missing. An error counts only if it says that the task never took the message.
                if isinstance(error, UnsupportedOperationError) and self._send and self._send.message.task_id:
                    self._raise(error)
                self._go(Happening.ERROR, Step.STOP)

    def waited(self, *, may_go_on: bool) -> None:
        """Report the end of WAIT or ASK. Raise the problem if the next try could make a second task."""
        if not may_go_on and self.problem is not None:
            self._raise(self.problem, Happening.WAITED)
        self._go(Happening.WAITED, Step.CONNECT)

    def renewed(self, *, are_others: bool) -> None:
        """Report the end of RENEW. Raise the problem if the credentials are those that the agent has refused."""
        self._is_accepted = False
        if not are_others and self.problem is not None:
            self._raise(self.problem, Happening.RENEWED)
        self._go(Happening.RENEWED, self._after_loss(Step.CONNECT))

    def canceled(self) -> None:
        """Report that the caller has canceled its read, and with it the call."""
        if self.step in (Step.PART, Step.WAIT, Step.ASK):
            return self._go(Happening.CANCELED, self.step, self.problem)
        if self.step in (Step.OPEN, Step.READ) and self.is_sending:
            lost = ConnectionLostError("the read was canceled; whether the agent has got the message is not known")
            return self._go(Happening.CANCELED, Step.ASK, lost)
        return self._go(Happening.CANCELED, self._after_loss(Step.CONNECT))

    def close(self) -> None:
        """End the stream. What happens from now on changes nothing."""
        self.progress.ready.clear()
        self.problem, self.step = None, Step.STOP

    # -- what follows

    def _call_failed(self, error: A2AError) -> None:
        followed, places = self.progress.followed, self.progress.places
        remedy = remedy_for(
            error,
            has_task=bool(followed.id),
            has_place=places.seq is not None and followed.task is not None,
            may_renew=self._has_streamed and self._is_accepted,
            may_poll=not (self.is_polled or self._has_polled),
        )
        match remedy:
            case Remedy.RECONNECT:
                if self.progress.has_elements and not isinstance(error, UnavailableError):
                    # A task that was followed goes on: it is given up on like the task of an agent that is unavailable.
                    error = UnavailableError(error.message, retry_after_s=error.retry_after_s)
                return self._lose(error, Happening.ERROR)
            case Remedy.RENEW:
                return self._go(Happening.ERROR, Step.RENEW, error)
            case Remedy.LOOK:
                return self._go(Happening.ERROR, Step.LOOK, error)
            case Remedy.POLL:
                self.is_polled = self.is_refused = True
            case Remedy.SNAPSHOT:
                places.forget()
            case Remedy.NONE:
                self._raise(error)
        return self._go(Happening.ERROR, self._after_loss(Step.CONNECT))

    def _ended(self, step: Step, happening: Happening) -> None:
        if step is Step.WAIT:
            return self._lose(UnavailableError("the stream ended before the task did"), happening)
        return self._go(happening, step)

    def _looked(self, task: Task) -> None:
        """End with a task that has ended. Go on with another one only if the agent had said that it does not exist."""
        problem = self.problem
        assert problem is not None  # LOOK has one
        is_ended = task.status.state in lifecycle.TERMINAL
        if not is_ended and not isinstance(problem, TaskNotFoundError):
            self._raise(problem, Happening.TASK)
        self.progress.look(task)
        if is_ended or self.progress.is_asking:
            return self._go(Happening.TASK, Step.STOP)
        return self._lose(UnavailableError(problem.message), Happening.TASK)

    def _look_failed(self, error: A2AError) -> None:
        problem = self.problem
        assert problem is not None  # LOOK has one
        if isinstance(error, UnavailableError):
            self._lose(error, Happening.ERROR)
            return
        if not isinstance(error, TaskNotFoundError):
            self._raise(error)
        if not self.progress.has_elements:
            self._raise(problem)
        self._raise(gone(self.progress.followed, self._target), cause=problem)

    def _give_up(self, error: A2AError) -> None:
        """End after the last try. Raise what the caller has to know."""
        if not isinstance(error, UnavailableError) or isinstance(error, UnreachableError):
            self._raise(error)
        if isinstance(error, CredentialsUnavailableError) and not self.progress.has_elements:
            self._raise(error)
        self._raise(given_up(error, self.progress.followed, self._give_up_after_s), cause=error)

    def _lose(self, error: A2AError, happening: Happening) -> None:
        """Go on over another connection, or poll the task if enough connections of the stream were lost."""
        if self._has_streamed and self.step in WITH_CALL and not is_unsent(error):
            self._lost += 1
            self.is_polled = self.is_polled or self._lost == self._max_lost
        self._go(happening, self._after_loss(Step.WAIT), error)

    def _after_loss(self, step: Step) -> Step:
        """Return the step for a stream that has lost its call. It is STOP if there is nothing to go on for."""
        self.progress.was_resumed = bool(self.progress.followed.id)
        return Step.STOP if self.progress.places.is_numbered and self.progress.is_asking else step

    def _raise(
        self, error: A2AError, happening: Happening = Happening.ERROR, *, cause: A2AError | None = None
    ) -> NoReturn:
        self._go(happening, Step.STOP)
        raise error from cause or error.__cause__

    def _go(self, happening: Happening, step: Step, problem: A2AError | None = None) -> None:
        """Take the next step, if the table allows it. Once the stream has ended, nothing changes."""
        if self.step is Step.STOP:
            return
        check(self.step, happening, step)
        self.step, self.problem = step, None if step is Step.STOP else problem
