"""Printing the metadata, trailers and status details of each call on standard error, with secrets masked."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2  # noqa: F401  its types must be known for the details to be shown

from a2a_grpc.cli.screen import Screen
from a2a_grpc.client.status import details
from a2a_grpc.harmless import one_line
from a2a_grpc.masking import MASK
from a2a_grpc.protocol import STATUS_DETAILS, Key

PLAIN = {Key.VERSION, Key.EXTENSIONS, Key.IDEMPOTENCY, Key.SEQ, Key.AFTER, Key.CANCEL_ON_DISCONNECT, Key.ARTIFACTS,
         Key.LEFT_OUT, "user-agent", "traceparent", "tracestate", "content-type", "grpc-status", "grpc-message",
         "x-request-id"}  # fmt: skip
"""Metadata that is shown as it is. Any other metadata could be a secret."""

SCHEMES = ("basic", "bearer", "digest", "negotiate")
"""Words before credentials that are no secrets."""


class Trace:
    """Two interceptors that print each call. `close` waits until all is printed."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._telling: set[asyncio.Task[None]] = set()
        self.interceptors = (_Unary(self.begin), _Stream(self.begin))

    async def close(self) -> None:
        if self._telling:
            await asyncio.wait(self._telling, timeout=1.0)

    def begin(self, sent: grpc.aio.ClientCallDetails, call: Any) -> None:
        """Print what was sent. Print what is received once it is there."""
        method = sent.method.decode() if isinstance(sent.method, bytes) else sent.method
        self._tell(f"> {method}")
        self._entries(">", sent.metadata or ())
        task = asyncio.create_task(self._received(call), name="a2a-grpc:trace")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _received(self, call: Any) -> None:
        self._entries("<", await call.initial_metadata() or ())
        code = await call.code()
        text = await call.details() or ""
        left = code is grpc.StatusCode.CANCELLED and text.startswith("Locally cancelled")
        self._tell("< left, as there was nothing more to wait for" if left else f"< {code.name} {text}".rstrip())
        trailers = await call.trailing_metadata() or ()
        self._entries("<", (entry for entry in trailers if entry[0] != STATUS_DETAILS))
        if status := details(trailers):
            for detail in status.details:
                self._tell(f"<   {shown(detail)}")

    def _entries(self, mark: str, entries: Iterable[Any]) -> None:
        for key, value in entries:
            self._tell(f"{mark}   {key}: {masked(key, value)}")

    def _tell(self, line: str) -> None:
        self._screen.say(one_line(line), style="dim")


def shown(detail: Any) -> str:
    """Return a status detail as JSON, or its type if it cannot be read here."""
    try:
        return json_format.MessageToJson(detail, indent=None)
    except (TypeError, ValueError, OverflowError, RecursionError, DecodeError, json_format.Error):
        return f"{detail.type_url} ({len(detail.value)} bytes)"


def masked(key: str, value: str | bytes) -> str:
    """Return a value of metadata as it may be shown."""
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if key in PLAIN:
        return value
    scheme, _, _ = value.partition(" ")
    return f"{scheme} {MASK}" if key == "authorization" and scheme.lower() in SCHEMES else MASK


Begin = Callable[[grpc.aio.ClientCallDetails, Any], None]


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = await continuation(client_call_details, request)
        self._begin(client_call_details, call)
        return call


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = await continuation(client_call_details, request)
        self._begin(client_call_details, call)
        return call
