"""The agent of tests/adapters/conversation.py, in the OpenAI Agents SDK. Its model is a script."""

import asyncio
import os
from pathlib import Path
from typing import Any

from agents import Agent as Assistant
from agents import RunConfig, function_tool

from a2a_grpc import serve
from a2a_grpc.adapters.openai_agents import agent_of, ask_user
from tests.adapters.peers.openai_model import Said, Scripted, results_of, wish_of

NOTES = Path(os.environ["NOTES"])


def note(line: str) -> None:
    with NOTES.open("a") as notes:
        notes.write(f"{line}\n")


def scripted(items: list[dict[str, Any]]) -> Said:
    match wish_of(items), results_of(items):
        case "story", _:
            return [["Once ", "upon ", "a ", "time."]]
        case "trip to Rome", []:
            return [("ask_user", '{"question": "Which date?"}')]
        case "trip to Rome", [date]:
            return [[f"Rome on {date}."]]
        case "wait", _:
            return [("wait", "{}")]
        case "two steps", []:
            return [["I begin."], ("first", "{}")]
        case "two steps", [_]:
            return [("second", "{}")]
    return [["Both are done."]]


@function_tool  # type: ignore[untyped-decorator]  # the SDK is not checked
async def wait() -> None:
    note("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        note("canceled")


@function_tool  # type: ignore[untyped-decorator]
async def first() -> None:
    note("first")


@function_tool  # type: ignore[untyped-decorator]
async def second() -> None:
    note("second")
    if NOTES.read_text().split().count("second") == 1:
        await asyncio.Event().wait()


assistant = Assistant(name="peer", model=Scripted(scripted), tools=[ask_user, wait, first, second])
agent = agent_of(assistant, "Peer", "Does what the message says.", run_config=RunConfig(tracing_disabled=True))

if __name__ == "__main__":
    serve(agent)
