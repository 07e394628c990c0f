"""A counter that outlives its replica: it keeps how far it is in an artifact, and goes on from there somewhere else.

A data part {"to": 20, "step_seconds": 0.1} sets how far and how fast.
"""

import asyncio
import os

from a2a_grpc import Agent, Turn, data_of
from a2a_grpc.cli import serve_command

agent = Agent("Counter", "Counts, and goes on where it stopped if its replica is lost.", resumable=True)


@agent.skill("count", examples=['{"to": 10, "step_seconds": 0.5}'])
async def count(turn: Turn) -> str:
    """Count; the artifact `checkpoint` holds the number that it has come to, and the process that counts."""
    order = turn.data if isinstance(turn.data, dict) else {}
    last, seconds = int(order.get("to", 10)), float(order.get("step_seconds", 0.5))
    for number in range(reached(turn) + 1, last + 1):
        await asyncio.sleep(seconds)
        # One event: stored whole or not at all, so that no number is lost and none is told twice.
        await turn.artifact({"count": number, "pid": os.getpid()}, id="checkpoint", name="checkpoint")
    return f"counted to {last} in {turn.attempt} attempts"


def reached(turn: Turn) -> int:
    """What an earlier attempt at this turn has come to; 0 at the first one."""
    if turn.attempt > 1 and turn.task is not None:
        for artifact in turn.task.artifacts:
            if artifact.artifact_id == "checkpoint":
                checkpoint = data_of(artifact)
                return int(checkpoint["count"]) if isinstance(checkpoint, dict) else 0
    return 0


if __name__ == "__main__":
    serve_command(agent)
