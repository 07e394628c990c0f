"""An agent whose work can be checked afterwards: it counts in artifacts, and keeps a journal of all it does.

A message's data part says how: {"steps": 8, "pause_s": 0.03, "asks": false}. Every message has an artifact of its own,
named after its id, in which each step is a part that names the run which made it: so a run that is begun again finds
where to go on, and nobody can write into the log unseen.

JOURNAL in the environment is the path of the journal; RESUMABLE=0 makes the agent one whose lost runs fail.
"""

import asyncio
import itertools
import os
import time
from typing import Any, cast

from a2a_grpc import Agent, Turn
from a2a_grpc.cli import serve_command
from a2a_grpc.parts import data_of
from a2a_grpc.wire import ROLE_USER, Message
from tests.crash.journal import Journal

HEARTBEAT_S = 0.05
PAUSE_S = 0.2
"""A heartbeat that comes later than that tells of a pause."""

agent = Agent("Counter", "Counts.", resumable=os.environ.get("RESUMABLE") != "0")
journal = Journal(os.environ.get("JOURNAL", os.devnull))
numbers = itertools.count(1)
heart: list[asyncio.Task[None]] = []


@agent.skill("count")
async def count(turn: Turn) -> str:
    """Counts to `steps`; if `asks`, asks, then counts as the answer says."""
    if not heart:
        heart.append(asyncio.create_task(beat(), name="heart"))
    run = f"{os.getpid()}.{next(numbers)}"
    await do_steps(turn, run, turn.message)
    if plan_of(turn.message)["asks"]:
        answer = await turn.ask("go on?")
        await do_steps(turn, run, answer.message)
    return "done"


async def do_steps(turn: Turn, run: str, message: Message) -> None:
    """What of the message's steps is not done yet."""
    assert turn.task is not None
    number = sum(said.role == ROLE_USER for said in turn.history)
    name, plan = f"steps-{message.message_id}", plan_of(message)
    done = [len(artifact.parts) for artifact in turn.task.artifacts if artifact.artifact_id == name]
    for step in range(done[0] if done else 0, plan["steps"]):
        await asyncio.sleep(plan["pause_s"])
        journal.step(run, turn.task.id, number, turn.attempt, step)
        await turn.artifact({"run": run, "step": step}, id=name, append=step > 0)


def plan_of(message: Message) -> dict[str, Any]:
    return {"steps": 1, "pause_s": 0.0, "asks": False, **cast("dict[str, Any]", data_of(message))}


async def beat() -> None:
    """Tells the journal of each time that this process stood still."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(HEARTBEAT_S)
        if time.monotonic() - before > PAUSE_S:
            journal.pause(before)


if __name__ == "__main__":
    serve_command(agent)
