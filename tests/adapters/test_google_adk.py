"""Agents of Google ADK run as agents, in an environment of their own; docs/adapters.md shows one."""

import json
from pathlib import Path

import pytest

from tests.adapters.conversation import Peer, documented, play
from tests.interop.environments import framework, python_of, run

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]  # the first use of an environment installs it

ADK = Peer("google_adk_peer.py", framework("google-adk"), keeps_steps=True)

CALLER = """
import asyncio
import logging

from a2a_grpc import Server, ServerSettings, TaskArtifactUpdateEvent, connect, text_of
from booking import agent
from remote import tools


async def main() -> None:
    logging.disable(logging.CRITICAL)
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(agent, settings) as server, connect(server.grpc_address) as client:
        task = await client.send("a night in Rome")
        print(text_of(task.status.message))
        async with client.stream("yes", task_id=task.id) as events:
            pieces = [text_of(event.artifact) async for event in events if isinstance(event, TaskArtifactUpdateEvent)]
        print(*pieces, sep="|")
        print(*(tool.name for tool in tools))


asyncio.run(main())
"""


async def test_the_agent_of_the_page_asks_before_it_calls_a_tool_then_streams_its_answer(tmp_path: Path) -> None:
    program, remote = documented("google_adk")
    (tmp_path / "booking.py").write_text(program)
    (tmp_path / "remote.py").write_text(remote)
    (tmp_path / "caller.py").write_text(CALLER)
    printed = await run(python_of(ADK.environment), "-W", "ignore", str(tmp_path / "caller.py"))
    assert printed.splitlines() == [
        """May the agent call the tool 'book' with {"city": "Rome"}?""",
        "Answer yes or no.",
        "Booked |in |Rome.|",
        "weather",
    ]


async def test_the_conversation_is_played_with_an_agent_of_adk(tmp_path: Path) -> None:
    assert await play(ADK, tmp_path) == "Both are done."


async def test_an_agent_of_adk_asks_and_fails_takes_and_gives_content_shares_sessions_and_calls_remote_agents() -> None:
    printed = await run(python_of(ADK.environment), "-W", "ignore", "-m", "tests.adapters.peers.google_adk_more")
    told = ["library: searching", "library: 50%"]
    may = "May the agent call the tool 'pay' with"
    assert json.loads(printed) == {
        "approvals": [
            f'{may} {{"amount": 1}}?\n{may} {{"amount": 2}}?\nAnswer yes or no.',
            [{"paid": 1, "report": "all paid", "by": "bot"}, {"error": "This tool call is rejected."}],
            "all paid",
        ],
        "credentials": [
            "AUTH_REQUIRED",
            "The agent needs a credential of the kind 'apiKey'. Answer with it.",
            "read with k1",
        ],
        "long_running": [
            "It is {'status': 'pending'}.",
            """What is the result of the tool 'ticket' with {"about": "x"}?""",
            "It is {'status': 'closed'}.",
        ],
        "content": [
            *("['image/png']", "image/png", ["hm"], {"name": "Rome"}),
            *([["a", "one"], ["b", "two"]], "x|x|y"),
        ],
        "runners": ["1", ["3", "5", "7"], "1", 8],
        "failures": [
            ["FAILED", "The language model gave no answer: SAFETY."],
            ["FAILED", "The agent has used as much of its language model as it may for one task."],
            ["FAILED", "The agent failed with an internal error."],
            "done",
            "What was said in this task cannot be kept until you answer.",
            " an agent, an App or a Runner of Google ADK",
        ],
        "tools": [
            *(True, True),
            [
                "The agent calls the tool 'library'.",
                *told,
                "The tool 'library' is done.",
            ],
            *("The agent 'library' asks: Which shelf?", "The agent 'library' cannot be reached now."),
        ],
    }


async def test_an_agent_of_adk_keeps_files_callers_and_secrets_apart_and_tells_of_calls_that_are_allowed() -> None:
    printed = await run(python_of(ADK.environment), "-W", "ignore", "-m", "tests.adapters.peers.google_adk_kept")
    may = """May the agent call the tool 'pay' with {"amount": 1}?\nAnswer yes or no."""
    assert json.loads(printed) == {
        "files": "[2048, 2048]",
        "callers": [["1", "1", "1"], ["1", "3"], "COMPLETED"],
        "messages": 2 * ["one []", "two []", "ask [{'result': 'this'}]"],
        "errors": [
            ["COMPLETED", "", '{"tries": 2}'],
            ["FAILED", "The agent failed with an internal error.", "null"],
        ],
        "results": ["done", "What was said in this task cannot be kept until you answer."],
        "schemas": ['{"name": "Rome"}'],
        "approvals": [
            [may, "The agent calls the tool 'pay'.", "The tool 'pay' is done."],
            [may, "The tool 'pay' was not called."],
        ],
    }
