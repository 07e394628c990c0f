"""Make one call of the client in a process of its own, and tell what the call cost.

python tests/client/cost.py ADDRESS OPERATION [SETTING=VALUE ...]      prints JSON: error, message, grown_mib
"""

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from a2a_grpc import Client, connect
from a2a_grpc.errors import A2AError


def held_mib(name: str) -> float:
    """Return the memory that this process holds: VmRSS now, VmHWM at the most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


async def use(client: Client, operation: str) -> None:
    """Read a task, or the events of one."""
    if operation == "GetTask":
        await client.get("t-1")
        return
    async with client.subscribe("t-1") as events:
        async for _ in events:
            pass


async def cost(address: str, operation: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Make the call once against nothing, so that all modules are there, then against the address."""
    with suppress(A2AError):
        async with connect("127.0.0.1:1", connect_timeout_s=0.2, give_up_after_s=0) as client:
            await use(client, operation)
    before = held_mib("VmHWM")
    error: Exception | None = None
    try:
        async with connect(address, **settings) as client:
            await use(client, operation)
    except A2AError as raised:
        error = raised
    return {"error": type(error).__name__, "message": str(error), "grown_mib": held_mib("VmHWM") - before}


if __name__ == "__main__":
    pairs = (pair.partition("=") for pair in sys.argv[3:])
    chosen = {name: json.loads(value) for name, _, value in pairs}
    print(json.dumps(asyncio.run(cost(sys.argv[1], sys.argv[2], chosen))))
