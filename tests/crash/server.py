"""A server of the worker as a process that can be killed, paused and started again where it was."""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness import Process, started
from tests.ports import free_address

START_S = 60.0
SETPRIV = shutil.which("setpriv")
DIES_WITH_US = (SETPRIV, "--pdeathsig=KILL", "--") if SETPRIV else ()
"""So that no server, least of all a paused one, outlives the tests however they end."""


class WorkerServer:
    """A process on an address that stays the same over its lives; what it logs is in `log`. Leaving the block ends it.

    `http` adds the listener with the probes; `module` is the program.
    """

    def __init__(
        self,
        store: str,
        folder: Path,
        *options: str,
        name: str = "server",
        http: bool = False,
        module: str = "tests.crash.worker",
    ) -> None:
        self.address = free_address()
        self.http = free_address() if http else "off"
        self.log = folder / f"{name}.log"
        self.lives = 0
        self._env = {**os.environ, "JOURNAL": str(folder / "journal")}
        self._options = ("--listen", self.address, "--http-listen", self.http, "--store", store, *options)
        self._module = module
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def spawn(self, *, resumable: bool = True) -> None:
        """Starts the process, and waits for nothing."""
        assert not self.is_running
        self.lives += 1
        with self.log.open("ab") as log:
            self._process = await started(
                [sys.executable, "-m", self._module, "-o", "json", "--drain-grace-s", "0", *self._options],
                {**self._env, "RESUMABLE": str(int(resumable))},
                stderr=log.fileno(),
                before=DIES_WITH_US,
            )

    async def ready(self) -> None:
        """Waits until the server takes calls."""
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            while line := await self._process.stdout.readline():
                if json.loads(line)["event"] == "ready":
                    return
        raise AssertionError(f"the server does not start:\n{self.log.read_text()[-3000:]}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, *, resumable: bool = True) -> None:
        await self.spawn(resumable=resumable)
        await self.ready()

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.communicate()

    def pause(self) -> None:
        """SIGSTOP: not an instruction more until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
