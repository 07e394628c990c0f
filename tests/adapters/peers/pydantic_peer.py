"""The agent of tests/adapters/conversation.py, in Pydantic AI. Its model is a script."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic_ai import Agent as Assistant
from pydantic_ai import DeferredToolRequests, ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from a2a_grpc import serve
from a2a_grpc.adapters.pydantic_ai import agent_of, ask_user

NOTES = Path(os.environ["NOTES"])


def note(line: str) -> None:
    with NOTES.open("a") as notes:
        notes.write(f"{line}\n")


def call(tool: str, **arguments: str) -> DeltaToolCalls:
    return {0: DeltaToolCall(name=tool, json_args=json.dumps(arguments))}


async def scripted(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    requests = [part for message in messages if isinstance(message, ModelRequest) for part in message.parts]
    wish = next(part.content for part in requests if isinstance(part, UserPromptPart))
    results = [part for part in requests if isinstance(part, ToolReturnPart)]
    match wish, [part.tool_name for part in results]:
        case "story", _:
            for word in ["Once ", "upon ", "a ", "time."]:
                yield word
        case "trip to Rome", []:
            yield call("ask_user", question="Which date?")
        case "trip to Rome", _:
            yield f"Rome on {results[0].content}."
        case "wait", _:
            yield call("wait")
        case "two steps", []:
            yield "I begin."
            yield {1: DeltaToolCall(name="first", json_args="{}")}
        case "two steps", ["first"]:
            yield call("second")
        case "two steps", _:
            yield "Both are done."


assistant = Assistant(
    FunctionModel(stream_function=scripted), output_type=[str, DeferredToolRequests], tools=[ask_user]
)


@assistant.tool_plain
async def wait() -> None:
    note("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        note("canceled")


@assistant.tool_plain
async def first() -> None:
    note("first")


@assistant.tool_plain
async def second() -> None:
    note("second")
    if NOTES.read_text().split().count("second") == 1:
        await asyncio.Event().wait()


agent = agent_of(assistant, "Peer", "Does what the message says.")

if __name__ == "__main__":
    serve(agent)
