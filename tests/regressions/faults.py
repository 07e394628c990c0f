"""Faults from outside: a reader that does not read, a bare HTTP/2 connection; and how a server is seen to take them."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc.aio
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc import TaskState
from a2a_grpc.wire import (
    A2AServiceStub,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
)
from tests.harness import Served, eventually, request

UNBUFFERED = ("grpc.http2.bdp_probe", 0)
"""A client with this option lets about 90 KiB through while it does not read, not megabytes."""


def every_rpc(task_id: str = "t-1", tenant: str = "") -> dict[str, ProtobufMessage]:
    """A valid request for each of the eleven RPCs."""
    return {
        "SendMessage": request(tenant=tenant),
        "SendStreamingMessage": request(tenant=tenant),
        "GetTask": GetTaskRequest(id=task_id, tenant=tenant),
        "ListTasks": ListTasksRequest(tenant=tenant),
        "CancelTask": CancelTaskRequest(id=task_id, tenant=tenant),
        "SubscribeToTask": SubscribeToTaskRequest(id=task_id, tenant=tenant),
        "CreateTaskPushNotificationConfig": TaskPushNotificationConfig(
            task_id=task_id, tenant=tenant, url="https://hooks.example/"
        ),
        "GetTaskPushNotificationConfig": GetTaskPushNotificationConfigRequest(task_id=task_id, id="c", tenant=tenant),
        "ListTaskPushNotificationConfigs": ListTaskPushNotificationConfigsRequest(task_id=task_id, tenant=tenant),
        "DeleteTaskPushNotificationConfig": DeleteTaskPushNotificationConfigRequest(
            task_id=task_id, id="c", tenant=tenant
        ),
        "GetExtendedAgentCard": GetExtendedAgentCardRequest(tenant=tenant),
    }


@asynccontextmanager
async def connection(address: str, *options: tuple[str, int]) -> AsyncIterator[A2AServiceStub]:
    """A stub on a connection of its own."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), *options]) as channel:
        yield A2AServiceStub(channel)


def open_streams(served: Served) -> int:
    """Streams that the server is serving."""
    return served.server._running.calls.streams


def followers(served: Served) -> int:
    """Tasks of the server that somebody follows."""
    return served.server.stats().followed


async def reaches(served: Served, task_id: str, state: TaskState) -> None:
    """Returns once a task is in a state."""

    async def check() -> None:
        assert (await served.get(task_id)).status.state == state

    await eventually(check, within_s=30)


async def blocked(served: Served, task_id: str) -> None:
    """Asserts that a stream of a task that has ended is still being served: its reader does not read."""
    for _ in range(20):
        await served.get(task_id)
    assert open_streams(served) == 1


class Frame(NamedTuple):
    """A frame of HTTP/2."""

    kind: int
    flags: int
    stream: int
    payload: bytes


SETTINGS, PING, GOAWAY = 4, 6, 7
ACK = 1


class Http2:
    """A connection that speaks frames: what a gRPC library would not do can be done with it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str) -> AsyncIterator["Http2"]:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            here = cls(reader, writer)
            here.write(SETTINGS, 0, b"")
            yield here
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def write(self, kind: int, flags: int, payload: bytes) -> None:
        self._writer.write(struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + bytes(4) + payload)

    async def read(self) -> Frame:
        """The next frame. Raises IncompleteReadError at the end of the connection."""
        head = await self._reader.readexactly(9)
        length = int.from_bytes(head[:3])
        return Frame(head[3], head[4], int.from_bytes(head[5:]), await self._reader.readexactly(length))

    async def until(self, kind: int, flags: int | None = None) -> Frame:
        """The next frame of a kind. A GOAWAY is an AssertionError unless it is asked for."""
        while (frame := await self.read()).kind != kind or flags not in (None, frame.flags):
            assert frame.kind != GOAWAY, frame.payload
        return frame

    async def answer(self) -> Frame:
        """The answer to a PING: its acknowledgement, or a GOAWAY."""
        while (frame := await self.read()).kind != GOAWAY and (frame.kind, frame.flags) != (PING, ACK):
            pass
        return frame

    async def settings(self) -> dict[int, int]:
        """What the peer's SETTINGS say, by identifier."""
        payload = (await self.until(SETTINGS, 0)).payload
        return dict(struct.iter_unpack(">HI", payload))


def details_of(error: Any) -> bytes:
    """Everything that a failed call carried, as bytes."""
    return repr((error.code(), error.details(), error.trailing_metadata(), error.debug_error_string())).encode()
