"""The conversation that is played with the agent of every framework, from outside, with our client.

The program of a framework is `tests/adapters/peers/NAME.py`. It serves an agent that does what the message says, with a
model of its own that needs no network. It runs in an environment that has the framework. `note(line)` adds a line to
the file that the variable NOTES names.

message            the agent
"story"            streams the words of STORY, each as a piece of its own
"trip to Rome"     asks "Which date?"; the answer "Friday" makes it answer "Rome on Friday."
"wait"             notes "waiting" and waits; when it is canceled, it notes "canceled"
"two steps"        notes "first", and when this step is finished, "second"; if NOTES has one "second" only, it waits,
                   else the end of its answer is "Both are done."
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from a2a_grpc import Client, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent, connect, text_of
from tests.crash.server import DIES_WITH_US
from tests.docs.pages import blocks
from tests.harness import ROOT, eventually
from tests.interop.environments import Environment, python_of
from tests.ports import free_address

STORY = ["Once ", "upon ", "a ", "time."]
START_S = 120.0
"""Seconds for the import of a large framework on a busy machine."""

WORKING, INPUT_REQUIRED = TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_INPUT_REQUIRED
COMPLETED, CANCELED = TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_CANCELED


def documented(framework: str, page: str = "docs/adapters.md") -> list[str]:
    """Return the blocks of a page that the test of a framework plays. The first one is a program."""
    how = f"played by: tests/adapters/test_{framework}.py"
    found = [block.text for block in blocks(ROOT / page) if block.how == how]
    assert found, f"{page} has no block that is {how}"
    return found


@dataclass(frozen=True, slots=True)
class Peer:
    """The program of a framework.

    Attributes:
        file: Its name in tests/adapters/peers.
        environment: Where the framework is installed.
        keeps_steps: True if a step that was finished before a crash is not done again.
    """

    file: str
    environment: Environment
    keeps_steps: bool


class Conversation:
    """A server of a peer, in lives that follow each other, with a client."""

    def __init__(self, peer: Peer, folder: Path) -> None:
        self._peer = peer
        self._folder = folder
        self._address = free_address()
        self._python = python_of(peer.environment)

    def noted(self) -> list[str]:
        notes = self._folder / "notes"
        return notes.read_text().split() if notes.exists() else []

    @asynccontextmanager
    async def life(self) -> AsyncIterator[Client]:
        """A process that is killed at the end, as by `kill -9`. The next life has the same store and address."""
        command = ["-m", "a2a_grpc", "serve", str(ROOT / "tests/adapters/peers" / self._peer.file), "-o", "json"]
        options = ["--listen", self._address, "--http-listen", "off", "--store", f"sqlite:///{self._folder}/tasks.db"]
        path = os.pathsep.join([str(ROOT), str(ROOT / "generated")])
        with (self._folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(*DIES_WITH_US, self._python, *command, *options),
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": path, "NOTES": str(self._folder / "notes")},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            async with asyncio.timeout(START_S):
                await self._ready(process)
            async with connect(self._address) as client:
                yield client
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if json.loads(line)["event"] == "ready":
                return
        raise AssertionError((self._folder / "log").read_text()[-4000:])

    async def until_noted(self, line: str) -> None:
        def is_noted() -> None:
            assert line in self.noted(), (self._folder / "log").read_text()[-4000:]

        await eventually(is_noted, within_s=60)


async def play(peer: Peer, folder: Path) -> str:
    """Play the conversation: a stream, a question, a cancel, then a crash with one task at work and one that waits.

    Return the text of the task that was at work.
    """
    conversation = await asyncio.to_thread(Conversation, peer, folder)
    async with conversation.life() as client:
        await streams(client)
        await answers_with_what_it_knew(client, await asks(client))
        await stops(client, conversation)
        waiting = await asks(client)
        working = await client.start("two steps")
        assert isinstance(working, Task)
        await conversation.until_noted("second")
    async with conversation.life() as client:
        await answers_with_what_it_knew(client, waiting)
        done = await client.wait(working.id)
        assert done.status.state == COMPLETED
        assert text_of(done).endswith("Both are done.")
    assert conversation.noted().count("second") == 2
    assert conversation.noted().count("first") == (1 if peer.keeps_steps else 2)
    return text_of(done)


async def streams(client: Client) -> None:
    async with client.stream("story") as events:
        seen = [event async for event in events]
        task = events.task
    assert task is not None
    pieces = [text for event in seen if isinstance(event, TaskArtifactUpdateEvent) if (text := text_of(event.artifact))]
    assert pieces == STORY
    assert text_of(task) == "".join(STORY)
    last = seen[-1]
    assert isinstance(last, TaskStatusUpdateEvent)
    assert last.status.state == COMPLETED


async def asks(client: Client) -> Task:
    task = await client.send("trip to Rome")
    assert isinstance(task, Task)
    assert (task.status.state, text_of(task.status.message)) == (INPUT_REQUIRED, "Which date?")
    return task


async def answers_with_what_it_knew(client: Client, asked: Task) -> None:
    task = await client.send("Friday", task_id=asked.id)
    assert isinstance(task, Task)
    assert (task.status.state, text_of(task)) == (COMPLETED, "Rome on Friday.")


async def stops(client: Client, conversation: Conversation) -> None:
    task = await client.start("wait")
    assert isinstance(task, Task)
    await conversation.until_noted("waiting")
    canceled = await client.cancel(task.id)
    assert canceled.status.state == CANCELED
    await conversation.until_noted("canceled")
