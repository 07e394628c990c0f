"""The task that the events of a stream build."""

from collections.abc import Sequence

from a2a_grpc.client.growth import Growth
from a2a_grpc.client.responses import other_task
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.snapshot_diff import artifact_diff, snapshot_diff, tells_its_status
from a2a_grpc.lifecycle import Event, Fold
from a2a_grpc.wire import Message, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent


class FollowedTask:
    """A task that grows with the events of a stream, and with snapshots of it.

    Attributes:
        id: The id of the task; empty before the first event of a send.
        state: The state as of the last event; `TASK_STATE_UNSPECIFIED` before the first event.
        repeats: The number of snapshots in a row that have changed nothing.
    """

    def __init__(self, settings: ClientSettings, task_id: str) -> None:
        self.id = task_id
        self.state: TaskState = TaskState.TASK_STATE_UNSPECIFIED
        self._fold: Fold | None = None
        self._heard: Fold | None = None
        """The events of a send that come before any Task, as servers of other makes send them, folded."""
        self._growth = Growth(settings)
        self.repeats = 0

    @property
    def task(self) -> Task | None:
        """The task; None before the first Task among the events."""
        return self._fold.task if self._fold is not None else None

    def check(self, event: Event | None) -> None:
        """Raise InvalidAgentResponseError for an event or a snapshot of another task."""
        found = self.id
        match event:
            case Task():
                found = event.id
            case TaskArtifactUpdateEvent() | TaskStatusUpdateEvent():
                found = event.task_id
        if self.id and found != self.id:
            raise other_task(found, self.id)

    def apply(self, event: Event, *, is_numbered: bool) -> Sequence[Event]:
        """Apply an event or a snapshot. Return what is new to the reader of the stream.

        Raise ResponseTooLargeError if the task grows over the limits of the client.
        """
        match event:
            case TaskArtifactUpdateEvent():
                self.id = event.task_id
            case TaskStatusUpdateEvent():
                self.id, self.state = event.task_id, event.status.state
            case Task():
                return self._begin(event, is_numbered=is_numbered)
        self.repeats = 0
        fold = self._fold
        if fold is None and not is_numbered:
            fold = self._heard = self._heard or Fold(Task(id=self.id))
        if fold is not None:
            fold.apply(event)
            self._growth.add(event, fold.task)
        return (event,)

    def begin_with(self, task: Task) -> Sequence[Event]:
        """Begin with a task that was read, after events without a Task. Return what it adds to the events."""
        added = list(artifact_diff(self._heard.task if self._heard else Task(), task))
        self._fold = Fold(task)
        return added

    def put_history(self, history: Sequence[Message]) -> None:
        """Replace the history of the task, if there is a task."""
        if self._fold is not None:
            del self._fold.task.history[:]
            self._fold.task.history.extend(history)

    def _begin(self, snapshot: Task, *, is_numbered: bool) -> Sequence[Event]:
        self.id, self.state = snapshot.id, snapshot.status.state
        known, whole = self.task, Task()
        whole.CopyFrom(snapshot)
        self._fold = Fold(whole, is_told=not is_numbered and tells_its_status(whole))
        fresh = (snapshot,) if known is None else snapshot_diff(known, snapshot)
        self.repeats = 0 if fresh or known != snapshot else self.repeats + 1
        return fresh
