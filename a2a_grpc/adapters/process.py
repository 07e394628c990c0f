"""A program that runs, with its pipes, its time limit and its end."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Self, cast

READ_BYTES = 64 * 1024
"""The largest piece of output. A line that is longer comes in several pieces."""
KEPT_ERROR_BYTES = 2048
"""So many bytes from the end of the standard error are written to the log."""
TERM_S = 2.0
"""Seconds between SIGTERM and SIGKILL for a program that has to stop."""
GRACE_S = 1.0
"""How long the output is still read after the program has ended, in seconds. Its children may hold the output open and
print more. After this time they are killed."""
LAST_READS = 32
"""How many pieces of output are still read after `GRACE_S`. What the pipe and its buffer hold at that time is fewer."""


class Program(asyncio.subprocess.SubprocessStreamProtocol):
    """A program in a process group of its own.

    It is a protocol of asyncio, as `Process.wait` waits for the end of the pipes as well in some versions of Python.

    Guarantees: the program and the children in its group have ended when `served` is left; a child that keeps the pipes
    open keeps nobody waiting for more than a few seconds.

    Attributes:
        errors: The end of the standard error.
        is_late: True if the program was stopped because of its time limit.
    """

    def __init__(self) -> None:
        super().__init__(limit=READ_BYTES, loop=asyncio.get_running_loop())
        self.errors = b""
        self.is_late = False
        self._has_ended = asyncio.Event()
        self._reading_errors: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, words: Sequence[str], *, shell: bool, env: Mapping[str, str]) -> Self:
        """Start a program, or the text of a shell, with these variables. Raise OSError if it cannot be started."""
        loop, pipe = asyncio.get_running_loop(), asyncio.subprocess.PIPE
        if shell:
            _, program = await loop.subprocess_shell(
                cls, words[0], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=env
            )
        else:
            _, program = await loop.subprocess_exec(
                cls, *words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=env
            )
        return program

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._process = cast(asyncio.SubprocessTransport, transport)
        super().connection_made(transport)

    def process_exited(self) -> None:
        super().process_exited()
        self._has_ended.set()

    @asynccontextmanager
    async def served(self, given: bytes, timeout_s: float) -> AsyncIterator[None]:
        """Write the input, and read the standard error. Stop the program after `timeout_s`, if this is not 0.

        At the end of the block, stop the program, and wait until it is gone.
        """
        self._reading_errors = asyncio.create_task(self._read_errors(), name="errors of a program")
        tasks = [self._reading_errors, asyncio.create_task(self._feed(given), name="input of a program")]
        if timeout_s:
            tasks.append(asyncio.create_task(self._stop_after(timeout_s), name="time limit of a program"))
        try:
            yield
        finally:
            try:
                await self._stop()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._process.close()  # a child that has left the group may keep the pipes open

    async def output(self) -> AsyncGenerator[bytes, None]:
        """Yield what is printed, to its end. Once the program has ended, its children do not keep the output open."""
        assert self.stdout is not None
        over = asyncio.create_task(self._kill_children(), name="children of a program")
        reading = None
        try:
            left = LAST_READS
            while left:
                reading = asyncio.create_task(self.stdout.read(READ_BYTES), name="output of a program")
                await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
                if over.done():
                    left -= 1
                    await asyncio.wait({reading}, timeout=GRACE_S)
                if not reading.done() or not (read := reading.result()):
                    return
                yield read
        finally:
            over.cancel()
            if reading is not None:
                reading.cancel()

    async def ended(self) -> int:
        """Wait for the end of the program. Kill what it has left behind. Return its exit code."""
        await self._has_ended.wait()
        self._signal(signal.SIGKILL)  # a child would keep the standard error open
        code = self._process.get_returncode() or 0
        if code and self._reading_errors is not None:
            await asyncio.wait({self._reading_errors}, timeout=GRACE_S)
        return code

    async def _feed(self, given: bytes) -> None:
        """Write the input. A program that reads only a part of it is no error."""
        assert self.stdin is not None
        with suppress(BrokenPipeError, ConnectionResetError):
            self.stdin.write(given)
            await self.stdin.drain()
            self.stdin.close()
            await self.stdin.wait_closed()

    async def _read_errors(self) -> None:
        """Read the standard error to its end. Keep the last part."""
        assert self.stderr is not None
        while read := await self.stderr.read(READ_BYTES):
            self.errors = (self.errors + read)[-KEPT_ERROR_BYTES:]

    async def _kill_children(self) -> None:
        """Wait for the end of the program, and for GRACE_S. Kill what it has left behind."""
        await self._has_ended.wait()
        await asyncio.sleep(GRACE_S)
        self._signal(signal.SIGKILL)

    async def _stop_after(self, timeout_s: float) -> None:
        await asyncio.sleep(timeout_s)
        if not self._has_ended.is_set():
            self.is_late = True
            await self._stop()

    async def _stop(self) -> None:
        """End the program and those that it has started. Wait until it is gone."""
        self._signal(signal.SIGTERM)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_ended.wait(), TERM_S)
        finally:  # also if this wait is canceled, and for programs of the group that ignore SIGTERM
            self._signal(signal.SIGKILL)
        await self._has_ended.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the group is gone
            os.killpg(self._process.get_pid(), number)
