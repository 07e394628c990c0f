"""Applies the elements of a stream, over all of its calls, and finds out which step comes next."""

from collections import deque
from enum import Enum

from a2a_grpc import lifecycle
from a2a_grpc.client.followed import FollowedTask
from a2a_grpc.client.places import Places, Turn
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.steps import Step
from a2a_grpc.client.taken import Taken
from a2a_grpc.lifecycle import Event
from a2a_grpc.wire import Message, SendMessageRequest, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent


class Check(Enum):
    """The reason why a task is read before its stream goes on."""

    HISTORY = "has the task taken the message?"
    SNAPSHOT = "a server without seqs may have left out events before this state, or have sent some twice"
    WHOLE = "a server of another make began without the Task"
    STATE = "no event came after the last one: only the task says whether there will be more"


class Progress:
    """What a stream knows of its task.

    Attributes:
        ready: The events that the caller has not read yet.
        followed: The task as the events build it.
        places: The place of the last event, and whether the server numbers the events of the call.
        check: The reason why the task is read, in the step CHECK.
        has_elements: True after the first element.
        was_resumed: True once the stream goes on by a subscription.
    """

    def __init__(
        self, settings: ClientSettings, *, send: SendMessageRequest | None, task_id: str, after: int | None
    ) -> None:
        self.ready: deque[Event] = deque()
        self.followed = FollowedTask(settings, task_id)
        self.places = Places(after)
        self.check = Check.STATE
        self.has_elements = self.was_resumed = False
        self._is_send = send is not None
        self._taken = Taken(send)
        self._held: Task | TaskStatusUpdateEvent | None = None
        self._found: TaskState = TaskState.TASK_STATE_UNSPECIFIED
        """The state in which the task was before the call, if no event has said it."""

    @property
    def is_settled(self) -> bool:
        """True if the task has ended, or waits for its user after it has taken the message of a send."""
        # A server that numbers its events ends the stream of a send once the turn that asks for input is that of the
        # message. Others may keep the stream open (OPEN-1).
        state = self.followed.state
        if not self._is_send or state not in lifecycle.INTERRUPTED:
            return state in lifecycle.SETTLED
        if state == lifecycle.INPUT_REQUIRED and self.places.is_numbered and not self.was_resumed:
            return False
        return self._taken.is_known

    @property
    def checks_history(self) -> bool:
        """True if CHECK does not need the artifacts of the task."""
        return self.check is Check.HISTORY

    @property
    def is_asking(self) -> bool:
        """True if a send that goes on by a subscription ends with the question of its agent.

        The subscription alone would stay open (OPEN-1).
        """
        if not self.was_resumed or not self._is_send or self.followed.state != lifecycle.INPUT_REQUIRED:
            return False
        return self._taken.is_known or not self.places.is_numbered

    def element(self, event: Event | None) -> Step:
        """Apply the next element; None for one of a later contract. Return WAIT if the server has left events out.

        Raise InvalidAgentResponseError for an element of another task.
        """
        self.followed.check(event)
        if self.places.is_numbered:
            turn = self.places.turn(isinstance(event, Task), self.followed.task is not None)
            if turn is Turn.REPEATED:
                self.places.skip()
                return Step.READ
            if turn is Turn.MISSING:
                self.places.forget()
                return Step.WAIT
            if not self._taken.is_known and self._taken.asks(event):
                assert isinstance(event, Task | TaskStatusUpdateEvent)  # only these are asked about
                return self._hold(event, Check.HISTORY)
        return self._take(event)

    def end(self) -> Step:
        """Return what follows the end of a call. If the task is at work, the end is a lost connection (STRM-11)."""
        if self.followed.id and not self.followed.state:
            if not self._found:
                return self._hold(None, Check.STATE)
            self.followed.state = self._found  # all events came before the call, in which there were none
        return Step.STOP if self.followed.state in lifecycle.SETTLED else Step.WAIT

    def read(self, task: Task) -> Step:
        """Go on with the task that CHECK has read."""
        held, self._held = self._held, None
        if held is None:
            if task.status.state in lifecycle.SETTLED:
                self._found = task.status.state
                return Step.CONNECT  # there may be events between the end of the call and this state
            self.followed.state = task.status.state
            return Step.WAIT
        if self.check is Check.SNAPSHOT:
            return self._apply(task)
        if self.check is Check.WHOLE:
            return self._apply(held, whole=task)
        history = self._taken.read(held, task)
        step = self._take(held)
        if history is not None:
            self.followed.put_history(history)
        return step

    def unread(self) -> Step:
        """Go on although the agent does not let the task be read, whose history CHECK has asked for."""
        held, self._held = self._held, None
        self._taken.is_known = True
        return self._take(held)

    def look(self, task: Task) -> None:
        """Apply a task that was read in place of its events. Its place in the log is not known."""
        self.ready.extend(self.followed.apply(task, is_numbered=self.places.is_numbered))
        if task.status.state not in lifecycle.TERMINAL:
            self.places.forget()

    def _take(self, event: Event | None) -> Step:
        """Take an element whose turn it is."""
        is_first, self.has_elements = not self.has_elements, True
        self.places.take()
        if not self.places.is_numbered:
            self._taken.guess(event, is_first=is_first)
        match event:
            case TaskArtifactUpdateEvent():
                return self._apply(event)
            case TaskStatusUpdateEvent() if (why := self._check_before(event)) is not None:
                return self._hold(event, why)
            case Message():
                self.ready.append(event)
                return Step.STOP
            case None:
                return Step.READ
        return self._apply(event)

    def _check_before(self, event: TaskStatusUpdateEvent) -> Check | None:
        """Return why the task has to be read before a status is applied; None if it has not."""
        if self.places.is_numbered or event.status.state not in lifecycle.SETTLED:
            return None
        if not self._is_send or self.was_resumed:
            return Check.SNAPSHOT  # the stream joined a task that was under way (P2)
        return Check.WHOLE if self.followed.task is None else None

    def _apply(self, event: Event, *, whole: Task | None = None) -> Step:
        """Apply an event, after the events by which `whole` differs from what was seen of the task."""
        fresh = self.followed.apply(event, is_numbered=self.places.is_numbered)
        if whole is not None:
            self.ready.extend(self.followed.begin_with(whole))
        self.ready.extend(fresh)
        if self.followed.state in lifecycle.TERMINAL:
            return Step.PART
        return Step.STOP if self.was_resumed and self.is_asking else Step.READ

    def _hold(self, event: Task | TaskStatusUpdateEvent | None, why: Check) -> Step:
        if event is not None:  # it may be the first one, and CHECK reads the task by its id
            self.followed.id = event.id if isinstance(event, Task) else event.task_id
        self._held, self.check = event, why
        return Step.CHECK
