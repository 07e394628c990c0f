"""What else the adapter of LangGraph does, as one JSON object that tests/adapters/test_langgraph.py reads."""

import asyncio
import json
import logging
import operator
from itertools import count
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

from a2a_grpc import Agent, Client, Part, Server, ServerSettings, Task, Turn, connect, data_of, text_of
from a2a_grpc.adapters.langgraph import agent_of, as_tool
from a2a_grpc.agent import InputRequired
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import files_of, user_message
from a2a_grpc.wire import ROLE_AGENT, ROLE_USER, Message
from tests.adapters.peers.langgraph_peer import Teller, graph

SETTINGS = ServerSettings(listen="127.0.0.1:0", http_listen="off")
LIBRARY = Agent("Library", "Finds books.")


@LIBRARY.skill()
async def find(turn: Turn) -> str:
    """Find a book."""
    await turn.status("searching")
    await turn.artifact({"progress": 0.5}, id="progress")
    if turn.text == "which":
        raise InputRequired("Which shelf?")
    return f"{turn.text} in {turn.context_id}"


async def sent(client: Client, content: Any, **options: Any) -> Task:
    task = await client.send(content, **options)
    assert isinstance(task, Task)
    return task


def seen(task: Task) -> list[str]:
    return [state_name(task.status.state), text_of(task), str(data_of(task.status.message))]


async def questions(client: Client) -> list[list[str]]:
    """Two interrupts at once are asked one after the other."""
    task = await sent(client, "two questions")
    second = await sent(client, "red", task_id=task.id)
    third = await sent(client, "large", task_id=task.id)
    return [seen(task), seen(second), [state_name(third.status.state), text_of(third)]]


async def conversation(client: Client) -> list[str]:
    """Tasks of one conversation know the completed ones before them, those at the same time too, and no other ones."""
    waits = await sent(client, "trip to Rome")
    known = {"context_id": waits.context_id}
    one, two = await asyncio.gather(*(sent(client, "trip to Oslo", **known) for _ in range(2)))
    await asyncio.gather(sent(client, "Monday", task_id=one.id), sent(client, "Sunday", task_id=two.id))
    all_of = text_of(await sent(client, "history", **known))
    rome = text_of(await sent(client, "Friday", task_id=waits.id))
    return [str(sorted(all_of.split(" | "))), rome, text_of(await sent(client, "history"))]


async def without_checkpoints() -> str:
    """A graph that keeps nothing gets the texts of the earlier tasks."""
    agent = agent_of(graph().compile(), "Traveller", "Plans trips.")
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        told = await sent(client, "story")
        return text_of(await sent(client, "history", context_id=told.context_id))


async def told(client: Client) -> list[str]:
    """What a node gives its stream writer: a status, the progress of the work, data."""
    async with client.stream("progress") as events:
        found = [event async for event in events]
    said = [message for event in found if (message := getattr(getattr(event, "status", None), "message", None))]
    statuses = [text_of(message) or str(data_of(message)) for message in said if message.parts]
    assert events.task is not None
    return [*statuses, str(data_of(events.task))]


async def files() -> list[str]:
    """A file of the message is a block of the model's message, and a block of its answer is a file."""

    async def look(state: MessagesState) -> dict[str, Any]:
        text, image = state["messages"][-1].content
        return {"messages": [AIMessage([{"type": "text", "text": f"{text['text']} {image['mime_type']}"}, image])]}

    made = StateGraph(MessagesState).add_node(look).add_edge(START, "look").compile()
    agent = agent_of(made, "Eye", "Looks at pictures.", input_modes=["*/*"], output_modes=["*/*"])
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        task = await sent(client, user_message(["see", Part(raw=b"png", media_type="image/png", filename="a")]))
        [file] = files_of(task)
        return [text_of(task), file.filename, file.media_type, file.raw.decode()]


async def tools() -> list[Any]:
    """A tool node calls a remote agent, in one conversation of it for each thread, and tells its progress."""
    async with Server(LIBRARY, SETTINGS) as library:
        tool = as_tool(library.grpc_address, name="library", description="Finds books.")

        async def model(state: MessagesState) -> dict[str, Any]:
            text = str(state["messages"][-1].text)
            calls = [{"name": "library", "args": {"message": word}, "id": word} for word in text.split()]
            return {"messages": [AIMessage("", tool_calls=calls)]}

        made = StateGraph(MessagesState).add_sequence([model, ToolNode([tool], name="tools")]).add_edge(START, "model")
        agent = agent_of(
            made.compile(checkpointer=InMemorySaver()),
            "Reader",
            "Reads.",
            output=lambda state: [str(message.text) for message in state["messages"] if message.type == "tool"],
        )
        async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
            task = await sent(client, "Emma which Emma")
        answers = data_of(task.artifacts[-1])
        assert isinstance(answers, list)
        statuses = {text_of(message) for message in task.history if message.role == ROLE_AGENT}
        found = await tool.ainvoke({"message": "Ulysses"})
        refused = await tool.ainvoke({"message": "Ulysses", "task_id": "nobody"})
    gone = await tool.ainvoke({"message": "Ulysses"})
    return [
        answers[0].partition(" in ")[0],
        answers[0] == answers[2],
        "Which shelf?" in answers[1],
        sorted(statuses),
        data_of(task.artifacts[0]),
        found.partition(" in ")[0],
        "refused the message" in refused,
        gone,
        sorted(tool.args),
    ]


async def same_call() -> list[str]:
    """A model that counts its calls gives two calls of one task the same id. Both reach the remote agent."""
    counter, calls = Agent("Counter", "Counts."), count(1)

    @counter.skill()
    async def number(turn: Turn) -> str:
        return str(next(calls))

    async def model(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("", tool_calls=[{"name": "counter", "args": {"message": "done?"}, "id": "1"}])]}

    async def ask(state: MessagesState) -> None:
        interrupt(state["messages"][-1].text)

    async with Server(counter, SETTINGS) as remote:
        tool = as_tool(remote.grpc_address, name="counter", description="Counts.")
        made = StateGraph(MessagesState).add_sequence([model, ToolNode([tool], name="tools"), ask])
        made = made.add_edge(START, "model").add_edge("ask", "model").compile(checkpointer=InMemorySaver())
        async with Server(agent_of(made, "Asks", "Asks."), SETTINGS) as server, connect(server.grpc_address) as client:
            first = await sent(client, "go")
            second = await sent(client, "again", task_id=first.id)
            return [text_of(first.status.message), text_of(second.status.message)]


def each(so_far: list[str] | None, wish: str) -> list[str]:
    return [*(so_far or []), wish]


class Basket(TypedDict, total=False):
    """A state of the user's own, without messages."""

    wish: str
    wishes: Annotated[list[str], each]
    bought: Annotated[list[str], operator.add]
    structured_response: dict[str, Any]


async def own_state() -> list[Any]:
    """The keys of a state go on in the next task by their own reducers, and a breakpoint asks before its step."""

    async def buy(state: Basket) -> Basket:
        return {"bought": [state["wish"]]}

    async def pay(state: Basket) -> Basket:
        return {"structured_response": {"wishes": state["wishes"], "all": state["bought"]}}

    made = StateGraph(Basket).add_sequence([buy, pay]).add_edge(START, "buy")
    shop = made.compile(checkpointer=InMemorySaver(), interrupt_before=["pay"])
    agent = agent_of(shop, "Shop", "Sells.", input=lambda turn: {"wish": turn.text, "wishes": turn.text})
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        found: list[Any] = []
        context_id = ""
        for wish in ("tea", "milk"):
            task = await sent(client, wish, **({"context_id": context_id} if context_id else {}))
            context_id = task.context_id
            found.append(seen(task)[:2])
            found.append(data_of(await sent(client, "go on", task_id=task.id)))
        return found


class Dicts(TypedDict):
    messages: Annotated[list[Any], operator.add]


async def dicts() -> list[list[Any]]:
    """Messages can be dicts, which have no ids. The last one is the result."""

    async def answer(state: Dicts) -> dict[str, Any]:
        return {"messages": [{"role": "assistant", "content": f"{len(state['messages'])}"}]}

    made = StateGraph(Dicts).add_node(answer).add_edge(START, "answer").compile(checkpointer=InMemorySaver())
    async with Server(agent_of(made, "Dicts", "Counts."), SETTINGS) as server, connect(server.grpc_address) as client:
        tasks = [await sent(client, "one", context_id="c") for _ in range(3)]
        return [seen(task)[:2] for task in tasks]


async def chosen_nodes() -> str:
    """Only the messages of the named nodes are streamed."""

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Hm.")]}

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Yes.")]}

    made = StateGraph(MessagesState).add_sequence([think, answer]).add_edge(START, "think").compile()
    agent = agent_of(made, "Thinker", "Thinks.", nodes=["answer"])
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        return text_of(await sent(client, "well?"))


async def subgraphs() -> list[list[str]]:
    """A subgraph streams only if it shall; what it says comes once in both cases."""

    async def say(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await Teller(words=["Hello ", "there."]).ainvoke("go")]}

    inner = StateGraph(MessagesState).add_node(say).add_edge(START, "say").compile()
    outer = StateGraph(MessagesState).add_node("inner", inner).add_edge(START, "inner").compile()
    found = []
    for streams in (False, True):
        agent = agent_of(outer, "Outer", "Speaks.", subgraphs=streams)
        async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
            task = await sent(client, "hello")
            found.append([part.text for part in task.artifacts[0].parts])
    return found


async def own_question() -> list[list[str]]:
    """A node ends the turn with an outcome; the next message is a further input of the same thread.

    All messages of this client have one id, and the node has been through an interrupt before.
    """

    async def ask(state: MessagesState) -> dict[str, Any]:
        kind = interrupt("Which?")
        if len(wishes) == 1:
            wishes.append(kind)
            raise InputRequired("How many?")
        return {"messages": [AIMessage(f"{kind} {wishes[1]}")]}

    def message(text: str, task: Task | None = None) -> Message:
        return Message(role=ROLE_USER, message_id="1", task_id=task.id if task else "", parts=[Part(text=text)])

    wishes: list[str] = ["apples"]

    made = StateGraph(MessagesState).add_node(ask).add_edge(START, "ask").compile(checkpointer=InMemorySaver())
    async with Server(agent_of(made, "Shop", "Sells."), SETTINGS) as server, connect(server.grpc_address) as client:
        task = await sent(client, message("apples"))
        more = [await sent(client, message(text, task)) for text in ("red", "two", "green")]
        return [seen(task)[:2], *(seen(one)[:2] for one in more)]


async def failures() -> list[list[str]]:
    """A graph whose state was lost cannot go on, one without an end is stopped, one that keeps nothing cannot ask."""
    found = []
    saver = InMemorySaver()
    agent = agent_of(graph().compile(checkpointer=saver), "Traveller", "Plans trips.")
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        task = await sent(client, "trip to Rome")
        saver.storage.clear()
        found.append(seen(await sent(client, "Friday", task_id=task.id))[:2])

    async def endless(state: MessagesState) -> None:
        raise GraphRecursionError

    made = StateGraph(MessagesState).add_node(endless).add_edge(START, "endless").compile()
    async with Server(agent_of(made, "Endless", "Runs."), SETTINGS) as server, connect(server.grpc_address) as client:
        found.append(seen(await sent(client, "go"))[:2])
    async with Server(agent_of(graph().compile(), "Asks", "Asks."), SETTINGS) as server:
        async with connect(server.grpc_address) as client:
            found.append(seen(await sent(client, "trip to Rome"))[:2])
    try:
        agent_of(endless, "Node", "Is a node.")
    except TypeError as error:
        found.append([type(error).__name__, str(error).partition(" is ")[2]])
    return found


async def main() -> None:
    logging.getLogger("a2a_grpc").setLevel(logging.ERROR)  # one agent is not reached
    agent = agent_of(graph().compile(checkpointer=InMemorySaver()), "Traveller", "Plans trips.")
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        found: dict[str, Any] = {
            "questions": await questions(client),
            "conversation": await conversation(client),
            "told": await told(client),
            "without_checkpoints": await without_checkpoints(),
        }
    found |= {
        "files": await files(),
        "tools": await tools(),
        "failures": await failures(),
        "own_question": await own_question(),
        "same_call": await same_call(),
        "dicts": await dicts(),
        "subgraphs": await subgraphs(),
        "own_state": await own_state(),
        "chosen_nodes": await chosen_nodes(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
