"""A graph of LangGraph that plays the conversation of tests/adapters/conversation.py."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send, interrupt

from a2a_grpc import serve
from a2a_grpc.adapters.langgraph import agent_of

STORY = ["Once ", "upon ", "a ", "time."]
NOTES = Path(os.environ.get("NOTES", "notes"))


def noted() -> list[str]:
    return NOTES.read_text().split() if NOTES.exists() else []


def note(line: str) -> None:
    with NOTES.open("a") as file:
        file.write(f"{line}\n")


class Teller(BaseChatModel):  # type: ignore[misc]  # LangChain is not checked
    """A model that says words, each as a piece of its own, and then may wait."""

    words: list[str]
    waits: bool = False

    @property
    def _llm_type(self) -> str:
        return "teller"

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("".join(self.words)))])

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for word in self.words:
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        if self.waits:
            note("second")
            await asyncio.Event().wait()


def choose(state: MessagesState) -> str | list[Send]:
    text = str(state["messages"][-1].text)
    if text.startswith("trip"):
        return "trip"
    if text == "two questions":
        return [Send("question", {"about": "colour"}), Send("question", {"about": "size"})]
    return {"two steps": "first", "wait": "wait", "history": "history", "progress": "progress"}.get(text, "story")


async def story(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Teller(words=STORY).ainvoke(state["messages"])]}


async def trip(state: MessagesState) -> dict[str, Any]:
    date = interrupt("Which date?")
    place = str(state["messages"][-1].text).removeprefix("trip to ")
    return {"messages": [AIMessage(f"{place} on {date}.")]}


async def wait(state: MessagesState) -> None:
    note("waiting")
    try:
        await asyncio.Event().wait()
    finally:
        note("canceled")


async def first(state: MessagesState) -> dict[str, Any]:
    note("first")
    return {"messages": [AIMessage("One. ")]}


async def second(state: MessagesState) -> dict[str, Any]:
    if "second" not in noted():
        await Teller(words=["Both ", "will be "], waits=True).ainvoke("go")
    note("second")
    return {"messages": [AIMessage("Both are done.")]}


async def question(given: dict[str, str]) -> dict[str, Any]:
    answer = interrupt({"which": given["about"]})
    return {"messages": [AIMessage(f"{given['about']}: {answer}. ")]}


async def history(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(" | ".join(str(message.text) for message in state["messages"]))]}


async def progress(state: MessagesState) -> None:
    write = get_stream_writer()
    write("reading")
    write({"progress": 0.5})
    write({"page": 3})


def graph() -> StateGraph:
    made = StateGraph(MessagesState)
    for node in (story, trip, wait, first, second, question, history, progress):
        made.add_node(node)
    made.add_conditional_edges(START, choose)
    made.add_edge("first", "second")
    return made


@asynccontextmanager
async def opened() -> AsyncIterator[Any]:
    async with AsyncSqliteSaver.from_conn_string("graph.db") as saver:
        yield graph().compile(checkpointer=saver)


agent = agent_of(opened, "Traveller", "Plans trips.", resumable=True)

if __name__ == "__main__":
    serve(agent)
