"""An agent that chats and remembers. It finds what was said before in the other tasks of the context.

a2a-grpc serve servers/chat.py
a2a-grpc send --context c-1 "My name is Ada."
a2a-grpc send --context c-1 "What is my name?"
"""

import re

from a2a_grpc import Agent, Task, Turn, text_of
from a2a_grpc.cli import serve_command
from a2a_grpc.wire import ROLE_USER

agent = Agent("Chat", "Chats, and remembers what was said before.")

REMEMBERED = 20
"""The number of earlier tasks that the agent reads."""


def said_in(task: Task) -> list[tuple[str, str]]:
    """Return the messages of a task as a model needs them, in pairs of a role and a text, the oldest first."""
    lines = [("user" if said.role == ROLE_USER else "assistant", text_of(said)) for said in task.history]
    return [*lines, ("assistant", text_of(task))]


def answer(conversation: list[tuple[str, str]]) -> str:
    """Answer in place of a model, which would get the same conversation."""
    *before, (_, question) = conversation
    if "my name?" not in question:
        return f"Noted, that makes {sum(role == 'user' for role, _ in conversation)}."
    names = [found[1] for role, text in before if role == "user" and (found := re.search(r"name is (\w+)", text))]
    return f"{names[-1]}." if names else "You have not told me."


@agent.skill()
async def chat(turn: Turn) -> str:
    """Chat about all that was said before, and about the tasks that the message names."""
    earlier = [*await turn.referenced(), *await turn.context(REMEMBERED)]  # the newest first
    conversation = [line for task in reversed(earlier) for line in said_in(task)]
    return answer([*conversation, ("user", turn.text)])


if __name__ == "__main__":
    serve_command(agent)
