"""Text that arrives piece by piece. Each piece that the generator yields is sent before the next one is made."""

import asyncio
from collections.abc import AsyncIterator

from a2a_grpc import Agent, Turn
from a2a_grpc.cli import serve_command

SECONDS_A_WORD = 0.1

agent = Agent("Storyteller", "Tells a short story about a subject, word by word.")


@agent.skill("tell", tags=["text"], examples=["a lighthouse"])
async def tell(turn: Turn) -> AsyncIterator[str]:
    """Tell a story about the subject that the message names."""
    subject = turn.text.strip() or "a lighthouse"
    story = f"Once there was {subject}. Nobody had asked for it, but everybody came to see it, and so it stayed."
    for word in story.split(" "):
        yield word + " "
        await asyncio.sleep(SECONDS_A_WORD)


if __name__ == "__main__":
    serve_command(agent)
