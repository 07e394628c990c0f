"""A bus in a process of its own, told by lines of JSON what to do: `python -m tests.bus.process BUS STORE`."""

import asyncio
import json
import signal
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from a2a_grpc.bus import Bus, open_bus
from a2a_grpc.bus.protocol import Key
from tests.harness import ROOT


class OtherProcess:
    """Listens and wakes in another process, with a bus of these URLs."""

    def __init__(self, bus_url: str, store_url: str = "memory:") -> None:
        self._urls = (bus_url, store_url)
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bus.process", *self._urls,
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert await self._told() == "ready"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self.signal(signal.SIGCONT)
            await asyncio.wait_for(self._process.communicate(b""), 30)  # the end of its input is the end of it

    async def listen(self, key: Key) -> None:
        """Returns once it listens."""
        await self._tell("listen", key)
        assert await self._told() == "listening"

    async def wake(self, key: Key) -> None:
        """Returns once it has woken."""
        await self._tell("wake", key)
        assert await self._told() == "woke"

    async def woken(self) -> Key:
        """The key of the next wake that it hears."""
        told = await self._told()
        return tuple(told) if isinstance(told, list) else str(told)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        self._process.kill()
        await self._process.communicate()

    async def _tell(self, verb: str, key: Key) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, key]).encode() + b"\n")
        await self._process.stdin.drain()

    async def _told(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(await asyncio.wait_for(self._process.stdout.readline(), 30))


def tell(what: Any) -> None:
    print(json.dumps(what), flush=True)


async def report(bus: Bus, key: Key) -> None:
    """Tells every wake of a key."""
    with bus.listen(key) as topic:
        tell("listening")
        while True:
            await topic.wait(topic.wakes)
            tell(key)


async def main(bus_url: str, store_url: str) -> None:
    bus = open_bus(bus_url, store_url)
    await bus.start()
    tell("ready")
    reports = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, told = json.loads(line)
        key = tuple(told) if isinstance(told, list) else told
        if verb == "listen":
            reports.append(asyncio.create_task(report(bus, key)))
        else:
            bus.wake(key)
            tell("woke")
    for task in reports:
        task.cancel()
    await bus.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
