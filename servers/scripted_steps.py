"""The steps of servers/scripted.py. Each is a function, whose signature is the schema of the step."""

import asyncio
import base64
import inspect
import time

from a2a_grpc import AuthRequired, Completed, Failed, InputRequired, Part, Rejected, Turn
from a2a_grpc.parts import value


async def artifact(turn: Turn, id: str = "", name: str = "", text: str = "", data: object = None, raw_base64: str = "",
                   url: str = "", append: bool = False, last: bool = False) -> None:  # fmt: skip
    raw = Part(raw=base64.b64decode(raw_base64)) if raw_base64 else Part(url=url) if url else Part(text=text)
    content = Part(data=value(data)) if data is not None else raw
    await turn.artifact(content, id=id, name=name, append=append, last_chunk=last)


async def chunks(
    turn: Turn, id: str = "chunks", count: int = 1, text: str = "chunk {i} ", interval_s: float = 0
) -> None:
    for i in range(count):
        await turn.artifact(text.replace("{i}", str(i)), id=id, append=i > 0, last_chunk=i == count - 1)
        await asyncio.sleep(interval_s)


async def ignore_cancel(turn: Turn, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            await asyncio.sleep(end - time.monotonic())
        except asyncio.CancelledError:
            continue


async def status(turn: Turn, text: str) -> None:
    await turn.status(text)


async def sleep(turn: Turn, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def block(turn: Turn, seconds: float) -> None:
    await turn.in_thread(time.sleep, max(0.0, seconds))


def ending(error: type[Exception]):
    async def end(turn: Turn, text: str) -> None:
        raise error(text)

    return end


ENDS = {
    "input": InputRequired,
    "auth": AuthRequired,
    "complete": Completed,
    "reject": Rejected,
    "fail": Failed,
    "message": Completed,
    "raise": RuntimeError,
}
STEPS = {step.__name__: step for step in (artifact, chunks, ignore_cancel, status, sleep, block)}
STEPS |= {name: ending(error) for name, error in ENDS.items()}


def bound(step: object) -> tuple:
    """Return the function of a step and its arguments. Raise ValueError or TypeError if the step is malformed."""
    if not isinstance(step, dict) or len(step) != 1 or (name := next(iter(step))) not in STEPS:
        raise ValueError(f"must be an object with one key of: {', '.join(STEPS)}")
    function, given = STEPS[name], step[name]
    bind = inspect.signature(function).bind
    _, *arguments = (bind(None, **given) if isinstance(given, dict) else bind(None, given)).arguments.items()
    for key, argument in arguments:
        kind = function.__annotations__[key]
        fits = isinstance(argument, (int, float) if kind is float else kind)
        if not fits or (kind in (int, float) and isinstance(argument, bool)):
            raise ValueError(f"'{name}': {key} must be of type {kind.__name__}")
        if key == "raw_base64":
            base64.b64decode(argument, validate=True)
    return function, dict(arguments)
