"""A command at a terminal of its own, at which a person types, with Ctrl-C and the arrow keys."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cli.terminal import A2A_GRPC, WITHIN_S, Written, environment, plain
from tests.harness import ROOT

WITH_TERMINAL = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""A program that makes its standard input the terminal whose keys it hears, and becomes another program."""
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


class Terminal:
    """A command at a terminal, at which a person types."""

    def __init__(self, screen: Written, keys: int, process: asyncio.subprocess.Process) -> None:
        self._screen = screen
        self._keys = keys
        self._process = process
        self._read = 0

    def type(self, text: str) -> None:
        os.write(self._keys, text.encode(errors="surrogateescape"))

    @property
    def written(self) -> str:
        """All that the terminal got so far, with the sequences that are for terminals only."""
        return self._screen.text.replace("\r\n", "\n")

    async def shows(self, words: str) -> str:
        """Wait until the terminal shows words after all that was waited for. Return what came before them."""
        text = await self._screen.until(lambda text: words in plain(text)[self._read :])
        shown = plain(text)
        found = shown.index(words, self._read)
        before, self._read = shown[self._read : found], found + len(words)
        return before

    async def interrupted(self, words: str = "") -> str:
        """Press Ctrl-C until the terminal shows words, or without words until the command ends.

        A signal that comes after the prompt, but before the program waits for keys, is noticed at the next key only.
        """
        for _ in range(60):
            if self._process.returncode is None:
                self.type(CTRL_C)
            try:
                async with asyncio.timeout(0.5):
                    if words:
                        return await self.shows(words)
                    await self._process.wait()
                    return ""
            except TimeoutError:
                continue
        raise AssertionError(f"Ctrl-C did not lead to {words!r}")

    async def ended(self) -> int:
        async with asyncio.timeout(WITHIN_S):
            return await self._process.wait()


@asynccontextmanager
async def typing_at(*arguments: str, state: Path, env: dict[str, str] | None = None) -> AsyncIterator[Terminal]:
    """`a2a-grpc ARGUMENTS` at a terminal, with what it keeps for its user below a folder."""
    ours, theirs = pty.openpty()
    keys = os.dup(ours)  # the other one is closed when the program has ended
    transport, screen = await asyncio.get_running_loop().connect_read_pipe(Written, os.fdopen(ours, "rb", 0))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WITH_TERMINAL, *A2A_GRPC, *arguments),
            cwd=ROOT,
            env=environment({"XDG_STATE_HOME": str(state), **(env or {})}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
    finally:
        os.close(theirs)
    try:
        yield Terminal(screen, keys, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        transport.close()
        os.close(keys)
