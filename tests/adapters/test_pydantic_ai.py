"""Agents of Pydantic AI: the conversation of all frameworks, then what is special to this one."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent as Assistant
from pydantic_ai import (
    AgentRunResultEvent,
    BinaryContent,
    DeferredToolRequests,
    DocumentUrl,
    FilePart,
    ModelAPIError,
    ModelMessage,
    ModelRequest,
    ModelResponsePart,
    NativeOutput,
    RunContext,
    TextPart,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
    UsageLimits,
    UserPromptPart,
)
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from a2a_grpc import (
    Agent,
    Client,
    Message,
    Part,
    Server,
    ServerSettings,
    TaskArtifactUpdateEvent,
    TaskState,
    Turn,
    connect,
    data_of,
    text_of,
)
from a2a_grpc.adapters.pydantic_ai import agent_of, as_tool, ask_user
from a2a_grpc.agent import InputRequired
from a2a_grpc.parts import files_of
from a2a_grpc.wire import ROLE_USER, Task
from tests.adapters.conversation import Peer, play
from tests.interop.environments import framework

INPUT_REQUIRED, COMPLETED = TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_COMPLETED
Script = Callable[[list[Any]], list[str | tuple[str, str]]]
"""Returns what the model says for the parts of its input: texts, and calls of tools with their arguments."""


@pytest.mark.long
@pytest.mark.timeout(400)  # the first use of the environment installs it
async def test_an_agent_streams_asks_stops_and_goes_on_after_a_crash_with_the_lowest_version(tmp_path: Path) -> None:
    peer = Peer("pydantic_peer.py", framework("pydantic-ai"), keeps_steps=True)
    assert await play(peer, tmp_path) == "Both are done."


def model_of(script: Script) -> FunctionModel:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        parts = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
        for place, said in enumerate(script(parts)):
            if isinstance(said, str):
                yield said
            else:
                yield {place: DeltaToolCall(name=said[0], json_args=said[1], tool_call_id=f"{said[0]}-{len(parts)}")}

    return FunctionModel(stream_function=stream)


async def sent(client: Client, content: Any, **options: Any) -> Task:
    task = await client.send(content, **options)
    assert isinstance(task, Task)
    return task


def serving(agent: Agent) -> Server:
    return Server(agent, ServerSettings(listen="127.0.0.1:0", http_listen="off"))


async def test_a_tool_runs_once_its_user_allows_it_and_the_model_knows_files_limits_and_earlier_tasks() -> None:
    deleted: list[str] = []
    seen: list[list[Any]] = []

    def script(parts: list[Any]) -> list[str | tuple[str, str]]:
        seen.append([part.content for part in parts if isinstance(part, UserPromptPart)])
        results = [part for part in parts if isinstance(part, ToolReturnPart)]
        if not results:
            return ["I delete it.", ("delete", '{"path": "a.txt"}')]
        if results[-1].outcome == "denied":
            return [f"Kept: {results[-1].content}"]
        return ["It is gone."] if len(results) == 1 else [("delete", "{}")]

    assistant = Assistant(model_of(script), output_type=[str, DeferredToolRequests], deps_type=Turn)

    @assistant.tool(requires_approval=True)
    async def delete(run: RunContext[Turn], path: str) -> str:
        deleted.append(f"{path} for {run.deps.context_id}")
        return "gone"

    agent = agent_of(
        assistant, "Files", "Deletes.", deps=lambda turn: turn, usage_limits=UsageLimits(request_limit=2),
        input_modes=["*/*"],
    )  # fmt: skip
    picture = Part(raw=bytes(2000), media_type="image/png", filename="a.png")
    page = Part(url="https://files.example/a.pdf", media_type="application/pdf")
    async with serving(agent) as server, connect(server.grpc_address) as client:
        task = await sent(client, ["Delete it.", picture, page, {"why": 1}], context_id="c")
        assert task.status.state == INPUT_REQUIRED
        question = 'May the agent call the tool \'delete\' with {"path": "a.txt"}?\nAnswer yes or no.'
        assert text_of(task.status.message) == question
        again = await sent(client, "perhaps", task_id=task.id)
        assert (text_of(again.status.message), deleted) == (question, [])
        done = await sent(client, "yes", task_id=task.id)
        assert (done.status.state, text_of(done), deleted) == (COMPLETED, "It is gone.", ["a.txt for c"])
        said, binary, url, data = seen[-1][0]
        assert (said, data) == ("Delete it.", '{"why": 1}')
        assert (binary.data, binary.media_type, binary.identifier) == (picture.raw, "image/png", "a.png")
        assert url == DocumentUrl(page.url, media_type="application/pdf")

        asked = await sent(client, "Another.", context_id="c")
        assert seen[-1] == ["Delete it.", "perhaps", "yes", "Another."]
        denied = await sent(client, "no, keep it", task_id=asked.id)
        assert (denied.status.state, text_of(denied), len(deleted)) == (COMPLETED, "Kept: no, keep it", 1)
    limited = agent_of(assistant, "Files", "Deletes.", usage_limits=UsageLimits(request_limit=0))
    async with serving(limited) as server, connect(server.grpc_address) as client:
        failed = await sent(client, "Delete it.")
        assert text_of(failed) == "The agent has used as much of its language model as it may for one task."


class Box(BaseModel):
    width: int


async def test_structured_output_is_data_and_a_remote_agent_is_a_tool_that_tells_of_its_progress() -> None:
    contexts: list[str] = []
    remote = Agent("Paris", "Knows Paris.")

    @remote.skill()
    async def answer(turn: Turn) -> str:
        contexts.append(turn.context_id)
        await turn.status("looking")
        return f"{turn.text} is 3"

    def script(parts: list[Any]) -> list[str | tuple[str, str]]:
        results = [part.content for part in parts if isinstance(part, ToolReturnPart) and part.tool_name == "paris"]
        if not results:
            return ["I ask.", ("paris", '{"message": "width"}')]
        assert results == ["width is 3"]
        return [("final_result", '{"width": 3}')]

    async with serving(remote) as first:
        tool = as_tool(first.grpc_address, name="paris", description="Knows Paris.")
        assistant = Assistant(model_of(script), output_type=Box, tools=[tool])
        async with serving(agent_of(assistant, "Boxes", "Measures.")) as second, connect(second.grpc_address) as client:
            task = await sent(client, "How wide?")
            await sent(client, "How wide?", context_id=task.context_id)
        async with assistant.run_stream_events("How wide?") as events:  # outside of a turn
            assert [event.result.output async for event in events if isinstance(event, AgentRunResultEvent)] == [
                Box(width=3)
            ]
    assert (data_of(task), text_of(task)) == ({"width": 3}, "")
    assert [text_of(message) for message in task.history][1:] == [
        "The agent calls the tool 'paris'.", "paris: looking", "The tool 'paris' is done.",
    ]  # fmt: skip
    assert len(contexts) == 3
    assert contexts[0] == contexts[1] != contexts[2]


async def test_a_result_of_a_tool_that_is_no_json_cannot_wait_for_the_user_but_bytes_can() -> None:
    def script(parts: list[Any]) -> list[str | tuple[str, str]]:
        results = [part for part in parts if isinstance(part, ToolReturnPart)]
        if not results:
            return [("look", json.dumps({"at": parts[-1].content}))]
        return [("ask_user", '{"question": "Go on?"}')] if len(results) == 1 else [str(results[0].content)]

    assistant = Assistant(model_of(script), output_type=[str, DeferredToolRequests], tools=[ask_user])

    @assistant.tool_plain
    async def look(at: str) -> Any:
        return b"\xff" if at == "bytes" else ToolReturn("seen", metadata=object())

    async with serving(agent_of(assistant, "Looks", "Looks.")) as server, connect(server.grpc_address) as client:
        asked = await sent(client, "bytes")
        assert text_of(await sent(client, "yes", task_id=asked.id)) == "_w=="  # as Pydantic AI itself keeps bytes
        failed = await sent(client, "object")
        assert text_of(failed) == "What was said in this task cannot be kept until you answer."


@dataclass
class Reply(StreamedResponse):
    said: list[ModelResponsePart]
    model_name = "parts"
    provider_name = provider_url = None
    timestamp = datetime(2026, 1, 1, tzinfo=UTC)

    async def _get_event_iterator(self) -> AsyncIterator[Any]:
        for place, part in enumerate(self.said):
            yield self._parts_manager.handle_part(vendor_part_id=place, part=part)


class Parts(Model):
    """Says whole parts, also files, which a `FunctionModel` cannot."""

    model_name = "parts"
    system = "parts"

    def __init__(self, script: Callable[[list[Any]], list[ModelResponsePart]]) -> None:
        super().__init__()
        self._script = script

    async def request(self, *given: Any, **named: Any) -> Any:
        raise NotImplementedError("this model streams")

    @asynccontextmanager
    async def request_stream(self, messages: Any, settings: Any, parameters: Any, *given: Any) -> AsyncIterator[Reply]:
        yield Reply(parameters, self._script([part for message in messages for part in message.parts]))


async def test_a_tool_asks_by_itself_a_client_has_one_message_id_and_files_of_all_responses_stay() -> None:
    def script(parts: list[Any]) -> list[ModelResponsePart]:
        results = [part for part in parts if isinstance(part, ToolReturnPart)]
        match len(results):
            case 0:
                return [FilePart(BinaryContent(b"one", media_type="image/png")), ToolCallPart("look", {})]
            case 1:
                return [ToolCallPart("book", {})]
            case 2:
                made = FilePart(BinaryContent(b"two", media_type="image/png"))
                return [made, ToolCallPart("ask_user", {"question": "Which seat?"})]
        said = [part.content for part in parts if isinstance(part, (UserPromptPart, TextPart))]
        return [TextPart(f"{said} {[result.content for result in results]}")]

    assistant = Assistant(Parts(script), output_type=[str, DeferredToolRequests], deps_type=Turn, tools=[ask_user])

    @assistant.tool_plain
    async def look() -> str:
        return "free"

    @assistant.tool
    async def book(run: RunContext[Turn]) -> str:
        if run.deps.text == "go":
            raise InputRequired("Which date?")
        return f"on {run.deps.text}"

    def message(text: str, task_id: str = "") -> Message:
        return Message(role=ROLE_USER, message_id="1", task_id=task_id, parts=[Part(text=text)])

    agent = agent_of(assistant, "Seats", "Books seats.", deps=lambda turn: turn, output_modes=["*/*"])
    async with serving(agent) as server, connect(server.grpc_address) as client:
        task = await sent(client, message("go"))
        assert text_of(task.status.message) == "Which date?"
        asked = await sent(client, message("Friday", task.id))
        assert text_of(asked.status.message) == "Which seat?"
        assert [file.raw for file in files_of(asked)] == [b"one", b"two"]
        done = await sent(client, message("window", task.id))
        expected = "['go', 'Which date?', 'Friday'] ['free', 'on Friday', 'window']"
        assert (done.status.state, text_of(done)) == (COMPLETED, expected)
        assert [file.raw for file in files_of(done)] == [b"one", b"two"]


async def test_a_tool_asks_after_its_approval_and_the_answer_goes_to_the_model() -> None:
    def script(parts: list[Any]) -> list[str | tuple[str, str]]:
        said = [part.content for part in parts if isinstance(part, UserPromptPart)]
        if isinstance(parts[-1], UserPromptPart):
            return [("look", "{}"), ("pay", json.dumps({"card": said[1] if len(said) > 1 else ""}))]
        return [f"{said} {[part.content for part in parts if isinstance(part, ToolReturnPart)]}"]

    assistant = Assistant(model_of(script), output_type=[str, DeferredToolRequests])

    @assistant.tool_plain
    async def look() -> str:
        return "open"

    @assistant.tool_plain(requires_approval=True)
    async def pay(card: str) -> str:
        if not card:
            raise InputRequired("Which card?")
        return f"paid with {card}"

    found = []
    async with serving(agent_of(assistant, "Pay", "Pays.")) as server, connect(server.grpc_address) as client:
        task = await sent(client, "go")
        for answer in ("yes", "Visa", "yes"):
            task = await sent(client, answer, task_id=task.id)
            found.append((task.status.state, text_of(task.status.message) or text_of(task)))
    assert found == [
        (INPUT_REQUIRED, "Which card?"),
        (INPUT_REQUIRED, 'May the agent call the tool \'pay\' with {"card": "Visa"}?\nAnswer yes or no.'),
        (COMPLETED, "['go', 'Visa'] ['open', 'paid with Visa']"),
    ]


async def test_a_list_of_texts_is_data_and_models_of_which_none_answers_fail_the_task() -> None:
    async def unreachable(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        raise ModelAPIError("model", "secret address")
        yield

    listing = Assistant(model_of(lambda parts: ['{"response": [', '"tea"]}']), output_type=NativeOutput(list[str]))
    told: list[list[str | tuple[str, str]]] = [
        [("final_result", '{"response": ["tea"]}')],
        ["[tea]"],
    ]  # a text first, which is no output
    chatting = Assistant(model_of(lambda parts: told.pop()), output_type=list[str])
    silent = FunctionModel(stream_function=unreachable)
    found = []
    for assistant in (listing, chatting, Assistant(FallbackModel(silent, silent))):
        async with serving(agent_of(assistant, "Lists", "Lists.")) as server, connect(server.grpc_address) as client:
            async with client.stream("go") as events:
                seen = [event.artifact async for event in events if isinstance(event, TaskArtifactUpdateEvent)]
            assert events.task is not None
            found.append([[text_of(one) or data_of(one) for one in seen], text_of(events.task.status.message)])
    assert found == [[[["tea"]], ""], [[["tea"]], ""], [[], "The language model of the agent does not answer now."]]
