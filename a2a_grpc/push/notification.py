"""Reading the body of a notification."""

from dataclasses import dataclass

from google.protobuf import json_format

from a2a_grpc.arguments import checked
from a2a_grpc.lifecycle import Event, payload_of
from a2a_grpc.wire import Message, StreamResponse, Task


@checked()
@dataclass(frozen=True, slots=True)
class Notification:
    """A notification that a `PushReceiver` has verified.

    Attributes:
        event: The event, of the types that a stream of a client has: `Task`, `TaskStatusUpdateEvent`,
            `TaskArtifactUpdateEvent` or `Message`.
        task_id: The id of the task.
        id: The id of the notification, which is the same if it is sent again. Empty if the sender gives none.
    """

    event: Event
    task_id: str
    id: str


class UnreadableError(ValueError):
    """The body is not a notification. The message says why."""


def read(body: bytes, webhook_id: str) -> Notification:
    """Return the notification of a body, which is a `StreamResponse` in ProtoJSON. Unknown members are ignored.

    Args:
        body: The body.
        webhook_id: The header `webhook-id`, or "".

    Raises:
        UnreadableError: The body is something else, or names no task.
    """
    try:
        element = json_format.Parse(body.decode(), StreamResponse(), ignore_unknown_fields=True)
    except (json_format.Error, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        raise UnreadableError("the body is not a StreamResponse in JSON") from None
    event = payload_of(element)
    if event is None:
        raise UnreadableError("the body has no task, message, statusUpdate or artifactUpdate")
    task_id = event.id if isinstance(event, Task) else event.task_id
    if not task_id:
        kind = "message" if isinstance(event, Message) else "event"
        raise UnreadableError(f"the {kind} names no task")
    return Notification(event, task_id, webhook_id)
