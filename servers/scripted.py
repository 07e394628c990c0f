"""An agent that does what its messages say, step by step: for testing clients.

A message with the data part {"script": [step, …]} plays the steps in order; a script without an end completes. After
{"input": …} the next message goes on, with a script of its own if it brings one. Any other message is echoed.
"""

import asyncio
import base64
import time

from a2a_grpc import (
    Agent,
    AuthRequired,
    Completed,
    Failed,
    InputRequired,
    InvalidRequestError,
    Message,
    Part,
    Rejected,
    Turn,
)
from a2a_grpc.cli import serve_command
from a2a_grpc.errors import Violation
from a2a_grpc.parts import data_of, value

NUMBER = (int, float)
ARTIFACT = {
    **dict.fromkeys(("id", "name", "text", "raw_base64", "url"), str),
    "data": object,
    "append": bool,
    "last": bool,
}
CHUNKS = {"id": str, "count": int, "text": str, "interval_s": NUMBER}
STEPS = {
    **dict.fromkeys(("status", "input", "auth", "complete", "reject", "fail", "raise", "message"), str),
    **dict.fromkeys(("sleep", "block", "ignore_cancel"), NUMBER),
    "artifact": ARTIFACT,
    "chunks": CHUNKS,
}
ENDS = {"input": InputRequired, "auth": AuthRequired, "complete": Completed, "reject": Rejected, "fail": Failed}

agent = Agent("Scripted", "Plays scripts, to test clients with.", input_modes=["*/*"], output_modes=["*/*"])


def check(message: Message) -> None:
    """Refuses a malformed script, naming the step."""
    script = script_of(message)
    if not isinstance(script, list):
        raise InvalidRequestError.of(Violation("script", "must be a list of steps"))
    for place, step in enumerate(script):
        problem = mistake(step, STEPS, f"script[{place}]")
        if not problem and len(step) != 1:
            problem = f"must have one key, not {len(step)}"
        if not problem and "message" in step and (len(script) > 1 or message.task_id):
            problem = "'message' must be the sole step of a first message"
        if problem:
            raise InvalidRequestError.of(Violation(f"script[{place}]", problem))


def mistake(given: object, kind: object, path: str) -> str:
    """What is wrong with a value, "" for nothing."""
    if isinstance(kind, dict):
        if not isinstance(given, dict):
            return f"{path} must be an object"
        unknown = [f"{path} has no '{key}'; there are {', '.join(kind)}" for key in given if key not in kind]
        return next(filter(None, unknown or [mistake(given[key], kind[key], f"{path}.{key}") for key in given]), "")
    if path.endswith(".raw_base64") and isinstance(given, str) and len(given) % 4:
        return f"{path} must be base64"
    fits = isinstance(given, kind) and (kind in (bool, object) or not isinstance(given, bool))
    return "" if fits else f"{path} must be {'a number' if kind in (NUMBER, int) else kind.__name__}"


def script_of(message: Message) -> list:
    data = data_of(message)
    return data.get("script", []) if isinstance(data, dict) else []


@agent.router
def route(message: Message) -> str:
    check(message)
    return "reply" if any("message" in step for step in script_of(message)) else "play"


@agent.skill("reply", answers="message", validate=check)
async def reply(turn: Turn) -> str:
    """Answers with a bare message."""
    return script_of(turn.message)[0]["message"]


@agent.skill("play", validate=check)
async def play(turn: Turn) -> None:
    """Plays a script, or echoes."""
    steps = script_of(turn.message)
    if not steps:
        await turn.artifact(list(turn.message.parts), name="echo", last_chunk=True)
    while steps:
        step, *steps = steps
        if "input" in step and steps:
            await turn.ask(step["input"])
            steps = script_of(turn.message) or steps
        else:
            await perform(turn, *next(iter(step.items())))


async def perform(turn: Turn, key: str, given) -> None:
    match key:
        case "status":
            await turn.status(given)
        case "artifact":
            await turn.artifact([content_of(given)], id=given.get("id", ""), name=given.get("name", ""),
                                append=given.get("append", False), last_chunk=given.get("last", False))  # fmt: skip
        case "chunks":
            count, text = given.get("count", 1), given.get("text", "chunk {i} ")
            for i in range(count):
                await turn.artifact(text.replace("{i}", str(i)), id=given.get("id", "chunks"), append=i > 0,
                                    last_chunk=i == count - 1)  # fmt: skip
                await asyncio.sleep(given.get("interval_s", 0))
        case "sleep":
            await asyncio.sleep(given)
        case "block":
            await turn.in_thread(time.sleep, max(0, given))
        case "ignore_cancel":
            end = time.monotonic() + given
            while time.monotonic() < end:
                try:
                    await asyncio.sleep(end - time.monotonic())
                except asyncio.CancelledError:
                    continue
        case "raise":
            raise RuntimeError(given)
        case _:
            raise ENDS[key](given)


def content_of(artifact: dict) -> Part:
    if "raw_base64" in artifact:
        return Part(raw=base64.b64decode(artifact["raw_base64"]))
    if "data" in artifact:
        return Part(data=value(artifact["data"]))
    return Part(url=artifact["url"]) if "url" in artifact else Part(text=artifact.get("text", ""))


if __name__ == "__main__":
    serve_command(agent)
