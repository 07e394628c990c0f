"""Check requests, with pure functions, before any state changes (VAL-1, VAL-8)."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.struct_pb2 import Struct, Value

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.parts import Budget, json_steps
from a2a_grpc.server.media_types import MediaTypes
from a2a_grpc.server.quick_look import is_plain
from a2a_grpc.server.settings import RequestLimits
from a2a_grpc.text import flaw
from a2a_grpc.wire import (
    ROLE_USER,
    AgentCard,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    SendMessageRequest,
    TaskPushNotificationConfig,
    TaskState,
)

Findings: TypeAlias = Iterator[Violation | None]
"""The violations of a request. None is a pause in the search for them."""

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 100

MIN_SECONDS, MAX_SECONDS = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, which `google.protobuf.Timestamp` can have."""


class Checks:
    """The checks of one agent, whose card says which media types it accepts.

    Each method raises InvalidRequestError with all violations, each with the path of its field.
    """

    def __init__(self, card: AgentCard, limits: RequestLimits) -> None:
        self._limits = limits
        self._media_types = MediaTypes(card)

    def send(self, request: SendMessageRequest) -> None:
        """Check the fields of a send (VAL-3 to VAL-6).

        Raises:
            InvalidRequestError: A field is not possible.
            ContentTypeNotSupportedError: A part has a type that the agent does not accept (SEND-8).
        """
        if not is_plain(request, self._limits, self._media_types):
            for _ in self.sending(request):
                pass

    def sending(self, request: SendMessageRequest) -> Iterator[None]:
        """Do what `send` does, in steps, because the JSON values of a large request take long to check."""
        yield from _refusing(self._send(request))
        self._media_types.check(request.message.parts)

    def get(self, request: GetTaskRequest) -> None:
        """Check the id and the history length of a request for a task."""
        task_id = request.id
        if not 0 < len(task_id) <= self._limits.max_id_chars or "\0" in task_id or request.history_length < 0:
            _refuse_if_any(
                chain(self._id("id", task_id, required=True), _history_length("history_length", request.history_length))
            )

    def task_id(self, task_id: str) -> None:
        """Check the id of a task, which is required."""
        if not 0 < len(task_id) <= self._limits.max_id_chars or "\0" in task_id:
            _refuse_if_any(self._id("id", task_id, required=True))

    def tenant(self, tenant: str) -> None:
        _refuse_if_any(self._id("tenant", tenant))

    def metadata(self, metadata: Struct) -> None:
        _refuse_if_any(self._metadata("metadata", metadata))

    def list(self, request: ListTasksRequest) -> None:
        """Check the filters and the page size of a request for a list (VAL-4)."""
        _refuse_if_any(self._list(request))

    def push_config(self, request: ProtobufMessage) -> None:
        """Check the fields of a push notification request of any kind (VAL-3)."""
        _refuse_if_any(self._push_request(request))

    def _push_request(self, request: ProtobufMessage) -> Findings:
        for name in ("task_id", "id"):
            if hasattr(request, name):
                required = name == "task_id" or not isinstance(request, TaskPushNotificationConfig)
                yield from self._id(name, getattr(request, name), required=required)
        if isinstance(request, TaskPushNotificationConfig):
            yield from _push_target("", request)
        if isinstance(request, ListTaskPushNotificationConfigsRequest) and not 0 <= request.page_size <= MAX_PAGE_SIZE:
            yield Violation("page_size", f"is {request.page_size}; it must be 0 to {MAX_PAGE_SIZE}")

    def _send(self, request: SendMessageRequest) -> Findings:
        limits = self._limits
        configuration = request.configuration
        if not request.HasField("message"):
            yield Violation("message", "is required")
        else:
            yield from self._message("message", request.message)
        yield from self._metadata("metadata", request.metadata)
        yield from _history_length("configuration.history_length", configuration.history_length)
        if len(configuration.accepted_output_modes) > limits.max_references:
            yield Violation("configuration.accepted_output_modes", f"has more than {limits.max_references} items")
        if configuration.HasField("task_push_notification_config"):
            path, config = "configuration.task_push_notification_config", configuration.task_push_notification_config
            yield from self._id(f"{path}.id", config.id)
            yield from _push_config(path, config, request)

    def _message(self, path: str, message: Message) -> Findings:
        limits = self._limits
        yield from self._id(f"{path}.message_id", message.message_id, required=True)
        yield from self._id(f"{path}.context_id", message.context_id)
        yield from self._id(f"{path}.task_id", message.task_id)
        if message.role != ROLE_USER:
            yield Violation(f"{path}.role", "must be ROLE_USER")
        for name, values in (
            ("reference_task_ids", message.reference_task_ids),
            ("extensions", message.extensions),
        ):
            if len(values) > limits.max_references:
                yield Violation(f"{path}.{name}", f"has {len(values)} items; the limit is {limits.max_references}")
                continue
            for place, value in enumerate(values):
                yield from self._id(f"{path}.{name}[{place}]", value, required=True)
        yield from self._metadata(f"{path}.metadata", message.metadata)
        if not message.parts:
            yield Violation(f"{path}.parts", "must have at least one part")
        elif len(message.parts) > limits.max_parts:  # counted before it is walked
            yield Violation(f"{path}.parts", f"has {len(message.parts)} parts; the limit is {limits.max_parts}")
        else:
            yield from self._parts(f"{path}.parts", message.parts)

    def _parts(self, path: str, parts: Iterable[Part]) -> Findings:
        values, keys = Budget(self._limits.max_data_values), Budget(self._limits.max_part_metadata_keys)
        for place, part in enumerate(parts):
            here = f"{path}[{place}]"
            match part.WhichOneof("content"):
                case None:
                    yield Violation(here, "has no content; set text, raw, url or data")
                case "data":
                    yield from _json(f"{here}.data", part.data, values)
                case "url" if not part.url:
                    yield Violation(f"{here}.url", "is empty")
            if part.HasField("metadata"):
                yield from self._metadata(f"{here}.metadata", part.metadata, keys)
            if values.is_spent or keys.is_spent:
                return

    def _metadata(self, path: str, metadata: Struct, budget: Budget | None = None) -> Findings:
        if not metadata.fields:
            return
        limits = self._limits
        if (size := metadata.ByteSize()) > limits.max_metadata_bytes:
            yield Violation(path, f"has {size} bytes; the limit is {limits.max_metadata_bytes}")
        else:
            yield from _json(path, metadata, budget or Budget(limits.max_metadata_keys))

    def _id(self, path: str, value: str, *, required: bool = False) -> Findings:
        if not value:
            if required:
                yield Violation(path, "is required")
        elif found := flaw(value, self._limits.max_id_chars):
            yield Violation(path, found)

    def _list(self, request: ListTasksRequest) -> Findings:
        yield from self._id("context_id", request.context_id)
        if request.status not in TaskState.values():
            yield Violation("status", f"{request.status} is not a task state")
        if request.HasField("page_size") and not 1 <= request.page_size <= MAX_PAGE_SIZE:
            yield Violation("page_size", f"is {request.page_size}; it must be 1 to {MAX_PAGE_SIZE}")
        yield from _history_length("history_length", request.history_length)
        nanos = request.status_timestamp_after.nanos
        if not 0 <= nanos < 1_000_000_000:
            yield Violation("status_timestamp_after", f"has {nanos} nanos; they must be 0 to 999999999")
        if not MIN_SECONDS <= request.status_timestamp_after.seconds <= MAX_SECONDS:
            yield Violation("status_timestamp_after", "is not a date between the years 1 and 9999")


def _json(path: str, root: Value | Struct, budget: Budget) -> Findings:
    if problem := (yield from json_steps(root, path, budget)):
        yield Violation(path, problem.text if problem.path == path else f"{problem.text}, at {problem.path}")


def _history_length(path: str, length: int) -> Findings:
    if length < 0:
        yield Violation(path, f"is {length}; it must be 0 or more")


def _push_config(path: str, config: TaskPushNotificationConfig, request: SendMessageRequest) -> Findings:
    yield from _push_target(f"{path}.", config)
    if config.task_id not in ("", request.message.task_id):
        yield Violation(f"{path}.task_id", "must be empty or equal to message.task_id")
    if config.tenant not in ("", request.tenant):
        yield Violation(f"{path}.tenant", "must be empty or equal to tenant")


def _push_target(prefix: str, config: TaskPushNotificationConfig) -> Findings:
    if not config.url:
        yield Violation(f"{prefix}url", "is required")
    if config.HasField("authentication") and not config.authentication.scheme:
        yield Violation(f"{prefix}authentication.scheme", "is required")


def _refuse_if_any(findings: Findings) -> None:
    for _ in _refusing(findings):
        pass


def _refusing(findings: Findings) -> Iterator[None]:
    """Raise InvalidRequestError with all violations. Pause when the search for violations does."""
    found: list[Violation] = []
    for violation in findings:
        if violation is None:
            yield
        else:
            found.append(violation)
    if found:
        raise InvalidRequestError.of(*found)
