"""Callbacks in the metadata of messages: what a caller asks for, and what an agent sends when the task is settled.

A caller asks for a callback with the key `CALLBACK_EXTENSION` or `CALLBACK_TASK` in the metadata of its message. The
value is an object with three members, of which only `endpoint` is required:

endpoint  the url of the agent that gets the result
headers   gRPC metadata for the call to this agent
data      a JSON value for this agent, which tells it what the result belongs to

The message that brings the result has the key `CALLBACK` in its metadata.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.parts import Json, struct, to_dict
from a2a_grpc.protocol import CALLBACK, CALLBACK_EXTENSION, CALLBACK_TASK, Key
from a2a_grpc.wire import AuthenticationInfo, Message, TaskPushNotificationConfig

AUTHORIZATION = "authorization"

SECRET_HEADERS = frozenset({AUTHORIZATION, Key.TOKEN})
"""The headers with secrets. They are kept in the push config, which is encrypted, and not in the message."""

PLAIN_HEADERS = frozenset({"traceparent", "tracestate", "baggage", "x-request-id", "x-correlation-id"})
"""The other headers that a callback may have. All others could change what the call means."""

MAX_HEADER_CHARS = 4096

MEMBERS = ("endpoint", "headers", "data")


@dataclass(frozen=True, slots=True)
class CallbackTask:
    """What a caller asks for: a call to an agent with the result of the task.

    Attributes:
        endpoint: The url of the agent: `grpc://HOST:PORT`, `grpcs://HOST:PORT` (with TLS), or the logical address
            NAME@DOMAIN of an agent at a sentinel.
        headers: gRPC metadata of the call. It may have `authorization`, `x-a2a-notification-token`, and headers for
            tracing.
        data: A JSON value for the agent that is called, such as an id of what the result belongs to.
    """

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    data: Json = None

    def put(self, message: Message) -> None:
        """Ask for the callback in the metadata of a message.

        Args:
            message: The message that starts the task.
        """
        asked: dict[str, Json] = {"endpoint": self.endpoint}
        if self.headers:
            asked["headers"] = dict(self.headers)
        if self.data is not None:
            asked["data"] = self.data
        message.metadata.MergeFrom(struct({CALLBACK_EXTENSION: asked}))


def key_in(message: Message) -> str:
    """Return the key under which a message asks for a callback; "" if it does not."""
    if not message.HasField("metadata"):
        return ""
    return next((key for key in (CALLBACK_EXTENSION, CALLBACK_TASK) if key in message.metadata.fields), "")


def asked_in(message: Message) -> CallbackTask | None:
    """Return the callback that a message asks for; None if it asks for none. Names of headers are in small letters.

    Raises:
        InvalidRequestError: The endpoint is missing, a header is not allowed, or a member has a wrong type. The error
            names the field.
    """
    if not (key := key_in(message)):
        return None
    path, asked = f"message.metadata.{key}", to_dict(message.metadata)[key]
    if not isinstance(asked, dict):
        raise _refusal(path, "must be an object with the member 'endpoint'")
    if unknown := [name for name in asked if name not in MEMBERS]:
        raise _refusal(f"{path}.{unknown[0][:64]}", f"is not known; there are {', '.join(MEMBERS)}")
    endpoint, headers = asked.get("endpoint"), asked.get("headers")
    headers = {} if headers is None else headers
    if not isinstance(endpoint, str) or not endpoint:
        raise _refusal(f"{path}.endpoint", "is required: the url of the agent that gets the result")
    if not isinstance(headers, dict):
        raise _refusal(f"{path}.headers", "must be an object of texts")
    return CallbackTask(endpoint, _checked(f"{path}.headers", headers), asked.get("data"))


def take_secrets(message: Message) -> None:
    """Remove the headers with secrets from what a message asks for."""
    key = key_in(message)
    headers = message.metadata.fields[key].struct_value.fields["headers"].struct_value
    for name in [name for name in headers.fields if name.lower() in SECRET_HEADERS]:
        del headers.fields[name]
    if not headers.fields:
        del message.metadata.fields[key].struct_value.fields["headers"]


def config_of(asked: CallbackTask) -> TaskPushNotificationConfig:
    """Return the push config that does what a caller asks for. It has the secret headers.

    A task has one such config for each endpoint.
    """
    own_id = str(uuid.uuid5(uuid.NAMESPACE_URL, asked.endpoint))
    config = TaskPushNotificationConfig(id=own_id, url=asked.endpoint, token=asked.headers.get(Key.TOKEN, ""))
    if authorization := asked.headers.get(AUTHORIZATION):
        scheme, _, credentials = authorization.partition(" ")
        config.authentication.CopyFrom(AuthenticationInfo(scheme=scheme, credentials=credentials.strip()))
    return config


@dataclass(frozen=True, slots=True)
class Arrived:
    """What the metadata of a message says of the result that the message brings.

    Attributes:
        task_id: The task, at the agent that has sent the message.
        seq: The place of the last event of the task.
        state: The name of the state, such as "COMPLETED".
        data: The JSON value that the caller has given; None if there is none.
        is_cut: True if the result was too large for a message. Read the task with GetTask.
    """

    task_id: str
    seq: int
    state: str
    data: Json = None
    is_cut: bool = False

    def put(self, message: Message) -> None:
        """Note this in the metadata of a message."""
        noted: dict[str, Json] = {"task": self.task_id, "seq": self.seq, "state": self.state}
        if self.data is not None:
            noted["data"] = self.data
        if self.is_cut:
            noted["cut"] = True
        message.metadata.MergeFrom(struct({CALLBACK: noted}))


def is_callback(message: Message) -> bool:
    """Return True if a message says that it brings the result of a task."""
    return message.HasField("metadata") and CALLBACK in message.metadata.fields


def arrived_in(message: Message) -> Arrived:
    """Return what a message says of the result that it brings.

    Raises:
        InvalidRequestError: The message brings no result, or what it says is not complete.
    """
    path = f"message.metadata.{CALLBACK}"
    noted = to_dict(message.metadata).get(CALLBACK) if message.HasField("metadata") else None
    if not isinstance(noted, dict):
        raise _refusal(path, "is required: what the result belongs to")
    task, seq, state = (noted.get(name) for name in ("task", "seq", "state"))
    if not isinstance(task, str) or not task or not isinstance(state, str) or not isinstance(seq, (int, float)):
        raise _refusal(path, "must have the members task, seq and state")
    return Arrived(task, int(seq), state, noted.get("data"), noted.get("cut") is True)


def _checked(path: str, headers: Mapping[str, Json]) -> dict[str, str]:
    """Return headers with their names in small letters. Raise InvalidRequestError, which shows no value."""
    found: dict[str, str] = {}
    for given, value in headers.items():
        name = given.lower()
        here = f"{path}.{given[:64]}"
        if name not in SECRET_HEADERS | PLAIN_HEADERS:
            allowed = ", ".join(sorted(SECRET_HEADERS | PLAIN_HEADERS))
            raise _refusal(here, f"cannot be sent with a callback; there are {allowed}")
        if name in found:
            raise _refusal(here, "is given twice")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise _refusal(here, "must be a text of printable ASCII characters")
        if len(value) > MAX_HEADER_CHARS:
            raise _refusal(here, f"has {len(value)} characters; the limit is {MAX_HEADER_CHARS}")
        if name == AUTHORIZATION and not all(value.partition(" ")[::2]):  # the scheme alone is kept in clear
            raise _refusal(here, "must be a scheme, a space and credentials, such as 'Bearer TOKEN'")
        found[name] = value
    return found


def _refusal(field_path: str, description: str) -> InvalidRequestError:
    return InvalidRequestError.of(Violation(field_path, description))
