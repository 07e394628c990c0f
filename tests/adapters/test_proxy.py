"""An agent of JSON-RPC or REST, on the official SDK's server, is served over gRPC: `serve --proxy`."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore
from starlette.applications import Starlette

from a2a_grpc import Client, Server, ServerSettings, Task, TaskArtifactUpdateEvent, connect, text_of
from a2a_grpc.adapters.proxy import proxied
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import AgentInterface, TaskState
from tests.adapters.test_executor import Scripted, card
from tests.harness import eventually, run_program


@asynccontextmanager
async def sdk_server(binding: str) -> AsyncIterator[tuple[str, Scripted]]:
    """A server of the SDK over HTTP. Gives its URL and its executor."""
    executor = Scripted()
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    own = card()
    path = "/rpc" if binding == "JSONRPC" else ""
    own.supported_interfaces.append(
        AgentInterface(url=f"{url}{path}", protocol_binding=binding, protocol_version="1.0")
    )
    handler = DefaultRequestHandler(agent_executor=executor, task_store=InMemoryTaskStore(), agent_card=own)
    routes = create_jsonrpc_routes(handler, path) if binding == "JSONRPC" else create_rest_routes(handler)
    app = Starlette(routes=[*create_agent_card_routes(own), *routes])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield url, executor
    finally:
        server.should_exit = True
        await serving
        listening.close()


@asynccontextmanager
async def through(url: str) -> AsyncIterator[Client]:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(await proxied(url), settings) as server, connect(server.grpc_address) as client:
        yield client


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_a_conversation_goes_through(binding: str) -> None:
    async with sdk_server(binding) as (url, executor), through(url) as client:
        async with client.stream("go") as events:
            chunks = [text_of(each.artifact) async for each in events if isinstance(each, TaskArtifactUpdateEvent)]
            assert events.task is not None
        assert chunks == ["a", "b", "c"]
        assert events.task.status.state == TaskState.TASK_STATE_COMPLETED

        asked = await client.send("ask")
        assert isinstance(asked, Task)
        assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        assert text_of(asked.status.message) == "Which city?"
        done = await client.send("Rome", task_id=asked.id)
        assert isinstance(done, Task)
        assert done.status.state == TaskState.TASK_STATE_COMPLETED
        first, second = executor.seen[-2:]
        assert second.task_id == first.task_id != asked.id  # the other agent's task goes on


async def test_a_cancel_reaches_the_other_agent() -> None:
    async with sdk_server("JSONRPC") as (url, executor), through(url) as client:
        task = await client.start("wait")
        assert isinstance(task, Task)

        async def works() -> None:
            assert executor.seen

        await eventually(works)
        assert (await client.cancel(task.id)).status.state == TaskState.TASK_STATE_CANCELED
        assert executor.canceled == [executor.seen[-1].task_id]


async def test_the_card_of_the_proxy_is_its_own() -> None:
    async with sdk_server("JSONRPC") as (url, _):
        agent = await proxied(url)
        assert (agent.name, list(agent.skills)) == ("Executor", ["play", "other"])
        assert not agent.card.supported_interfaces
        assert (await proxied(f"{url}/.well-known/agent-card.json")).name == "Executor"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("agent.example", "it must be an http:// or https:// URL"),
        ("http://127.0.0.1:9", "cannot be proxied"),
        ("http://user:secret@127.0.0.1:9/x.json", "cannot be proxied"),
    ],
)
async def test_a_card_that_cannot_be_had_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        await proxied(url)
    assert "secret" not in str(refused.value)
    code, out, err = await run_program("-m", "a2a_grpc", "serve", "--proxy", url)
    assert (code, out) == (2, "")
    assert said in err


async def test_an_agent_without_a_known_binding_is_refused() -> None:
    async with sdk_server("X-OTHER") as (url, _):
        with pytest.raises(ConfigurationError, match="no compatible transports"):
            await proxied(url)


async def test_an_answer_that_ends_while_the_task_is_at_work_is_a_failure() -> None:
    async with sdk_server("JSONRPC") as (url, _), through(url) as client:
        task = await client.send("half")
    assert isinstance(task, Task)
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert "before its task was over" in text_of(task.status.message)


async def test_a_proxy_is_checked_as_it_is_served() -> None:
    options = ("--listen=127.0.0.1:0", "--http-listen=off", "--store=memory:", "--check")
    async with sdk_server("JSONRPC") as (url, _):
        code, out, err = await run_program("-m", "a2a_grpc", "serve", "--proxy", url, *options)
    assert code == 0, err
    assert "'Executor'" in out
