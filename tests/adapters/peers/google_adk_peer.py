"""An agent of ADK that plays the conversation of tests/adapters/conversation.py."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.tools import LongRunningFunctionTool
from google.genai import types

from a2a_grpc import serve
from a2a_grpc.adapters.google_adk import agent_of

STORY = ["Once ", "upon ", "a ", "time."]
NOTES = Path(os.environ.get("NOTES", "notes"))


def noted() -> list[str]:
    return NOTES.read_text().split() if NOTES.exists() else []


def note(line: str) -> None:
    with NOTES.open("a") as file:
        file.write(f"{line}\n")


def says(*parts: types.Part, partial: bool = False) -> LlmResponse:
    return LlmResponse(content=types.Content(role="model", parts=list(parts)), partial=partial)


def calls(name: str, **arguments: Any) -> types.Part:
    return types.Part(function_call=types.FunctionCall(name=name, args=arguments))


def read(request: Any) -> tuple[str, list[Any]]:
    """The last text of the user, and the results of tools after it."""
    said, results = "", []
    for content in request.contents:
        for part in content.parts:
            if part.function_response:
                results.append(part.function_response.response)
            elif part.text and content.role == "user":
                said, results = part.text, []
    return said, results


class Traveller(BaseLlm):  # type: ignore[misc]  # ADK is not checked
    """A model that does what the message says."""

    async def generate_content_async(self, llm_request: Any, stream: bool = False) -> AsyncIterator[LlmResponse]:
        said, results = read(llm_request)
        if said == "story":
            for word in STORY:
                yield says(types.Part(text=word), partial=True)
            yield says(types.Part(text="".join(STORY)))
        elif said == "wait":
            yield says(calls("wait"))
        elif said == "two steps" and len(results) < 2:
            yield says(calls("second" if results else "first"))
        elif said == "two steps":
            yield says(types.Part(text="Both are done."))
        elif not results:
            yield says(calls("adk_request_input", message="Which date?"))
        else:
            yield says(types.Part(text=f"{said.removeprefix('trip to ')} on {results[0]['result']}."))


async def wait() -> None:
    """Wait."""
    note("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        note("canceled")


async def first() -> str:
    """Do the first step."""
    note("first")
    return "done"


async def second() -> str:
    """Do the second step."""
    note("second")
    if noted().count("second") == 1:
        await asyncio.Event().wait()
    return "done"


def adk_request_input(message: str) -> None:
    """Ask the user."""


tools = [wait, first, second, LongRunningFunctionTool(adk_request_input)]
agent = agent_of(LlmAgent(name="traveller", model=Traveller(model="none"), tools=tools), "Traveller", "Plans trips.")

if __name__ == "__main__":
    serve(agent)
