"""A compiled graph of LangGraph runs as an agent, in an environment of its own."""

import json
from pathlib import Path

import pytest

from tests.adapters.conversation import Peer, play
from tests.interop.environments import framework, python_of, run

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]  # the first use of an environment installs it

LANGGRAPH = Peer("langgraph_peer.py", framework("langgraph", "langgraph-checkpoint-sqlite"), keeps_steps=True)


async def test_the_conversation_is_played_with_a_graph(tmp_path: Path) -> None:
    await play(LANGGRAPH, tmp_path)


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
        "told": ["reading", "{'page': 3}", "{'progress': 0.5}"],
        "files": ["see image/png", "a", "image/png", "png"],
        "tools": [
            *("Emma", True, True, ["searching"], {"progress": 0.5}, "Ulysses", True),
            *("The agent 'library' cannot be reached now.", ["message", "task_id"]),
        ],
        "failures": [
            ["FAILED", "The state of this task was lost with the server. Send the message again, as a new task."],
            ["FAILED", "The agent has not come to an end within its number of steps."],
        ],
    }
