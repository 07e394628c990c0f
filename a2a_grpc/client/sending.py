"""What goes with a message that is sent."""

import uuid
from collections.abc import Sequence
from typing import TypedDict

from a2a_grpc.client.calls import Metadata
from a2a_grpc.parts import Contents, Json, struct, user_message
from a2a_grpc.protocol import Key
from a2a_grpc.wire import Message, SendMessageRequest, Task, TaskPushNotificationConfig


class SendOptions(TypedDict, total=False):
    """What may go with a message. The first three are put into it, over what it says itself."""

    task_id: str
    """The task that the message goes on with; none begins a new one."""
    context_id: str
    """The conversation that the task belongs to."""
    reference_task_ids: Sequence[str]
    """Tasks that the message is about (SEND-14)."""
    metadata: dict[str, Json]
    """Metadata of the request; the key `skill` chooses among an agent's skills."""
    accepted_output_modes: Sequence[str]
    """Media types that the caller can take (SEND-9)."""
    history_length: int
    """Most recent messages that the answer holds; 0 for none, all by default."""
    push_config: TaskPushNotificationConfig
    """Where the agent is to call as well."""
    idempotency_key: str
    """What makes this send the same as another; a new one by default."""
    cancel_on_disconnect: bool
    """Cancel the task if this call is cut."""
    headers: Metadata
    """Metadata of the call."""


def send_request(content: Contents | Message, options: SendOptions) -> SendMessageRequest:
    """Return the request for a message, or for what one is made of."""
    if isinstance(content, Message):
        message = Message()
        message.CopyFrom(content)
    else:
        message = user_message(content)
        if key := options.get("idempotency_key"):  # given again, it must make the same request
            message.message_id = str(uuid.uuid5(uuid.NAMESPACE_OID, key))
    if task_id := options.get("task_id"):
        message.task_id = task_id
    if context_id := options.get("context_id"):
        message.context_id = context_id
    message.reference_task_ids.extend(options.get("reference_task_ids", ()))
    request = SendMessageRequest(message=message)
    configuration = request.configuration
    configuration.accepted_output_modes.extend(options.get("accepted_output_modes", ()))
    if (length := options.get("history_length")) is not None:
        configuration.history_length = length
    if (push_config := options.get("push_config")) is not None:
        configuration.task_push_notification_config.CopyFrom(push_config)
    if metadata := options.get("metadata"):
        request.metadata.CopyFrom(struct(metadata))
    return request


def send_headers(options: SendOptions) -> Metadata:
    """The metadata of a send, an idempotency key always."""
    headers = [(Key.IDEMPOTENCY, options.get("idempotency_key") or str(uuid.uuid4()))]
    if (cancel := options.get("cancel_on_disconnect")) is not None:
        headers.append((Key.CANCEL_ON_DISCONNECT, str(cancel).lower()))
    return headers


def with_history(reply: Task | Message, options: SendOptions) -> Task | Message:
    """As much history as was asked for: the events of a stream bring more of it (HIST-1)."""
    length = options.get("history_length")
    if isinstance(reply, Task) and length is not None and len(reply.history) > length:
        del reply.history[: len(reply.history) - length]
    return reply
