"""A counter that survives its replica: it keeps its progress in an artifact, and continues at another replica.

A data part {"to": 20, "step_seconds": 0.1} sets how far and how fast.
"""

import asyncio
import os

from a2a_grpc import Agent, Turn, data_of
from a2a_grpc.cli import serve_command

agent = Agent("Counter", "Counts, and goes on where it stopped if its replica is lost.", resumable=True)


@agent.skill("count", examples=['{"to": 10, "step_seconds": 0.5}'])
async def count(turn: Turn) -> str:
    """Count. The artifact `checkpoint` holds the number that was reached, and the process that counts."""
    order = turn.data if isinstance(turn.data, dict) else {}
    last, seconds = int(order.get("to", 10)), float(order.get("step_seconds", 0.5))
    for number in range(reached(turn) + 1, last + 1):
        await asyncio.sleep(seconds)
        # One event is stored whole or not at all, so no number is lost or doubled.
        await turn.artifact({"count": number, "pid": os.getpid()}, id="checkpoint", name="checkpoint")
    return f"counted to {last} in {turn.attempt} attempts"


def reached(turn: Turn) -> int:
    """Return the number that an earlier attempt at this turn has reached; 0 at the first attempt."""
    if turn.attempt > 1 and turn.task is not None:
        for artifact in turn.task.artifacts:
            if artifact.artifact_id == "checkpoint":
                checkpoint = data_of(artifact)
                return int(checkpoint["count"]) if isinstance(checkpoint, dict) else 0
    return 0


if __name__ == "__main__":
    serve_command(agent)
