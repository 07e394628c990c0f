"""Serve a program: the message is its standard input, its standard output is the artifact."""

import asyncio
import codecs
import json
import logging
import math
import os
import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Literal

from google.protobuf.json_format import MessageToDict

from a2a_grpc.adapters.process import KEPT_ERROR_BYTES, READ_BYTES, Program
from a2a_grpc.agent import Agent, Failed, Turn
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.parts import Contents

logger = logging.getLogger("a2a_grpc.adapters")

OWN_VARIABLES = "A2A_GRPC_"
"""The variables that a program does not get, since they hold the passwords and tokens of the server."""

Chunk = Literal["lines", "bytes"]


def agent_of(
    command: str | Sequence[str],
    *,
    name: str = "",
    description: str = "",
    as_json: bool = False,
    chunk: Chunk = "lines",
    shell: bool = False,
    limit: int = 0,
    timeout_s: float = 0.0,
) -> Agent:
    """Return an agent that runs a program for each message.

    The program gets the text of the message on its standard input. What it prints becomes an artifact, piece by piece
    as it is printed. Exit code 0 is COMPLETED. Any other one is FAILED, and the log has the end of its standard error.
    The program gets the environment of the server, without the variables that begin with `A2A_GRPC_`.
    A canceled task sends SIGTERM to the process group of the program, and SIGKILL two seconds later. The programs that
    it has left behind are killed one second after its end.

    Args:
        command: The program with its arguments, as one text or as a list.
        name: The name of the agent; by default the name of the program.
        description: The description of the agent; by default it names the program.
        as_json: True to give the program one line of JSON instead of the text: `taskId`, `contextId`, and `message` in
            ProtoJSON.
        chunk: "lines" to send whole lines of text. "bytes" to send the bytes of a file as they are written.
        shell: True to run the command in a shell, with pipes and variables.
        limit: The number of programs that run at a time; more wait. 0 for two for each processor.
        timeout_s: Seconds after which a program that has not ended is stopped, and its task is FAILED. 0 for no limit.

    Raises:
        TypeError: The command is neither a text nor a list of texts.
        ConfigurationError: The command is empty or cannot be split into words, or `limit` or `timeout_s`
            is negative.
    """
    words = _words(command, shell=shell)
    if limit < 0:
        raise ConfigurationError(f"the limit of programs is {limit}; it must be 0 or more")
    if not 0 <= timeout_s < math.inf:
        raise ConfigurationError(f"the time limit of a program is {timeout_s}; it must be 0 or more seconds")
    own = os.path.basename(words[0].split()[0])
    agent = Agent(
        name or own,
        description or f"Runs the program {own}. The message is its input, its output is the result.",
        input_modes=["*/*"] if as_json else ["text/plain"],  # a text has no place for data and files
        output_modes=["text/plain"] if chunk == "lines" else ["application/octet-stream"],
    )
    places = asyncio.Semaphore(limit or 2 * (os.cpu_count() or 1))

    async def run(turn: Turn) -> AsyncIterator[Contents]:
        async with places:
            given = _json_line(turn) if as_json else turn.text.encode()
            # The program has ended before its place goes to the next one.
            running = _run(words, given, shell=shell, has_lines=chunk == "lines", timeout_s=timeout_s)
            async with aclosing(running) as pieces:
                async for piece in pieces:
                    yield piece

    agent.skill("run", name=own, description=agent.description)(run)
    return agent


def _words(command: str | Sequence[str], *, shell: bool) -> list[str]:
    """Return the words of a command. For a shell it is one word."""
    listed: object = [command] if isinstance(command, str) else command
    if not isinstance(listed, list | tuple) or not all(isinstance(word, str) for word in listed):
        raise TypeError(f"the command is {command!r}; it must be a text or a list of texts")
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise ConfigurationError(f"the command {command!r} cannot be split into words: {error}") from None
    if not words or not words[0].strip():
        raise ConfigurationError("the command is empty; name a program")
    if not shell:
        return words
    return [command if isinstance(command, str) else shlex.join(words)]


def _json_line(turn: Turn) -> bytes:
    """Return what the program gets with `as_json`."""
    given = {
        "taskId": turn.task.id if turn.task else "",
        "contextId": turn.context_id,
        "message": MessageToDict(turn.message),
    }
    return json.dumps(given, ensure_ascii=False).encode() + b"\n"


async def _run(
    words: Sequence[str], given: bytes, *, shell: bool, has_lines: bool, timeout_s: float
) -> AsyncGenerator[Contents, None]:
    """Run a program. Give its output in pieces. Raise Failed if it cannot be started, or ends with another code."""
    try:
        env = {name: text for name, text in os.environ.items() if not name.startswith(OWN_VARIABLES)}
        program = await Program.start(words, shell=shell, env=env)
    except OSError as error:
        logger.error("program not started program=%s error=%s", one_line(words[0]), one_line(str(error)))
        raise Failed("The program of this agent cannot be started.") from error
    async with program.served(given, timeout_s):
        async for piece in _pieces(program, has_lines=has_lines):
            yield piece
        code = await program.ended()
        if program.is_late:
            logger.error("program stopped program=%s timeout_s=%g", one_line(words[0]), timeout_s)
            raise Failed(f"The program has not ended within {timeout_s:g} s.")
        if code:
            said = one_line(program.errors.decode(errors="replace").strip(), KEPT_ERROR_BYTES)
            logger.error("program failed program=%s status=%d stderr=%s", one_line(words[0]), code, said)
            raise Failed(f"The program ended with the code {code}.")


async def _pieces(program: Program, *, has_lines: bool) -> AsyncIterator[Contents]:
    """Give the standard output as soon as it is there."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    line = ""
    async with aclosing(program.output()) as output:
        async for read in output:
            if not has_lines:
                yield read
                continue
            whole, end, line = (line + decoder.decode(read)).rpartition("\n")
            if end:
                yield whole + end
            elif len(line) > READ_BYTES:
                yield line
                line = ""
    if line := line + decoder.decode(b"", final=True):
        yield line
