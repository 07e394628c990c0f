"""The options of a message that is sent, and the request that they make."""

import inspect
import re
import uuid
from collections.abc import Sequence
from typing import Literal, TypedDict, TypeVar, Unpack

from a2a_grpc.agent import Agent, CallbackTask
from a2a_grpc.client.headers import Metadata
from a2a_grpc.parts import Contents, Json, struct, user_message
from a2a_grpc.protocol import CALLBACK_EXTENSION, PRIORITY, Key
from a2a_grpc.wire import Message, SendMessageRequest, Task, TaskPushNotificationConfig

Kind = TypeVar("Kind", bound=type)

OPTIONS_ENTRY = re.compile(r"^    \*\*options:.*\n(?:      +\S.*\n?)*", re.MULTILINE)
"""The entry of a docstring that stands for all options."""


class LeftOut:
    """Default of an option in a signature. No value that a caller can give means the same as leaving the option out."""

    def __repr__(self) -> str:
        return "..."


class SendOptions(TypedDict, total=False):
    """The options of a message: keyword arguments of `send`, `start`, `stream` and others. Each may be left out.

    A `Message` that is sent has fields for the first three. A `task_id` or `context_id` that is given as an option
    replaces the field of the message. Reference ids are added to those of the message.

    Attributes:
        task_id: The task that the message goes on with, for example as an answer; by default a new task.
        context_id: The conversation that the task belongs to (spec §3.4.1); by default a new one, or that of the task.
        reference_task_ids: Ids of earlier tasks that the message is about (spec §3.4.3); by default none.
        metadata: JSON values for the request, by key; by default none. The key `skill` chooses a skill of the agent.
        priority: The priority of the task among those that wait at a server of this package: `"high"`, `"normal"` or
            `"low"`; by default normal. The server may refuse high. The metadata of the message carries the priority.
        accepted_output_modes: The media types that the caller accepts, such as `["text/plain"]` (spec §3.2.2); by
            default any.
        history_length: The number of messages that the returned task has in its history, the newest ones; 0 for none
            (spec §3.2.4); by default all.
        push_config: A URL that the agent calls with the events of the task (spec §3.1.7); by default none.
        callback: The agent that is called with the result when the task is settled; by default none. It is an `Agent`
            of this process that has a function under `@agent.on_callback`, or the address of an agent, or a
            `CallbackTask` with address, headers and data.
        idempotency_key: A text that identifies this send; by default a new one for each call. An agent that honours the
            key answers a second send with the same key with the task of the first.
        cancel_on_disconnect: True to have the server cancel the task if this call is cut. Then the client cannot resume
            the stream. False for a task that goes on. By default the server's setting of this name decides.
        headers: gRPC metadata of the call; by default none. It is added to that of the client.
    """

    task_id: str
    context_id: str
    reference_task_ids: Sequence[str]
    metadata: dict[str, Json]
    priority: Literal["high", "normal", "low"]
    accepted_output_modes: Sequence[str]
    history_length: int
    push_config: TaskPushNotificationConfig
    callback: Agent | CallbackTask | str
    idempotency_key: str
    cancel_on_disconnect: bool
    headers: Metadata


def shows_options(kind: Kind) -> Kind:
    """Show each option of a message in `help()`, for the methods of a class that take `**options`. Return the class.

    The signature of such a method gets a parameter for each option. In its docstring the entry `**options` is replaced
    by what `SendOptions` says of each. Calls are not affected.
    """
    for member in vars(kind).values():
        if inspect.isfunction(member) and member.__annotations__.get("options") == Unpack[SendOptions]:
            signature = inspect.signature(member)
            own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
            options = [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=LeftOut(), annotation=hint)
                for name, hint in SendOptions.__annotations__.items()
            ]
            member.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
            if member.__doc__ and SendOptions.__doc__:  # `python -OO` has no docstrings
                entries = inspect.cleandoc(SendOptions.__doc__).partition("Attributes:\n")[2] + "\n"
                member.__doc__ = OPTIONS_ENTRY.sub(lambda _: entries, inspect.cleandoc(member.__doc__))  # noqa: B023
    return kind


def send_request(content: Contents | Message, options: SendOptions) -> SendMessageRequest:
    """Return the request for a message, or for what one is made of. Raise ValueError for an empty idempotency key."""
    if options.get("idempotency_key") == "":
        raise ValueError("idempotency_key is ''; give a text, or leave the option out")
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
    if priority := options.get("priority"):
        message.metadata[PRIORITY] = priority
    if (callback := options.get("callback")) is not None:
        callback_task(callback).put(message)
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


def callback_task(callback: Agent | CallbackTask | str) -> CallbackTask:
    """Return what asks for a callback. Raise ConfigurationError for an agent that cannot be called back."""
    match callback:
        case Agent():
            return callback.callbacks.issue()
        case str():
            return CallbackTask(callback)
    return callback


def send_headers(options: SendOptions) -> Metadata:
    """Return the metadata of a send. It always has an idempotency key."""
    headers = [(Key.IDEMPOTENCY, options.get("idempotency_key") or str(uuid.uuid4()))]
    if (cancel := options.get("cancel_on_disconnect")) is not None:
        headers.append((Key.CANCEL_ON_DISCONNECT, str(cancel).lower()))
    if options.get("callback") is not None:
        headers.append((Key.EXTENSIONS, CALLBACK_EXTENSION))
    return headers


def with_history(reply: Task | Message, options: SendOptions) -> Task | Message:
    """Return the reply with as much history as the caller wants (spec §3.2.4). The events of a stream bring more."""
    length = options.get("history_length")
    if isinstance(reply, Task) and length is not None and len(reply.history) > length:
        del reply.history[: len(reply.history) - length]
    return reply
