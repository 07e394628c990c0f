"""A worker for long jobs. A caller that asked for a callback gets the result by one; others read the task.

A data part {"seconds": 5} in the message says how long the job takes. A job that was begun before the worker was
restarted begins again.
"""

import asyncio
import time

from a2a_grpc import Agent, Completed, Turn
from a2a_grpc.agent.callback import key_in
from a2a_grpc.cli import serve_command
from a2a_grpc.parts import part

agent = Agent("Worker", "Does long jobs.", resumable=True)


@agent.skill("work", tags=["work", "jobs"], examples=['{"seconds": 5}'])
async def work(turn: Turn) -> Completed | None:
    """Work for some seconds. The result says how long the job took, and when it was finished."""
    wanted = turn.data if isinstance(turn.data, dict) else {}
    seconds = float(wanted.get("seconds", 5))
    await asyncio.sleep(seconds)
    await turn.artifact([part(f"done in {seconds:g}s"), part({"finished": time.time()})], name="result")
    return None if key_in(turn.message) else Completed("Task processed without callback.")


if __name__ == "__main__":
    serve_command(agent)
