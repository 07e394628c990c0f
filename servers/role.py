"""Three agents for a pipeline. One gathers notes, one makes a text of them, and one reviews the text.

    python servers/role.py --role research --listen 127.0.0.1:50051

--role is research (the default), write or review. The other options are those of `a2a-grpc serve`. The command line
can serve each of them, too: a2a-grpc serve servers/role.py:write
"""

import argparse
import sys

from a2a_grpc import Agent, Rejected, Turn
from a2a_grpc.cli import serve_command

research = Agent("Research", "Gathers notes about a subject.")
write = Agent("Write", "Makes a text of notes.")
review = Agent("Review", "Counts the words of a text, and says whether they will do.")

AGENTS = {"research": research, "write": write, "review": review}


async def given(turn: Turn, doing: str) -> str:
    """Report to the caller what the agent does and with which earlier tasks. Return the text to work on."""
    text = turn.text.strip()
    if not text:
        raise Rejected("There is no text in the message.")
    about = ", ".join(turn.message.reference_task_ids) or "no earlier task"
    await turn.status(f"{doing}; it refers to {about}")
    return text


@research.skill("research", examples=["a lighthouse"])
async def gather(turn: Turn) -> str:
    """Gather notes about the subject that the message names, one in each line."""
    subject = await given(turn, "gathering notes")
    words = subject.split()
    return "\n".join(
        [
            f"- the subject is {subject}",
            f"- that takes {len(words)} words, of which '{max(words, key=len)}' is the longest",
            f"- it begins with '{subject[0]}' and ends with '{subject[-1]}'",
        ]
    )


@write.skill("write", examples=["- the subject is a lighthouse"])
async def compose(turn: Turn) -> str:
    """Write one paragraph from the notes in the message."""
    notes = await given(turn, "writing")
    sentences = [line.removeprefix("- ").strip() for line in notes.splitlines() if line.strip("- ")]
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


@review.skill("review", examples=["The subject is a lighthouse."])
async def judge(turn: Turn) -> str:
    """Review the text in the message."""
    words = len((await given(turn, "reviewing")).split())
    return f"{words} words: {'ready to print' if words >= 10 else 'too short'}."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--role", choices=AGENTS, default="research")
    chosen, sys.argv[1:] = parser.parse_known_args()
    if "--help" in sys.argv:
        print(__doc__)
    serve_command(AGENTS[chosen.role])
