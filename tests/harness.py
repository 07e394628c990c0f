"""What tests are made of: a server on a free port, its stub, requests, a program in a process of its own."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from a2a_grpc import Agent, Server
from a2a_grpc.parts import struct, text_of, value
from a2a_grpc.server.loaded import make_server
from a2a_grpc.wire import (
    ROLE_USER,
    A2AServiceStub,
    GetTaskRequest,
    Message,
    Part,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
)
from tests.forks import ROOT as ROOT
from tests.forks import Forked, Forks, can_fork, is_fork

V1 = (("a2a-version", "1.0"),)
"""Metadata that every call of these tests carries, unless the test is about its absence."""

AT_SENTINEL = "A2A_GRPC_TESTS_AT_SENTINEL"
"""Variable that is set while a test runs through a sentinel."""

T = TypeVar("T")

Process = asyncio.subprocess.Process | Forked
"""A program at work."""


@dataclass(slots=True)
class Served:
    """A running server with a channel to it."""

    server: Server
    channel: grpc.aio.Channel
    stub: A2AServiceStub

    async def send(self, request: SendMessageRequest, *metadata: tuple[str, str]) -> Any:
        return await self.stub.SendMessage(request, metadata=V1 + metadata)

    def stream(self, request: SendMessageRequest, *metadata: tuple[str, str]) -> Any:
        """The call of a streaming send."""
        return self.stub.SendStreamingMessage(request, metadata=V1 + metadata)

    def subscribe(self, task_id: str, *metadata: tuple[str, str], tenant: str = "") -> Any:
        """The call of a subscription."""
        return self.stub.SubscribeToTask(SubscribeToTaskRequest(id=task_id, tenant=tenant), metadata=V1 + metadata)

    async def get(self, task_id: str, *, tenant: str = "") -> Task:
        task: Task = await self.stub.GetTask(GetTaskRequest(id=task_id, tenant=tenant), metadata=V1)
        return task

    async def start(self, *steps: Any, tenant: str = "") -> Task:
        """A scripted task, started and not waited for."""
        response = await self.send(scripted(*steps, immediately=True, tenant=tenant))
        task: Task = response.task
        return task


@asynccontextmanager
async def serving(agent: Agent, **settings: Any) -> AsyncIterator[Served]:
    """The agent on a free port, without HTTP unless asked for; drained with no grace at the end.

    In tests that run through a sentinel as well, what this gives stands behind one (see `any_way`).
    """
    if os.environ.get(AT_SENTINEL):
        from tests.sentinel.everywhere import serving_at_sentinel

        async with serving_at_sentinel(agent, **settings) as served:
            yield served
        return
    settings = {"listen": "127.0.0.1:0", "http_listen": "off", "drain_grace_s": 0.0, **settings}
    async with make_server(agent, settings) as server:
        async with grpc.aio.insecure_channel(
            server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            yield Served(server, channel, A2AServiceStub(channel))


async def stop_listening(server: asyncio.Server) -> None:
    """Closes a server, once the connections are there that it was just accepting: one for which the server is closed
    between its acceptance and its transport is left open by asyncio."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    for _ in range(5):
        await asyncio.sleep(0)
    server.close()


def scripted_agent() -> Agent:
    """A fresh copy of the agent of servers/scripted.py."""
    return load_program("servers/scripted.py").agent  # type: ignore[no-any-return]


def load_program(path: str) -> Any:
    """A module of servers/ or clients/, loaded anew."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if (folder := str((ROOT / path).parent)) not in sys.path:
        sys.path.append(folder)  # as if the program were run
    spec.loader.exec_module(module)
    return module


def message(text: str = "hello", *, task_id: str = "", context_id: str = "", message_id: str = "m-1") -> Message:
    return Message(
        message_id=message_id, role=ROLE_USER, task_id=task_id, context_id=context_id, parts=[Part(text=text)]
    )


def request(
    sent: Message | str = "hello", *, immediately: bool = False, tenant: str = "", **configuration: Any
) -> SendMessageRequest:
    """A send of a message, or of a text."""
    return SendMessageRequest(
        message=message(sent) if isinstance(sent, str) else sent,
        tenant=tenant,
        configuration=SendMessageConfiguration(return_immediately=immediately, **configuration),
    )


def scripted(
    *steps: Any,
    task_id: str = "",
    context_id: str = "",
    immediately: bool = False,
    tenant: str = "",
    metadata: Any = None,
) -> SendMessageRequest:
    """A send of a script for servers/scripted.py."""
    sent = message(task_id=task_id, context_id=context_id)
    del sent.parts[:]
    sent.parts.append(Part(data=value({"script": list(steps)})))
    if metadata:
        sent.metadata.CopyFrom(struct(metadata))
    return request(sent, immediately=immediately, tenant=tenant)


def event_state(event: StreamResponse) -> int:
    """The state that a stream element tells; 0 for an artifact update."""
    if event.WhichOneof("payload") == "task":
        return event.task.status.state
    return event.status_update.status.state


def texts(task: Task) -> list[str]:
    """The text of each artifact."""
    return [text_of(artifact) for artifact in task.artifacts]


@dataclass(slots=True)
class Refusal:
    """What a failed call said."""

    code: grpc.StatusCode
    text: str
    reason: str
    domain: str
    metadata: dict[str, str]
    fields: list[str]
    retry_after_s: float | None


async def refusal(call: Awaitable[Any]) -> Refusal:
    """The status with which a call failed; an AssertionError if it did not. A stream is read to its end."""
    try:
        if hasattr(call, "__aiter__"):
            [element async for element in call]
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return decoded(error)
    raise AssertionError("the call did not fail")


def decoded(error: Any) -> Refusal:
    """Code, text and details of an error, read as any client would."""
    found = Refusal(error.code(), error.details() or "", "", "", {}, [], None)
    for key, raw in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = Status.FromString(raw)
        assert status.code == found.code.value[0]
        assert status.message == found.text
        for detail in status.details:
            info, bad, retry = (
                error_details_pb2.ErrorInfo(),
                error_details_pb2.BadRequest(),
                error_details_pb2.RetryInfo(),
            )
            if detail.Unpack(info):
                found.reason, found.domain, found.metadata = info.reason, info.domain, dict(info.metadata)
            elif detail.Unpack(bad):
                found.fields = [violation.field for violation in bad.field_violations]
            elif detail.Unpack(retry):
                found.retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    return found


async def eventually(check: Callable[[], Any] | Callable[[], Awaitable[Any]], *, within_s: float = 30.0) -> None:
    """Retries an assertion until it holds; after `within_s` seconds the assertion itself is raised."""
    end = time.monotonic() + within_s
    while True:
        try:
            result = check()
            if asyncio.iscoroutine(result):
                await result
            return
        except AssertionError:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(0.01)


class Program:
    """A program of this repository in a process of its own, telling its events as JSON lines.

    `async with Program("servers/scripted.py") as program:` waits until it is ready; leaving the block ends it.
    """

    def __init__(self, *command: str, env: dict[str, str] | None = None) -> None:
        self._command = [sys.executable, *command]
        self._env = {**os.environ, **(env or {})}
        self.events: list[dict[str, Any]] = []
        self.process: Process

    @classmethod
    def server(cls, path: str, *options: str) -> "Program":
        """A server of servers/ on a free port."""
        return cls(path, "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *options)

    @property
    def address(self) -> str:
        return next(str(event["grpc"]) for event in self.events if event["event"] == "ready")

    @property
    def http(self) -> str:
        return next(str(event["http"]) for event in self.events if event["event"] == "ready")

    async def __aenter__(self) -> Self:
        self.process = await started(self._command, self._env)
        await self.until("ready")
        return self

    async def until(self, name: str) -> dict[str, Any]:
        """Reads events until one of this name: that one."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        while line := await self.process.stdout.readline():
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == name:
                return self.events[-1]
        raise AssertionError(f"{self._command} ended: {(await self.process.stderr.read()).decode()}")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.communicate(), 45)
            except TimeoutError:
                self.process.kill()
                await self.process.communicate()


async def started(
    command: Sequence[str],
    env: dict[str, str],
    *,
    stdin: int = 0,
    stderr: int | None = None,
    before: Sequence[str] = (),
) -> Process:
    """Begin a program: a fork of a process that has imported gRPC, or, as tests/forks.py says, a process of its own.

    Its standard output is a pipe, as is its standard error if no descriptor is given for it. `before` stands before the
    command of a process of its own.
    """
    if command[0] == sys.executable and is_fork(command[1:], env) and can_fork(command[1:], env):
        return await Forks.open().run_piped(command[1:], env, stdin=stdin, stderr=stderr)
    return await asyncio.create_subprocess_exec(
        *before, *command, cwd=ROOT, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr or subprocess.PIPE
    )


async def run_program(*command: str, timeout_s: float = 60, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Runs a Python program of this repository to its end: exit code, standard output, standard error."""
    process = await started([sys.executable, *command], {**os.environ, **(env or {})})
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def elements(call: Any, limit: int | None = None) -> Sequence[StreamResponse]:
    """The elements of a stream, all or the first so many."""
    read: list[StreamResponse] = []
    async for element in call:
        read.append(element)
        if limit is not None and len(read) == limit:
            break
    return read
