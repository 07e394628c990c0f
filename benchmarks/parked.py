"""Measure what a task that waits in `ask` costs a server on SQLite: python benchmarks/parked.py [COUNT ...]

The server is a process of its own. Its handlers are let go at once. Prints the memory that the process has grown by at
each number of tasks, and the straight line through these figures: its slope is the cost of one task.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc.aio

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from a2a_grpc.lifecycle import INPUT_REQUIRED  # noqa: E402
from a2a_grpc.wire import ROLE_USER, A2AServiceStub, Message, Part, SendMessageRequest  # noqa: E402

AGENT = """
from a2a_grpc import Agent, Turn, serve
agent = Agent("Asker", "Asks.")
@agent.skill()
async def work(turn: Turn) -> str:
    "Asks."
    return await turn.ask("What is the date of your journey?")
serve(agent, ask_hold_s=0.1, listen="127.0.0.1:0", http_listen="off")
"""
WARM, AT_ONCE = 500, 50
SETTLE_S = 8.0
"""Until handlers are let go, and freed memory is given back."""
KiB, MiB = 1024, 1 << 20


def memory(pid: int) -> int:
    """Return the bytes of memory that belong to the process alone: files that it has mapped do not count."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * KiB for line in lines if line.startswith("Anonymous:"))


def line(points: list[tuple[int, int]]) -> tuple[float, float]:
    """Return slope and constant of the line of least squares."""
    count, bytes_ = ([point[place] for point in points] for place in (0, 1))
    middle, mean = sum(count) / len(points), sum(bytes_) / len(points)
    slope = sum((x - middle) * (y - mean) for x, y in points) / sum((x - middle) ** 2 for x in count)
    return slope, mean - slope * middle


async def park(stub: A2AServiceStub, count: int) -> None:
    message = Message(message_id="m", role=ROLE_USER, parts=[Part(text="book")])
    for _ in range(count // AT_ONCE):
        calls = [
            stub.SendMessage(SendMessageRequest(message=message), metadata=(("a2a-version", "1.0"),))
            for _ in range(AT_ONCE)
        ]
        for response in await asyncio.gather(*calls):
            assert response.task.status.state == INPUT_REQUIRED


async def main(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "agent.py").write_text(AGENT)
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'generated'}"}
        server = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "agent.py"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = next(line for line in server.stdout if line.startswith("Ready")).split("grpc=")[1].split()[0]
            async with grpc.aio.insecure_channel(address) as channel:
                stub = A2AServiceStub(channel)
                await park(stub, WARM)
                await asyncio.sleep(SETTLE_S)
                base, parked, points = memory(server.pid), 0, list[tuple[int, int]]()
                for count in counts:
                    await park(stub, count - parked)
                    parked = count
                    await asyncio.sleep(SETTLE_S)
                    grown = memory(server.pid) - base
                    points.append((count, grown))
                    print(
                        f"{count:6} parked tasks: {grown / MiB:5.1f} MiB, {grown / count / KiB:.2f} KiB each",
                        flush=True,
                    )
        finally:
            server.terminate()
            server.wait(30)
    slope, constant = line(points)
    print(f"each task {slope / KiB:.2f} KiB, once {constant / MiB:.1f} MiB")


if __name__ == "__main__":
    asyncio.run(main([int(argument) for argument in sys.argv[1:]] or [2_000, 5_000, 10_000, 20_000]))
