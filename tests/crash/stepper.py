"""An agent whose job has five steps, and which kills its own process once at every point of the job.

JOURNAL in the environment is the path of its journal, with a line for each thing that happened. The process forks a
server, and another one after each death, so that Python starts once.
"""

import asyncio
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from a2a_grpc import Agent, Turn
from a2a_grpc.cli import serve_command
from tests.forks import LIBRARIES

STEPS = 5
POINTS = [f"{point} {step}" for step in range(STEPS) for point in ("begun", "done", "writing", "stored")]
"""A step was begun; has had its effect; its result is on the way to the store; is stored."""
WRITING_S = 0.004
"""About the time that a result is on its way."""
WATCH_S = 0.2

agent = Agent("Stepper", "Does a job in five steps.", resumable=True)
journal = Path(os.environ.get("JOURNAL", os.devnull))


def note(what: str, *facts: Any) -> None:
    with journal.open("a") as file:
        file.write(json.dumps([what, *facts]) + "\n")


def noted(what: str) -> list[list[Any]]:
    """The facts of each line that tells of this."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [facts for name, *facts in map(json.loads, lines) if name == what]


def die(point: str) -> None:
    """Kill the process, unless an earlier one has died at this point."""
    if [point] not in noted("death"):
        note("death", point)
        os.kill(os.getpid(), signal.SIGKILL)


def die_soon(point: str) -> None:
    """Kill the process at a moment while something else is done, unless an earlier one has."""
    if [point] in noted("death"):
        return
    note("death", point)

    def kill() -> None:
        time.sleep(random.uniform(0.0, WRITING_S))
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


def effect(step: int) -> str:
    """What a step does outside of the task: a line in the journal, with another value each time."""
    die(f"begun {step}")
    value = f"{step}: {random.random()}"
    note("effect", step, value)
    die(f"done {step}")
    die_soon(f"writing {step}")
    return value


async def effect_later(step: int) -> str:
    await asyncio.sleep(0)
    return effect(step)


@agent.skill()
async def work(turn: Turn) -> list[str]:
    """Do five steps."""
    results: list[str] = []
    note("progress", await turn.recall("progress", 0))
    note("same", turn.now().isoformat(), turn.random(), str(turn.uuid()), turn.new_call_id())
    for step in range(STEPS):
        result: str = await turn.step("step#", effect_later if step % 2 else effect, step)
        note("result", step, result)
        await turn.remember("progress", step + 1)
        die(f"stored {step}")
        results.append(result)
    return results


def end_with(parent: int) -> None:
    """End this process when its parent has ended."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


if __name__ == "__main__":
    for library in (*LIBRARIES, "a2a_grpc.store.sql", "asyncpg", "sqlalchemy.dialects.postgresql.asyncpg"):
        importlib.import_module(library)
    while True:
        parent, child = os.getpid(), os.fork()
        if not child:
            threading.Thread(target=end_with, args=(parent,), daemon=True).start()
            serve_command(agent)
            sys.exit()
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            break
