"""The spans of a client's calls: one for each call with all its tries, and one for each stream with all its calls."""

import asyncio
from typing import TYPE_CHECKING, Any

from a2a_grpc.client.connection import Connection
from a2a_grpc.client.progress import Progress
from a2a_grpc.errors import A2AError
from a2a_grpc.telemetry import current, names
from a2a_grpc.telemetry.opened import made_calls
from a2a_grpc.wire import SERVICE_NAME, SendMessageRequest, SubscribeToTaskRequest

if TYPE_CHECKING:
    from a2a_grpc.client.headers import Metadata
    from a2a_grpc.telemetry.call import CallSpan
    from a2a_grpc.telemetry.calls import MadeCalls


class Spans:
    """Begins the spans of one client."""

    def __init__(self, connection: Connection, made: "MadeCalls", own: frozenset[str]) -> None:
        self._connection = connection
        self._made = made
        self._own = own

    def begin(self, method: str, request: Any) -> "CallSpan":
        """Begin the span of a call."""
        call = self._made.begin(f"{SERVICE_NAME}/{method}", self._place())
        call.asked(request)
        return call

    def told(self, metadata: "Metadata", call: "CallSpan") -> "Metadata":
        """Return metadata that tell the server of a span. Entries of the caller and the client stay as they are."""
        given = self._own.union(key.lower() for key, _ in metadata)
        return [*metadata, *(entry for entry in call.headers.items() if not given & {entry[0], names.TRACEPARENT})]

    def _place(self) -> dict[str, str | int]:
        """Return the attributes of the agent that is called, as far as they are known."""
        link = self._connection.link
        if link is None:
            return {}
        found: dict[str, str | int] = {names.SERVER_ADDRESS: link.address.host or link.address.dial}
        if link.address.port:
            found[names.SERVER_PORT] = link.address.port
        if link.card is not None:
            found |= {names.AGENT_NAME: link.card.name, names.AGENT_VERSION: link.card.version}
        return found


def open_spans(connection: Connection, own: frozenset[str]) -> Spans | None:
    """Return what begins the spans of a client; None if the program wants neither traces nor metrics."""
    made = made_calls()
    return None if made is None else Spans(connection, made, own)


class UnarySpan:
    """The span of a unary call, as a context manager. A call for a stream belongs to the span of the stream.

    Args:
        spans: Begins the span.
        method: The name of the method.
        request: The request.
        metadata: The metadata of the caller.

    Attributes:
        metadata: The metadata to send.
    """

    __slots__ = ("_call", "metadata")

    def __init__(self, spans: Spans, method: str, request: Any, metadata: "Metadata") -> None:
        outer = current.within.get()
        self._call = spans.begin(method, request) if outer is None else None
        self.metadata = spans.told(metadata, self._call or outer)  # type: ignore[arg-type]

    def __enter__(self) -> "UnarySpan":
        return self

    def answered(self, response: Any) -> None:
        """Note the response."""
        if self._call is not None:
            self._call.answered(response)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._call is not None:
            self._call.end(*code_of(error))


class StreamSpan:
    """The span of a stream, from its first read until it ends or is closed.

    It is a context manager for the time of a read: meanwhile all calls belong to it. An error of the read ends it.
    """

    __slots__ = ("_call", "_outer", "_progress", "_send", "_spans")

    def __init__(self, spans: Spans | None, send: SendMessageRequest | None, progress: Progress) -> None:
        self._spans = spans
        self._send = send
        self._progress = progress
        self._call: CallSpan | None = None
        self._outer: CallSpan | None = None

    def __enter__(self) -> "StreamSpan":
        if self._spans is not None:
            if self._call is None:
                method = "SubscribeToTask" if self._send is None else "SendStreamingMessage"
                asked = SubscribeToTaskRequest(id=self._progress.followed.id) if self._send is None else self._send
                self._call = self._spans.begin(method, asked)
            self._outer = current.within.get()
            current.within.set(self._call)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._call is not None:
            current.within.set(self._outer)  # and no token: a read that is never finished is closed in another context
            if isinstance(error, Exception):
                self._end(error)

    def told(self, metadata: "Metadata") -> "Metadata":
        """Return metadata that tell the server of the span."""
        return metadata if self._spans is None or self._call is None else self._spans.told(metadata, self._call)

    def end(self, *, is_whole: bool) -> None:
        """End the span of a stream that has ended, or was closed. If more events may have come, it is not whole."""
        self._end(None if is_whole else asyncio.CancelledError())

    def _end(self, error: BaseException | None) -> None:
        if self._call is None:
            return
        followed = self._progress.followed
        self._call.task_id, self._call.state = followed.id, followed.state
        if followed.task is not None:
            self._call.context_id = followed.task.context_id
        self._call.end(*code_of(error))


def code_of(error: BaseException | None) -> tuple[str, str]:
    """Return the name of the status code of a call that has ended, and the kind of error if there is no code."""
    match error:
        case None:
            return "OK", ""
        case A2AError():
            return error.code.name, ""
        case asyncio.CancelledError():
            return "CANCELLED", ""
        case _:
            return "", type(error).__qualname__
