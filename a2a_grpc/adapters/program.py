"""Serve a program: the message is its standard input, its standard output is the artifact."""

import asyncio
import codecs
import json
import logging
import os
import shlex
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Literal

from google.protobuf.json_format import MessageToDict

from a2a_grpc.agent import Agent, Failed, Turn
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.parts import Contents

logger = logging.getLogger("a2a_grpc.adapters")

READ_BYTES = 64 * 1024
"""The largest piece of output. A line that is longer comes in several pieces."""
KEPT_ERROR_BYTES = 2048
"""The end of the standard error that the log has."""
TERM_S = 2.0
"""Seconds between SIGTERM and SIGKILL for a program that has to stop."""

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
) -> Agent:
    """Return an agent that runs a program for each message.

    The program gets the text of the message on its standard input. What it prints becomes an artifact, piece by piece
    as it is printed. Exit code 0 is COMPLETED. Any other one is FAILED, and the log has the end of its standard error.
    The program gets the environment of the server, without the variables that begin with `A2A_GRPC_`.
    A canceled task sends SIGTERM to the process group of the program, and SIGKILL two seconds later.

    Args:
        command: The program with its arguments, as one text or as a list.
        name: The name of the agent; by default the name of the program.
        description: The description of the agent; by default it names the program.
        as_json: True to give the program one line of JSON instead of the text: `taskId`, `contextId`, and `message` in
            ProtoJSON.
        chunk: "lines" to send whole lines of text. "bytes" to send the bytes of a file as they are written.
        shell: True to run the command in a shell, with pipes and variables.
        limit: The number of programs that run at a time; more wait. 0 for two for each processor.

    Raises:
        TypeError: The command is neither a text nor a list of texts.
        ConfigurationError: The command is empty or cannot be split into words, or `limit` is negative.
    """
    words = _words(command, shell=shell)
    if limit < 0:
        raise ConfigurationError(f"the limit of programs is {limit}; it must be 0 or more")
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
            async with aclosing(_run(words, given, shell=shell, has_lines=chunk == "lines")) as pieces:
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


async def _run(words: Sequence[str], given: bytes, *, shell: bool, has_lines: bool) -> AsyncGenerator[Contents, None]:
    """Run a program. Give its output in pieces. Raise Failed if it cannot be started, or ends with another code."""
    process = await _started(words, shell=shell)
    feeding = asyncio.create_task(_feed(process, given), name="input of a program")
    errors = asyncio.create_task(_end_of_errors(process), name="errors of a program")
    try:
        async for piece in _pieces(process, has_lines=has_lines):
            yield piece
        code = await process.wait()
        if code:
            _signal(process, signal.SIGKILL)  # a program that it left behind would keep its standard error open
            said = one_line(await errors, KEPT_ERROR_BYTES)
            logger.error("program failed program=%s status=%d stderr=%s", one_line(words[0]), code, said)
            raise Failed(f"The program ended with the code {code}.")
    finally:
        try:
            await _end(process)
        finally:
            feeding.cancel()
            errors.cancel()
            await asyncio.gather(feeding, errors, return_exceptions=True)


async def _started(words: Sequence[str], *, shell: bool) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    env = {name: text for name, text in os.environ.items() if not name.startswith(OWN_VARIABLES)}
    try:
        if shell:
            return await asyncio.create_subprocess_shell(
                words[0], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=env
            )
        return await asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=env
        )
    except OSError as error:
        logger.error("program not started program=%s error=%s", one_line(words[0]), one_line(str(error)))
        raise Failed("The program of this agent cannot be started.") from error


async def _feed(process: asyncio.subprocess.Process, given: bytes) -> None:
    """Write the input. A program that reads only a part of it is no error."""
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(given)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _end_of_errors(process: asyncio.subprocess.Process) -> str:
    """Read the standard error to its end. Return the last part."""
    assert process.stderr is not None
    kept = b""
    while read := await process.stderr.read(READ_BYTES):
        kept = (kept + read)[-KEPT_ERROR_BYTES:]
    return kept.decode(errors="replace").strip()


async def _pieces(process: asyncio.subprocess.Process, *, has_lines: bool) -> AsyncIterator[Contents]:
    """Give the standard output as soon as it is there."""
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    line = ""
    while read := await process.stdout.read(READ_BYTES):
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


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program and the programs that it has started. Wait until it is gone."""
    _signal(process, signal.SIGTERM)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), TERM_S)
    finally:  # also if this wait is canceled, and for programs of the group that ignore SIGTERM
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the group is gone
        os.killpg(process.pid, number)
