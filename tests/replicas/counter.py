"""An agent that counts, as a program of its own.

`count N S`: an artifact `checkpoint` of N parts, one every S seconds, going on from the parts that are there. `ask Q`:
asks, and counts as the answer says. NOT_RESUMABLE in the environment makes it an agent whose runs cannot go on.
"""

import asyncio
import os

from a2a_grpc import Agent, Turn
from a2a_grpc.cli import serve_command

agent = Agent("Counter", "Counts.", resumable="NOT_RESUMABLE" not in os.environ)


@agent.skill("count")
async def count(turn: Turn) -> None:
    """Counts."""
    verb, _, rest = turn.text.partition(" ")
    if verb == "ask":
        _, _, rest = (await turn.ask(rest)).partition(" ")
    end, interval_s = rest.split()
    assert turn.task is not None
    done = sum(len(artifact.parts) for artifact in turn.task.artifacts)
    for i in range(done, int(end)):
        await turn.artifact(str(i), id="checkpoint", append=i > 0)
        await asyncio.sleep(float(interval_s))


if __name__ == "__main__":
    serve_command(agent)
