"""Play what the adapter of ADK keeps with a task, to whom it belongs, and what callers see. Print it as JSON.

test_google_adk.py compares what is printed.
"""

import asyncio
import json
import logging
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from google.adk.apps import App, ResumabilityConfig
from google.adk.runners import InMemoryRunner, Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools import FunctionTool, LongRunningFunctionTool
from google.adk.workflow import START, FunctionNode, RetryConfig, Workflow
from google.genai import types

from a2a_grpc import Client, Message, Part, Server, TaskArtifactUpdateEvent, connect, data_of, text_of
from a2a_grpc.adapters.google_adk import agent_of
from a2a_grpc.lifecycle import state_name
from a2a_grpc.wire import ROLE_USER
from tests.adapters.peers.google_adk_more import FILES, SETTINGS, City, llm, sent, served, statuses
from tests.adapters.peers.google_adk_peer import adk_request_input, calls, says
from tests.auth.callers import Named

ASK = LongRunningFunctionTool(adk_request_input)
PICTURE = bytes(range(256)) * 8
"""A file that is large enough to be left out of what is kept."""


async def pay(amount: int) -> str:
    """Pay."""
    return "paid"


async def files() -> str:
    """A file of the user and a file of a replaced artifact are whole after two questions."""

    def answer(request: Any, said: str, results: list[Any]) -> Any:
        sizes = [len(part.inline_data.data) for each in request.contents for part in each.parts if part.inline_data]
        if len(results) == 2:
            return str(sizes)
        drawn = [types.Part.from_bytes(data=PICTURE[::-1], mime_type="image/png")] if not results else []
        return says(types.Part(text="see"), *drawn, calls("adk_request_input", message="Which?"))

    async with served(llm(answer, tools=[ASK]), input_modes=FILES) as client:
        task = await sent(client, [Part(text="draw"), Part(raw=PICTURE, media_type="image/png")])
        for answered in ({"result": "a"}, {"result": "b"}):
            task = await sent(client, [Part(text=""), answered], task_id=task.id)
    return text_of(task)


async def callers() -> list[Any]:
    """Callers do not share sessions, except for members of a group, who answer each other's questions."""

    def answer(request: Any, said: str, results: list[Any]) -> Any:
        return str(len(request.contents)) if said != "ask" or results else says(calls("pay", amount=1))

    tool = FunctionTool(pay, require_confirmation=True)

    @asynccontextmanager
    async def site(runner: Runner, *callers: str, **options: Any) -> AsyncIterator[list[Client]]:
        agent = agent_of(runner, "Bot", "Answers.", **options)
        async with Server(agent, SETTINGS, auth=[Named()]) as server:
            headers = [[("authorization", caller)] for caller in callers]
            async with AsyncExitStack() as stack:
                yield [await stack.enter_async_context(connect(server.grpc_address, headers=each)) for each in headers]

    found: list[Any] = []
    async with site(InMemoryRunner(agent=llm(answer), app_name="bot"), "jwt 1", "other 1", "key anonymous") as clients:
        found.append([text_of(await sent(client, "x", context_id="c")) for client in clients])
    runner = InMemoryRunner(agent=llm(answer), app_name="bot")
    async with site(runner, "jwt 1", "other 1", user_id=lambda turn: turn.principal.subject) as clients:
        found.append([text_of(await sent(client, "x", context_id="c")) for client in clients])
    runner = InMemoryRunner(agent=llm(answer, tools=[tool]), app_name="bot")
    async with site(runner, "jwt alice group=g", "jwt bob group=g") as (alice, bob):
        asked = await sent(alice, "ask")
        found.append(state_name((await sent(bob, "yes", task_id=asked.id)).status.state))
    return found


async def messages() -> list[str]:
    """A client may use the id of a message again, in another task of the conversation or as the answer of one."""

    def message(text: str, context_id: str = "", task_id: str = "") -> Message:
        return Message(role=ROLE_USER, message_id="1", context_id=context_id, task_id=task_id, parts=[Part(text=text)])

    def answer(request: Any, said: str, results: list[Any]) -> Any:
        return f"{said} {results}" if said != "ask" or results else says(calls("adk_request_input", message="Which?"))

    found = []
    for can_resume in (True, False):
        config = ResumabilityConfig(is_resumable=can_resume)
        app = App(name="bot", root_agent=llm(answer, tools=[ASK]), resumability_config=config)
        runner = Runner(app=app, session_service=InMemorySessionService())
        async with served(runner, resumable=True) as client:
            one = await sent(client, message("one", context_id="c"))
            two = await sent(client, message("two", context_id="c"))
            asked = await sent(client, message("ask"))
            done = await sent(client, message("this", task_id=asked.id))
        found += [text_of(task) for task in (one, two, done)]
    return found


async def errors() -> list[list[str]]:
    """A workflow whose node succeeds at the second try is COMPLETED. Callers do not see the text of an exception."""
    tries = 0

    def node(node_input: str) -> dict[str, int]:
        nonlocal tries
        tries += 1
        if tries < 2 or node_input == "fail":
            raise ValueError("a secret")
        return {"tries": tries}

    retry = RetryConfig(max_attempts=2, initial_delay=0.01)
    flow = Workflow(name="flow", edges=[(START, FunctionNode(func=node, name="node", retry_config=retry))])
    async with served(flow) as client:
        tasks = [await sent(client, text) for text in ("go", "fail")]
    return [[state_name(task.status.state), text_of(task.status.message), json.dumps(data_of(task))] for task in tasks]


async def results() -> list[str]:
    """A tool may return bytes. A result with an object cannot be kept: the agent goes on, but a question fails."""

    async def raw() -> bytes:
        """Return bytes."""
        return b"\xff"

    async def thing() -> dict[str, Any]:
        """Return an object."""
        return {"thing": object()}

    def answer(request: Any, said: str, results: list[Any]) -> Any:
        if not results:
            return says(calls(said))
        return "done" if said == "raw" else says(calls("adk_request_input", message="Which?"))

    async with served(llm(answer, tools=[raw, thing, ASK])) as client:
        tasks = [await sent(client, tool) for tool in ("raw", "thing")]
    return [text_of(task) or text_of(task.status.message) for task in tasks]


async def schemas() -> list[str]:
    """The data of an agent in a workflow are not streamed as text."""
    pieces = [says(types.Part(text=text), partial=True) for text in ('{"name": ', '"Rome"}')]
    city = llm(lambda *_: [*pieces, says(types.Part(text='{"name": "Rome"}'))], "inner", output_schema=City)
    agent = agent_of(Workflow(name="flow", edges=[(START, city)]), "Bot", "Answers.", output_modes=["*/*"])
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        async with client.stream("go") as events:
            return [
                text_of(event.artifact) or json.dumps(data_of(event.artifact))
                async for event in events
                if isinstance(event, TaskArtifactUpdateEvent)
            ]


async def approvals() -> list[list[str]]:
    """The caller sees that a tool is called after the user has allowed it. A refused call is shown as denied."""
    tool = FunctionTool(pay, require_confirmation=True)
    agent = llm(lambda _, said, results: "done" if results else says(calls("pay", amount=1)), tools=[tool])
    found = []
    async with served(agent) as client:
        for answer in ("yes", "no"):
            asked = await sent(client, "go")
            found.append(statuses(await sent(client, answer, task_id=asked.id)))
    return found


async def main() -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    found = {}
    for play in (files, callers, messages, errors, results, schemas, approvals):
        found[play.__name__] = await play()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
