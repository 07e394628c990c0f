"""A long task that reports its progress and can be canceled. It has ten steps of half a second by default.

A data part {"steps": 20, "step_seconds": 0.1} in the message changes that.
"""

import asyncio

from a2a_grpc import Agent, Turn
from a2a_grpc.cli import serve_command

agent = Agent("Cancellable", "Works in steps, tells its progress, stops when told to.")


@agent.skill("work", examples=['{"steps": 10, "step_seconds": 0.5}'])
async def work(turn: Turn) -> str:
    """Work in steps. The artifact `progress` has the part of the work that is done, from 0 to 1."""
    pace = turn.data if isinstance(turn.data, dict) else {}
    steps, seconds = int(pace.get("steps", 10)), float(pace.get("step_seconds", 0.5))
    for step in range(steps):
        await asyncio.sleep(seconds)  # if the task is canceled, the work ends here
        await turn.artifact({"progress": (step + 1) / steps}, id="progress", name="progress")
    return f"done in {steps} steps"


if __name__ == "__main__":
    serve_command(agent)
