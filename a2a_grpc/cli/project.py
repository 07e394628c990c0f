"""The files of a new agent, as texts."""

import json
import re
from enum import StrEnum

FILES = ("agent.py", "client.py", "test_agent.py", "pyproject.toml")
"""The names of the files."""


class Kind(StrEnum):
    """The kinds of agents."""

    PLAIN = "plain"
    STREAMING = "streaming"
    ASKING = "asking"


AGENTS = {
    Kind.PLAIN: '''\
from a2a_grpc import Agent, Turn, serve

agent = Agent({name}, {description})


@agent.skill()
async def answer(turn: Turn) -> str:
    """Answer a message."""
    return f"You said: {{turn.text}}"  # your work goes here
''',
    Kind.STREAMING: '''\
import asyncio
from collections.abc import AsyncIterator

from a2a_grpc import Agent, Turn, serve

agent = Agent({name}, {description})


@agent.skill()
async def answer(turn: Turn) -> AsyncIterator[str]:
    """Answer a message, word by word."""
    await turn.status("thinking")
    for word in ["You", "said:", *turn.text.split()]:
        await asyncio.sleep(0.2)  # your work goes here
        yield f"{{word}} "
''',
    Kind.ASKING: '''\
from a2a_grpc import Agent, Turn, serve

agent = Agent({name}, {description})


@agent.skill()
async def answer(turn: Turn) -> str:
    """Answer a message, after a question to the user."""
    name = await turn.ask("What is your name?")
    return f"{{name}} said: {{turn.text}}"  # your work goes here
''',
}
SERVE = """

if __name__ == "__main__":
    serve(agent)
"""

CLIENT = """\
import asyncio
import os
import sys

from a2a_grpc import {imports}

ADDRESS = os.environ.get("A2A_GRPC_AGENT", "127.0.0.1:50051")


async def main(text: str) -> None:
{body}

asyncio.run(main(" ".join(sys.argv[1:]) or "hello"))
"""
CLIENTS = {
    Kind.PLAIN: (
        "RemoteAgent",
        """\
    async with RemoteAgent(ADDRESS) as agent:
        print(await agent.run(text))
""",
    ),
    Kind.STREAMING: (
        "RemoteAgent",
        """\
    async with RemoteAgent(ADDRESS) as agent:
        async for piece in agent.stream(text):
            print(piece, end="", flush=True)
    print()
""",
    ),
    Kind.ASKING: (
        "TaskState, connect, text_of",
        """\
    async with connect(ADDRESS) as client:
        task = await client.send(text)
        while task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED:
            answer = input(f"{text_of(task.status.message)} ")
            task = await client.send(answer, task_id=task.id)
        print(text_of(task))
""",
    ),
}

TEST = """\
import asyncio

from a2a_grpc.testing import {imports}
from agent import agent


def test_it_answers() -> None:
    async def check() -> None:
{body}
    asyncio.run(check())
"""
TESTS = {
    Kind.PLAIN: (
        "assert_state, running",
        """\
        async with running(agent) as client:
            assert_state(await client.send("hello"), "COMPLETED", "You said: hello")
""",
    ),
    Kind.STREAMING: (
        "Clock, assert_events, collect, running",
        """\
        clock = Clock()
        async with running(agent, clock=clock) as client:
            reading = asyncio.create_task(collect(client.stream("hello")))
            await clock.advance(60)  # a minute passes at once
            pieces = ("artifact: You", "artifact: said:", "artifact: hello")
            assert_events(await reading, "SUBMITTED", "WORKING", "WORKING thinking", *pieces, "COMPLETED")
""",
    ),
    Kind.ASKING: (
        "assert_state, running",
        """\
        async with running(agent) as client:
            task = await client.send("hello")
            assert_state(task, "INPUT_REQUIRED", "What is your name?")
            assert_state(await client.send("Ada", task_id=task.id), "COMPLETED", "Ada said: hello")
""",
    ),
}

NEEDED = ("a2a-grpc", "pytest")
"""The projects that the agent and its test need."""
PYPROJECT = """\
[project]
name = {project}
version = "0.1.0"
description = {description}
requires-python = ">=3.11"
dependencies = ["{needed[0]}"]

[dependency-groups]
test = ["{needed[1]}"]

[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[tool.setuptools]
py-modules = ["agent"]
"""


def files_of(name: str, description: str, kind: Kind) -> dict[str, str]:
    """Return the texts of the files by name.

    Args:
        name: The name of the agent, one printable line.
        description: What it does, one printable line.
        kind: What the agent shows.
    """
    imports, body = CLIENTS[kind]
    tested, checks = TESTS[kind]
    texts = (
        AGENTS[kind].format(name=_quoted(name), description=_quoted(description)) + SERVE,
        CLIENT.format(imports=imports, body=body),
        TEST.format(imports=tested, body=checks),
        PYPROJECT.format(needed=NEEDED, project=_quoted(_project(name)), description=_quoted(description)),
    )
    return dict(zip(FILES, texts, strict=True))


def named_after(folder: str) -> str:
    """Return a name for the agent of a folder."""
    words = re.sub(r"[\W_]+", " ", folder).strip()
    return words[:1].upper() + words[1:60] if words else "Agent"


def _project(name: str) -> str:
    """Return the name of the project. Names of projects have letters, digits, and hyphens between them.

    A project that has the name of one that it needs would depend on itself.
    """
    project = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "agent"
    return f"{project}-agent" if project in NEEDED else project


def _quoted(text: str) -> str:
    """Return a text as Python and TOML both write it."""
    return json.dumps(text, ensure_ascii=False)
