"""The client against servers/scripted.py, both with this interpreter, through a proxy that cuts; prints what came."""

import asyncio
import json
from typing import Any

from a2a_grpc import Client, Task, connect, text_of
from a2a_grpc.lifecycle import state_name
from tests.harness import Program, run_program
from tests.proxy import Proxy


async def resumed(client: Client, proxy: Proxy) -> list[int | None]:
    """Events and last seq of a stream of 300 chunks that is cut three times, with the number of cuts."""
    count = cuts = 0
    async with client.stream({"script": [{"chunks": {"count": 300, "interval_s": 0.001}}]}) as events:
        async for _ in events:
            count += 1
            if count in (50, 150, 250):
                proxy.cut()
                cuts += 1
    return [count, events.seq, cuts]


async def started(client: Client) -> str:
    task = await client.start({"script": [{"sleep": 60}]})
    assert isinstance(task, Task)
    return task.id


async def waited(client: Client) -> str:
    """What `wait` gives for a task that is canceled meanwhile."""
    task_id = await started(client)
    waiting = asyncio.create_task(client.wait(task_id))
    await client.cancel(task_id)
    return state_name((await waiting).status.state)


async def left(client: Client) -> str:
    """The state of a task that nobody waits for any more."""
    task_id = await started(client)
    async with client.subscribe(task_id) as events:
        async for _ in events:
            if state_name(events.state) == "WORKING":
                break
    return state_name((await client.get(task_id)).status.state)


async def failure(target: str) -> str:
    try:
        async with connect(target, connect_timeout_s=0.3) as client:
            await client.get("t-none")
    except Exception as error:
        return type(error).__name__
    return "none"


async def main() -> None:
    seen: dict[str, Any] = {}
    async with asyncio.timeout(90), Program.server("servers/scripted.py") as server:
        async with Proxy(server.address) as proxy, connect(proxy.address) as client:
            seen["sent"] = text_of(await client.send("hello"))
            seen["resumed"] = await resumed(client, proxy)
            seen["waited"] = await waited(client)
            seen["left"] = await left(client)
        async with connect(server.http) as client:
            seen["card"] = (await client.card()).name
        seen["closed"] = await failure("http://127.0.0.1:9")
        seen["unknown"] = await failure("http://nowhere.invalid")
        seen["not_found"] = await failure(server.address)
        exit_code, _, _ = await run_program("-m", "a2a_grpc", "stream", "-a", server.address, "hello")
        seen["exit_code"] = exit_code
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
