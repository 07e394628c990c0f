"""What else the adapter of ADK does, as one JSON object that tests/adapters/test_google_adk.py reads."""

import asyncio
import json
import logging
import secrets
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi.openapi.models import APIKey, APIKeyIn
from google.adk.agents import LlmAgent, SequentialAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.apps import App
from google.adk.auth import AuthConfig
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools import FunctionTool, LongRunningFunctionTool, ToolContext
from google.genai import types
from pydantic import BaseModel

from a2a_grpc import Agent, Client, Part, Server, ServerSettings, Task, Turn, connect, data_of, text_of
from a2a_grpc.adapters.google_adk import agent_of, as_tool
from a2a_grpc.agent import InputRequired
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import files_of
from a2a_grpc.wire import ROLE_AGENT
from tests.adapters.peers.google_adk_peer import adk_request_input, calls, read, says

SETTINGS = ServerSettings(listen="127.0.0.1:0", http_listen="off")
FILES = ["text/plain", "application/json", "image/png"]
LIBRARY = Agent("Library", "Finds books.")
KEY = AuthConfig(auth_scheme=APIKey(**{"in": APIKeyIn.header, "name": "key"}))


@LIBRARY.skill()
async def find(turn: Turn) -> str:
    """Find a book."""
    await turn.status("searching")
    await turn.artifact({"progress": 0.5}, id="progress")
    if turn.text == "which":
        raise InputRequired("Which shelf?")
    return f"{turn.text} in {turn.context_id}"


class City(BaseModel):
    name: str


class Model(BaseLlm):  # type: ignore[misc]  # ADK is not checked
    """Answers with what a function makes of the request, the text and the results of tools."""

    answer: Callable[[Any, str, list[Any]], Any]

    async def generate_content_async(self, llm_request: Any, stream: bool = False) -> AsyncIterator[LlmResponse]:
        said, results = read(llm_request)
        answer = self.answer(llm_request, said, results)
        for each in answer if isinstance(answer, list) else [answer]:
            yield says(types.Part(text=each)) if isinstance(each, str) else each


def llm(answer: Callable[[Any, str, list[Any]], Any], name: str = "bot", **options: Any) -> LlmAgent:
    return LlmAgent(name=name, model=Model(model="none", answer=answer), **options)


@asynccontextmanager
async def served(thing: Any, **options: Any) -> AsyncIterator[Client]:
    agent = agent_of(thing, "Bot", "Answers.", output_modes=["*/*"], **options)
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        yield client


async def sent(client: Client, content: Any, **options: Any) -> Task:
    task = await client.send(content, **options)
    assert isinstance(task, Task)
    return task


def statuses(task: Task) -> list[str]:
    return [text_of(message) for message in task.history if message.role == ROLE_AGENT]


async def pay(amount: int, tool_context: ToolContext) -> dict[str, Any]:
    """Pay."""
    report = await tool_context.load_artifact("report.txt")
    return {"paid": amount, "report": report.text if report else None, "by": tool_context.state.get("by")}


async def save(tool_context: ToolContext) -> str:
    """Save a report."""
    tool_context.state["by"] = "bot"
    await tool_context.save_artifact("report.txt", types.Part(text="all paid"))
    return "saved"


async def approvals() -> list[Any]:
    """A file and the state of the session are there after a question; two calls wait together; one gets a no."""

    def answer(request: Any, said: str, results: list[Any]) -> Any:
        if not results:
            return says(calls("save"))
        if len(results) == 1:
            return says(types.Part(text="I pay."), calls("pay", amount=1), calls("pay", amount=2))
        return json.dumps(results[1:])

    tool = FunctionTool(pay, require_confirmation=True)
    async with served(llm(answer, tools=[save, tool])) as client:
        asked = await sent(client, "pay both")
        again = await sent(client, "what?", task_id=asked.id)
        waiting = data_of(again.status.message)["calls"]  # type: ignore[index,call-overload]
        ids = {call["id"]: call["arguments"]["amount"] == 1 for call in waiting}  # type: ignore[index,call-overload,union-attr]
        done = await sent(client, [Part(text=""), ids], task_id=asked.id)
    [report] = [artifact for artifact in done.artifacts if artifact.name == "report.txt"]
    [said] = [artifact for artifact in done.artifacts if artifact.name == "bot"]
    return [text_of(asked.status.message), json.loads(text_of(said)), text_of(report)]


async def credentials() -> list[str]:
    """A tool that needs a credential waits in AUTH_REQUIRED, and gets what the user answers."""

    async def calendar(tool_context: ToolContext) -> str:
        """Read the calendar."""
        credential = tool_context.get_auth_response(KEY)
        if credential is None:
            tool_context.request_credential(KEY)
            return "waits"
        return f"read with {credential.api_key}"

    agent = llm(
        lambda _, said, results: results[-1]["result"] if results else says(calls("calendar")), tools=[calendar]
    )
    async with served(agent) as client:
        asked = await sent(client, "what is on?")
        done = await sent(client, "k1", task_id=asked.id)
    return [state_name(asked.status.state), text_of(asked.status.message), text_of(done)]


async def long_running() -> list[str]:
    """What the user says is the result of a tool that takes long."""

    def ticket(about: str) -> dict[str, str]:
        """Open a ticket."""
        return {"status": "pending"}

    agent = llm(
        lambda _, said, results: f"It is {results[-1]}." if results else says(calls("ticket", about="x")),
        tools=[LongRunningFunctionTool(ticket)],
    )
    async with served(agent) as client:
        asked = await sent(client, "a ticket")
        done = await sent(client, [Part(text=""), {"status": "closed"}], task_id=asked.id)
    return [text_of(asked), text_of(asked.status.message), text_of(done)]


async def content() -> list[Any]:
    """Files in and out, thoughts, structured output, two agents, and the texts of earlier tasks."""

    def draws(request: Any, said: str, results: list[Any]) -> Any:
        given = [part.inline_data.mime_type for part in request.contents[-1].parts if part.inline_data]
        image = types.Part.from_bytes(data=b"png", mime_type="image/png")
        return [says(types.Part(text="hm", thought=True), types.Part(text=str(given)), image)]

    async with served(llm(draws), input_modes=FILES) as client:
        drawn = await sent(client, [Part(text="draw"), Part(raw=b"a", media_type="image/png")])
    async with served(llm(lambda *_: '{"name": "Rome"}', output_schema=City)) as client:
        city = await sent(client, "where?")
    agents = SequentialAgent(name="both", sub_agents=[llm(lambda *_: "one", "a"), llm(lambda *_: "two", "b")])
    async with served(agents) as client:
        both = await sent(client, "go")
    async with served(llm(lambda request, *_: "|".join(c.parts[0].text for c in request.contents))) as client:
        first = await sent(client, "x", context_id=" with spaces ")
        second = await sent(client, "y", context_id=first.context_id)
    [image] = files_of(drawn)
    return [
        *(text_of(drawn), image.media_type, statuses(drawn), data_of(city)),
        *([[artifact.name, text_of(artifact)] for artifact in both.artifacts], text_of(second)),
    ]


async def runners() -> list[Any]:
    """The tasks of a conversation share the session of a runner, one after the other."""

    def answer(request: Any, said: str, results: list[Any]) -> Any:
        return str(len(request.contents))

    runner = InMemoryRunner(agent=llm(answer), app_name="bot")
    async with served(runner, user_id=lambda turn: f"user of {turn.skill}") as client:
        first = await sent(client, "x")
        more = await asyncio.gather(*(sent(client, "y", context_id=first.context_id) for _ in range(3)))
        other = await sent(client, "x")
    session = await runner.session_service.get_session(
        app_name="bot", user_id="user of run", session_id=first.context_id
    )
    return [text_of(first), sorted(map(text_of, more)), text_of(other), len(session.events)]


async def failures() -> list[Any]:
    """Errors of the model have fit texts, other exceptions a general one. What is no agent is refused."""
    found: list[Any] = []
    blocked = llm(lambda *_: LlmResponse(error_code="SAFETY", error_message="blocked"))
    limited = RunConfig(streaming_mode=StreamingMode.SSE, max_llm_calls=1)

    async def fails() -> str:
        """Fail."""
        raise RuntimeError("a secret")

    loops = llm(lambda *_: says(calls("save")), tools=[save])
    breaks = llm(lambda *_: says(calls("fails")), tools=[fails])
    for thing, options in ((blocked, {}), (loops, {"run_config": limited}), (App(name="app", root_agent=breaks), {})):
        async with served(thing, **options) as client:
            task = await sent(client, "go")
            found.append([state_name(task.status.state), text_of(task.status.message)])
    large = secrets.token_hex(1_500_000)  # it is kept compressed, and hexadecimal digits are twice their bytes

    def echoes(request: Any, said: str, results: list[Any]) -> Any:
        return says(calls("adk_request_input", message="Which?")) if said.startswith("ask") else "done"

    async with served(llm(echoes, tools=[LongRunningFunctionTool(adk_request_input)])) as client:
        found.append(text_of(await sent(client, large)))
        found.append(text_of(await sent(client, f"ask {large}")))
    try:
        agent_of(object(), "Bot", "Answers.")
    except TypeError as error:
        found.append(str(error).partition("is not")[2])
    return found


async def tools() -> list[Any]:
    """A remote agent as a tool: its answer, its progress, its question, and one conversation for each session."""

    def answer(request: Any, said: str, results: list[Any]) -> Any:
        return json.dumps(results) if results else says(calls("library", message=said))

    async with Server(LIBRARY, SETTINGS) as server:
        tool = as_tool(server.grpc_address, name="library", description="Finds books.")
        async with served(llm(answer, tools=[tool])) as client:
            first = await sent(client, "Emma")
            same = await sent(client, "Emma", context_id=first.context_id)
            asked = await sent(client, "which")
    async with served(llm(answer, tools=[tool])) as client:
        lost = await sent(client, "Emma")
    [found], [question], [error] = (json.loads(text_of(task)) for task in (first, asked, lost))
    return [
        *(found["result"].startswith("Emma in "), text_of(first) == text_of(same), statuses(first)),
        *(question["result"].splitlines()[0], error["error"]),
    ]


async def main() -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    found = {}
    for play in (approvals, credentials, long_running, content, runners, failures, tools):
        found[play.__name__] = await play()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
