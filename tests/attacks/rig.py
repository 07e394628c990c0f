"""Starts a server, a good client and an attack, each a process of its own, and measures what the attack costs.

    async with Target.ours("--max-calls", "100") as target:
        harm = await attacked(target, attack("rapid_reset", target, connections=40, seconds=5))
        harm.check(p99_ms=100, grown_mib=128)

`attacked` takes any awaitable as the attack: a program (`run`), a thread (`asyncio.to_thread`) or a coroutine.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.forks import ROOT as ROOT
from tests.forks import Forked
from tests.harness import run_program, started

LOOPS = [pytest.param((), id="asyncio"), pytest.param(("--uvloop",), id="uvloop", marks=pytest.mark.long)]
"""Options of the event loops with which an attack is repeated."""
MiB = 1 << 20
REFUSED_STREAM = "RST_STREAM with error code 7"
SAMPLE_S = 0.05
"""Between two looks at a process's memory."""
GOODBYE_S = 2.0
"""How long a program has to end by itself: a server waits longer for its tasks."""
SETTLE_S = 0.5
"""The good client goes on for so long after the attack: what the attack left behind shows too."""


class Process:
    """A Python program of this repository that tells events as JSON lines.

    `async with Process(…)` waits for its event `ready`. Leaving the block ends the process. What it writes to standard
    error is kept: `log()`.
    """

    def __init__(self, *command: str, env: dict[str, str] | None = None) -> None:
        self._command = [sys.executable, *command]
        self._env = {**os.environ, **(env or {})}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._input = -1
        """The end of the pipe that is the standard input of the process; -1 once it is closed."""
        self.process: asyncio.subprocess.Process | Forked
        self.ready: dict[str, Any]
        """The event `ready`."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    async def __aenter__(self) -> Self:
        theirs, self._input = os.pipe()
        try:
            self.process = await started(self._command, self._env, stdin=theirs, stderr=self._log.fileno())
        finally:
            os.close(theirs)
        try:
            self.ready = await self.until("ready")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_input()
        if self.is_alive:
            with suppress(ProcessLookupError):
                self.process.terminate()
            try:
                await asyncio.wait_for(self.process.communicate(), GOODBYE_S)
            except TimeoutError:
                with suppress(ProcessLookupError):  # it has ended at this moment
                    self.process.send_signal(signal.SIGKILL)
                await self.process.communicate()
        self._log.close()

    def end_input(self) -> None:
        """Close the standard input of the process."""
        if self._input != -1:
            os.close(self._input)
            self._input = -1

    async def until(self, event: str) -> dict[str, Any]:
        """Return the next event of this name. Raises AssertionError if the process ends before."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told: dict[str, Any] = json.loads(line)
            if told["event"] == event:
                return told
        await self.process.wait()
        raise AssertionError(f"{self._command} ended: {self.log()}")

    def log(self) -> str:
        """Return what the process wrote to standard error so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def rss_bytes(self) -> int:
        """Return the resident memory of the process and of its descendants."""
        return sum(_rss_bytes(pid) for pid in _family(self.pid))


class Target(Process):
    """A server that is attacked."""

    @classmethod
    def ours(cls, *options: str, program: str = "servers/scripted.py", env: dict[str, str] | None = None) -> Self:
        """Return a program of servers/ on free ports, with a memory store unless the options name another."""
        command = [program, "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *options]
        return cls(*command, env={"A2A_GRPC_STORE": "memory:", **(env or {})})

    @classmethod
    def bare(cls) -> Self:
        """Return a bare grpc.aio server with gRPC's defaults."""
        return cls("-m", "tests.attacks.bare")

    @property
    def address(self) -> str:
        return str(self.ready["grpc"])

    @property
    def http(self) -> str:
        """URL of the HTTP listener (ours only)."""
        return str(self.ready["http"])


class GoodClient(Process):
    """A client in a process of its own that makes one small call after another."""

    def __init__(self, target: Target | str, *, pause_s: float = 0.01, tenant: str = "") -> None:
        address = target if isinstance(target, str) else target.address
        super().__init__("-m", "tests.attacks.good", address, str(pause_s), tenant)

    async def stop(self) -> dict[str, Any]:
        """End it. Return what it saw: calls, errors (text to count), p50_ms, p99_ms, worst_ms."""
        self.end_input()
        return await self.until("seen")


@dataclass(frozen=True, slots=True)
class Harm:
    """What an attack did to the server and to the good client beside."""

    calls: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    before_mib: float
    peak_mib: float
    after_mib: float
    is_alive: bool
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def grown_mib(self) -> float:
        """The server's memory at its highest, beyond what it was before the attack."""
        return self.peak_mib - self.before_mib

    def check(self, *, p99_ms: float, grown_mib: float, may_be_refused: bool = False) -> None:
        """Raise AssertionError if the good client had an error or waited longer, or the server took more memory.

        `may_be_refused`: REFUSED_STREAM is no error, as a proxy may answer: nothing was done, the client may repeat.
        """
        assert self.is_alive, f"the server has ended: {self}"
        errors = [text for text in self.errors if not (may_be_refused and REFUSED_STREAM in text)]
        assert not errors, f"the good client had errors: {self}"
        assert self.calls > 0, f"the good client made no call: {self}"
        assert self.p99_ms < p99_ms, f"the good client waited: {self}"
        assert self.grown_mib < grown_mib, f"the server took memory: {self}"


async def attacked(
    target: Target,
    attack: Awaitable[Any],
    *,
    settle_s: float = SETTLE_S,
    client_of: str | None = None,
    tenant: str = "",
) -> Harm:
    """Run the attack beside a good client, of another address or tenant if given, such as a proxy's.

    Return what both the client and the server's memory showed.
    """
    async with GoodClient(client_of or target, tenant=tenant) as good:
        before = peak = target.rss_bytes()
        going = asyncio.ensure_future(attack)
        try:
            while not going.done():
                await asyncio.wait([going], timeout=SAMPLE_S)
                peak = max(peak, target.rss_bytes())
            await going
        finally:
            going.cancel()
        for _ in range(int(settle_s / SAMPLE_S)):
            await asyncio.sleep(SAMPLE_S)
            peak = max(peak, target.rss_bytes())
        seen = await good.stop()
    return Harm(
        calls=seen["calls"],
        p50_ms=round(seen["p50_ms"], 1),
        p99_ms=round(seen["p99_ms"], 1),
        worst_ms=round(seen["worst_ms"], 1),
        before_mib=round(before / MiB, 1),
        peak_mib=round(peak / MiB, 1),
        after_mib=round(target.rss_bytes() / MiB, 1),
        is_alive=target.is_alive,
        errors=seen["errors"],
    )


async def attack(
    name: str, target: Target | str, *, connections: int, seconds: float, program: str = "floods"
) -> dict[str, Any]:
    """Run an attack of `floods`, or of `calls`, on a server or an address, in a process of its own. Return the attack's
    counts."""
    address = target if isinstance(target, str) else target.address
    told = await run("-m", f"tests.attacks.{program}", name, address, str(connections), str(seconds))
    return dict(json.loads(told))


async def run(*command: str, timeout_s: float = 120.0) -> str:
    """Run a Python program of this repository to its end. Return its standard output; AssertionError if it fails."""
    code, out, err = await run_program(*command, timeout_s=timeout_s)
    assert code == 0, err
    return out


def _family(pid: int) -> list[int]:
    """Return the process with its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def _rss_bytes(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
