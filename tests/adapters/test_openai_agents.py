"""Agents of the OpenAI Agents SDK, in an environment of its own with the lowest version; docs/adapters.md shows one."""

import json
from pathlib import Path

import pytest

from tests.adapters.conversation import Peer, documented, play
from tests.interop.environments import framework, python_of, run

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]  # the first use of an environment installs it

PEER = Peer("openai_peer.py", framework("openai-agents"), keeps_steps=True)
QUESTION = 'May the agent call the tool \'delete\' with {"path": "a.txt"}?\nAnswer yes or no.'

CALLER = """
import asyncio

from a2a_grpc import Server, ServerSettings, TaskArtifactUpdateEvent, connect, text_of
from booking import agent, assistant
from tests.adapters.peers.openai_model import Scripted, results_of


def script(items):  # stands for the model of OpenAI
    match results_of(items):
        case []:
            return [("ask_user", '{"question": "Which date?"}')]
        case [date]:
            return [("book", f'{{"date": "{date}"}}')]
        case [_, result]:
            return [["A table", " is ", f"{result}."]]


assistant.model = Scripted(script)


async def main() -> None:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(agent, settings) as server, connect(server.grpc_address) as client:
        task = await client.send("a table for two")
        print(text_of(task.status.message))
        task = await client.send("Friday", task_id=task.id)
        print(text_of(task.status.message))
        async with client.stream("yes", task_id=task.id) as events:
            pieces = [text_of(event.artifact) async for event in events if isinstance(event, TaskArtifactUpdateEvent)]
        print(*pieces, sep="|")


asyncio.run(main())
"""


async def test_an_agent_streams_asks_stops_and_goes_on_after_a_crash(tmp_path: Path) -> None:
    assert await play(PEER, tmp_path) == "Both are done."


async def test_the_agent_of_the_page_asks_for_a_date_and_an_approval_then_streams(tmp_path: Path) -> None:
    [program] = documented("openai_agents")
    (tmp_path / "booking.py").write_text(program)
    (tmp_path / "caller.py").write_text(CALLER)
    printed = await run(python_of(PEER.environment), str(tmp_path / "caller.py"))
    assert printed.splitlines() == [
        "Which date?",
        'May the agent call the tool \'book\' with {"date": "Friday"}?',
        "Answer yes or no.",
        "A table| is |booked for Friday.|",
    ]


async def test_approvals_files_guardrails_handoffs_structured_output_and_remote_agents() -> None:
    printed = await run(python_of(PEER.environment), "-m", "tests.adapters.peers.openai_more")
    found = json.loads(printed)
    assert found["approvals"] == {
        "asked": ["INPUT_REQUIRED", QUESTION, "I delete it."],
        "again": ["INPUT_REQUIRED", QUESTION],
        "done": ["COMPLETED", "", "It is gone."],
        "deleted": ["a.txt for c"],
        "given": [
            {"type": "input_text", "text": "Delete it."},
            {"type": "input_image", "detail": "auto", "image_url": "PNG"},
            {"type": "input_file", "filename": "a.csv", "file_data": "data:text/csv;base64,YSxi"},
            {"type": "input_file", "file_url": "https://files.example/a.pdf"},
            {"type": "input_text", "text": '{"why": 1}'},
        ],
        "size": 2690,
        "texts": ["Delete it.", "perhaps", "yes", "Another."],
        "denied": ["COMPLETED", "", "It is no, keep it."],
    }
    assert found["ends"] == {
        "input": ["REJECTED", "The agent does not accept this message.", ""],
        "output": ["FAILED", "A check of the agent stopped the answer.", ""],
        "turns": [
            "FAILED",
            "The agent has called its language model as often as it may for one message.",
            "",
            *["The agent calls the tool 'look'.", "The tool 'look' is done."] * 2,
        ],
        "handoff": ["COMPLETED", "", "Hello.", "The agent hands over to 'other'."],
    }
    assert found["tools"] == {
        "data": {"width": 3},
        "text": "",
        "said": ["The agent calls the tool 'paris'.", "paris: looking", "The tool 'paris' is done."],
        "contexts": [2, 1],
    }
    may = "May the agent call the tool 'hang' with {}?"
    called = ["The agent calls the tool 'hang'.", "The tool 'hang' is done."]
    assert found["images"] == {
        "free": {"asked": ["png"], "done": ["COMPLETED", "", "Done.", "png"], "said": [may, *called]},
        "stopped": {
            "asked": ["png"],
            "done": ["FAILED", "A check of the agent stopped the answer.", ""],
            "said": [may, *called],
        },
    }
    asked = "\n".join(
        f"May the agent call the tool {call}?"
        for call in (
            "'pay' with {}",
            "'sql' with \"SELECT 1\"",
            '\'shell\' with {"commands": ["ls"]}',
            '\'apply_patch\' with {"path": "a.txt", "type": "delete_file"}',
        )
    )
    names = ("apply_patch", "pay", "shell", "sql")
    ran = [
        *(f"The agent calls the tool '{name}'." for name in names),
        *(f"The tool '{name}' is done." for name in names),
    ]
    assert found["native"] == {
        "maybe": [*ran, "Which card?", "COMPLETED", "", "Done."],
        "approved": [f"{asked}\nAnswer yes or no.", *ran, "Which card?", "COMPLETED", "", "Done."],
        "denied": [
            f"{asked}\nAnswer yes or no.",
            "The agent calls the tool 'shell'.",
            "The tool 'apply_patch' was not called.",
            "The tool 'pay' was not called.",
            "The tool 'shell' is done.",
            "The tool 'sql' was not called.",
            *["COMPLETED", "", "Done."],
        ],
    }
