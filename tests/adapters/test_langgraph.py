"""A compiled graph of LangGraph runs as an agent, in an environment of its own.

README.md and docs/adapters.md have blocks that are played here.
"""

import json
from pathlib import Path

import pytest

from tests.adapters.conversation import Peer, documented, play
from tests.interop.environments import framework, python_of, run

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]  # the first use of an environment installs it

LANGGRAPH = Peer("langgraph_peer.py", framework("langgraph", "langgraph-checkpoint-sqlite"), keeps_steps=True)

CALLER = """
import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from a2a_grpc import Server, ServerSettings, TaskArtifactUpdateEvent, connect, text_of
from travel import AIMessage, agent, agent_of, graph, model

HERE = Path(__file__).parent
os.chdir(HERE)


async def travel(agent) -> None:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="127.0.0.1:0")
    async with Server(agent, settings) as server, connect(server.grpc_address) as client:
        task = await client.send("a trip to Rome")
        print(text_of(task.status.message))
        async with client.stream("Friday", task_id=task.id) as events:
            pieces = [text_of(event.artifact) async for event in events if isinstance(event, TaskArtifactUpdateEvent)]
        print(*pieces, sep="|")
        names = {}
        remote = (HERE / "remote.py").read_text().replace("https://library.example", server.http_url)
        await asyncio.to_thread(exec, remote, names)
        print(*(tool.name for tool in names["tools"]))


asyncio.run(travel(agent))
model.messages = iter([AIMessage("Take the night train.")])
names = {"asynccontextmanager": asynccontextmanager, "AsyncSqliteSaver": AsyncSqliteSaver, "agent_of": agent_of,
         "builder": graph.builder}
exec((HERE / "durable.py").read_text(), names)
asyncio.run(travel(names["agent"]))
"""


async def test_the_graph_of_the_page_asks_its_user_then_streams_its_plan(tmp_path: Path) -> None:
    program, durable, remote = documented("langgraph")
    [readme] = documented("langgraph", "README.md")
    files = {"travel.py": program, "durable.py": durable, "remote.py": remote, "caller.py": CALLER}
    files["readme.py"] = f"from travel import graph\n\n{readme}"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    python = python_of(LANGGRAPH.environment)
    printed = await run(python, str(tmp_path / "caller.py"))
    assert printed.splitlines() == ["Which date?", "Take| |the| |night| |train.|", "Travel weather"] * 2
    options = ("--check", "--listen=127.0.0.1:0", "--http-listen=off", "--store=memory:")
    printed = await run(python, "-m", "a2a_grpc", "serve", str(tmp_path / "readme.py"), *options)
    assert "Travel" in printed


async def test_the_conversation_is_played_with_a_graph(tmp_path: Path) -> None:
    """The step that was at work in the crash has written "Both will be "; the one before it stays as it was."""
    assert await play(LANGGRAPH, tmp_path) == "One. Both are done."


async def test_a_graph_asks_twice_knows_its_conversation_takes_and_gives_files_and_calls_remote_agents() -> None:
    printed = await run(python_of(LANGGRAPH.environment), "-m", "tests.adapters.peers.langgraph_more")
    assert json.loads(printed) == {
        "questions": [
            ["INPUT_REQUIRED", "", "{'which': 'colour'}"],
            ["INPUT_REQUIRED", "colour: red. ", "{'which': 'size'}"],
            ["COMPLETED", "colour: red. size: large. "],
        ],
        "conversation": [
            "['Oslo on Monday.', 'Oslo on Sunday.', 'history', 'trip to Oslo', 'trip to Oslo']",
            "Rome on Friday.",
            "history",
        ],
        "without_checkpoints": "story | Once upon a time. | history",
        "told": ["reading", "{'page': 3}", "{'progress': 0.5}"],
        "files": ["see image/png", "a", "image/png", "png"],
        "tools": [
            *("Emma", True, True, ["searching"], {"progress": 0.5}, "Ulysses", True),
            *("The agent 'library' cannot be reached now.", ["message", "task_id"]),
        ],
        "subgraphs": [["Hello there."], ["Hello ", "there."]],
        "own_state": [
            ["INPUT_REQUIRED", "The agent waits before its next step. Any answer lets it go on."],
            {"wishes": ["tea"], "all": ["tea"]},
            ["INPUT_REQUIRED", "The agent waits before its next step. Any answer lets it go on."],
            {"wishes": ["tea", "milk"], "all": ["tea", "milk"]},
        ],
        "chosen_nodes": "Yes.",
        "own_question": [
            ["INPUT_REQUIRED", "Which?"],
            ["INPUT_REQUIRED", "How many?"],
            ["INPUT_REQUIRED", "Which?"],
            ["COMPLETED", "green red"],
        ],
        "same_call": ["1", "2"],
        "dicts": [["COMPLETED", "1"], ["COMPLETED", "3"], ["COMPLETED", "5"]],
        "failures": [
            ["FAILED", "The state of this task was lost with the server. Send the message again, as a new task."],
            ["FAILED", "The agent has not come to an end within its number of steps."],
            ["FAILED", "The agent has a question, but cannot wait for the answer: its graph has no checkpointer."],
            [
                "TypeError",
                "no compiled graph, and no function without arguments that opens one; "
                "call compile() on the graph first",
            ],
        ],
    }
