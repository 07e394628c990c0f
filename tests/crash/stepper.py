"""An agent whose job has four steps, and which kills its own process once at every point of the job.

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

from sqlalchemy import Engine, event

from a2a_grpc import Agent, Turn
from a2a_grpc.cli import serve_command
from tests.forks import LIBRARIES

STEPS = 4
POINTS = [f"{point} {step}" for step in range(STEPS) for point in ("begun", "done", "written", "writing", "stored")]
"""A step was begun; has had its effect; its result is written and not committed; at a random moment of the write; its
result is stored."""
WATCH_S = 0.2

agent = Agent("Stepper", "Does a job in four steps.", resumable=True)
journal = Path(os.environ.get("JOURNAL", os.devnull))


class Write:
    """The next write of a result."""

    step: int | None = None
    """The step whose result it is; None if the next write is not one of a result."""
    takes_s = 0.0
    """About the time that it takes."""
    killing: threading.Thread | None = None
    """Kills the process at a moment of the write."""


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


def die_while_writing(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    """Kill the process at a random moment of the write of a result that begins, unless an earlier one has died so."""

    def kill(point: str) -> None:
        time.sleep(random.uniform(0.0, Write.takes_s))
        die(point)

    point = f"writing {Write.step}"
    is_next = [f"written {Write.step}"] in noted("death") and [point] not in noted("death")
    if Write.step is not None and is_next and statement.startswith("INSERT INTO a2a_note"):
        Write.killing = threading.Thread(target=kill, args=(point,), daemon=True)
        Write.killing.start()


def die_before_commit(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    """Kill the process once it has written a result and not committed it, unless it is to die in another way."""
    if Write.step is not None and Write.killing is None and statement.startswith("INSERT INTO a2a_note"):
        die(f"written {Write.step}")


def effect(step: int) -> str:
    """What a step does outside of the task: a line in the journal, with another value each time."""
    die(f"begun {step}")
    value = f"{step}: {random.random()}"
    note("effect", step, value)
    die(f"done {step}")
    Write.step = step
    return value


async def effect_later(step: int) -> str:
    await asyncio.sleep(0)
    return effect(step)


@agent.skill()
async def work(turn: Turn) -> list[str]:
    """Do four steps."""
    results: list[str] = []
    await turn.remember("warm", 0)
    begun = time.monotonic()
    await turn.remember("warm", 1)
    Write.takes_s = time.monotonic() - begun
    note("progress", await turn.recall("progress", 0))
    note("same", turn.now().isoformat(), turn.random(), str(turn.uuid()), turn.new_call_id())
    for step in range(STEPS):
        result: str = await turn.step("step#", effect_later if step % 2 else effect, step)
        if Write.killing is not None:
            Write.killing.join()
        Write.step = None
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
    event.listen(Engine, "before_cursor_execute", die_while_writing)
    event.listen(Engine, "after_cursor_execute", die_before_commit)
    while True:
        parent, child = os.getpid(), os.fork()
        if not child:
            threading.Thread(target=end_with, args=(parent,), daemon=True).start()
            serve_command(agent)
            sys.exit()
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            break
