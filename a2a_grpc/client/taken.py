"""Find out if a task has taken the message that was sent to it. Before that, its state is what the message answers."""

from collections.abc import Sequence

from a2a_grpc import lifecycle
from a2a_grpc.lifecycle import Event
from a2a_grpc.wire import Message, SendMessageRequest, Task, TaskStatusUpdateEvent


class Taken:
    """Looks for the sent message in the history of its task.

    The state of the task does not show it. The task may stay for a while in the state in which the message found it, if
    the server that held it has died. Or it has reached the same state again when the first snapshot is taken.

    The history shows it. Events do not have the history. Therefore the task is read if an event settles it before the
    message was seen.
    """

    def __init__(self, send: SendMessageRequest | None) -> None:
        self._sent = send.message.message_id if send else ""
        self._is_cut = send is not None and send.configuration.HasField("history_length")
        self.is_known = send is None or not send.message.task_id
        """True once the task is known to have taken the message. The first message of a task is always taken."""

    def asks(self, event: Event | None) -> bool:
        """Look at an event of a server that numbers its events. Return True if the task has to be read as well."""
        if self.is_known or not isinstance(event, Task | TaskStatusUpdateEvent):
            return False
        if isinstance(event, Task):
            self.is_known = self._is_in(event.history)
            if self.is_known or not self._is_cut:
                return False
        return event.status.state in lifecycle.SETTLED

    def read(self, event: Task | TaskStatusUpdateEvent, task: Task) -> Sequence[Message] | None:
        """Look at the task that `asks` wants for an event. Return its history as of the event, None if it went on."""
        if task.status != event.status:
            return None  # the next events show it
        self.is_known = self._is_in(task.history)
        return task.history

    def guess(self, event: Event | None, *, is_first: bool) -> None:
        """Look at an event of another server, which may keep no history, and may begin with the old question."""
        if self.is_known or not isinstance(event, Task | TaskStatusUpdateEvent):
            return
        is_old = event.status.state == lifecycle.INPUT_REQUIRED
        if isinstance(event, Task) and event.history:
            is_old = is_old or not self._is_in(event.history)
        self.is_known = event.status.state in lifecycle.INTERRUPTED and not (is_first and is_old)

    def _is_in(self, history: Sequence[Message]) -> bool:
        return any(message.message_id == self._sent for message in history)
