"""An agent that asks three questions between the pieces that it yields, as a program of its own.

Each piece says what the answer and the turn say.
"""

from collections.abc import AsyncIterator

from a2a_grpc import Agent, Turn
from a2a_grpc.cli import serve_command

agent = Agent("Quiz", "Asks three questions.")


@agent.skill("quiz")
async def quiz(turn: Turn) -> AsyncIterator[str]:
    """Asks."""
    yield f"{turn.text} by {turn.metadata['by']}:"
    for number in (1, 2, 3):
        answer = await turn.ask({"question": number})
        yield f" {answer} {answer.data} by {answer.metadata['by']} to {turn.text} by {turn.metadata['by']};"


if __name__ == "__main__":
    serve_command(agent)
