"""Sends notifications of this interpreter's server to a receiver and to `push listen`; prints what came as JSON."""

import asyncio
import json
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE
from typing import Any

from aiohttp import web

from a2a_grpc import Notification, PushReceiver
from a2a_grpc.lifecycle import state_name
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.harness import Served, eventually, scripted, scripted_agent, serving

TOKEN = "t0ken"


async def received(served: Served) -> list[str]:
    """Have a receiver verify the notifications of a task. Return the last state, and the kinds of the events."""
    got: list[Notification] = []

    async def keep(notification: Notification) -> None:
        got.append(notification)

    receiver = PushReceiver(keep, jwks_url=f"{served.server.http_url}/.well-known/jwks.json")
    receiver.expect(TaskPushNotificationConfig(token=TOKEN))
    runner = web.AppRunner(receiver.application("/hook"), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sent = scripted({"artifact": "hello"})
    sent.configuration.task_push_notification_config.CopyFrom(
        TaskPushNotificationConfig(url=f"http://127.0.0.1:{runner.addresses[0][1]}/hook", token=TOKEN)
    )
    await served.send(sent)

    def states() -> list[str]:
        return [state_name(one.event.status.state) for one in got if hasattr(one.event, "status")]

    def the_end_is_there() -> None:
        assert "COMPLETED" in states()

    await eventually(the_end_is_there)
    await runner.cleanup()
    return [states()[-1], type(got[0].event).__name__]


async def listened(served: Served) -> dict[str, Any]:
    """Have `push listen` register itself, and print the end of a task."""
    task = await served.start({"input": "go?"})
    command = (
        "-m",
        "a2a_grpc",
        "push",
        "listen",
        f"--agent={served.server.grpc_address}",
        "--task",
        task.id,
        "-o",
        "json",
    )
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    while b"listening at" not in (line := await process.stderr.readline()):
        assert line, "it has ended"
    answer = scripted({"artifact": "hello"})
    answer.message.task_id = task.id
    await served.send(answer)
    while b"TASK_STATE_COMPLETED" not in (line := await process.stdout.readline()):
        assert line, "it has ended"
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    return {"exit_code": process.returncode, "deleted": "deleted push config" in err.decode()}


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"store": f"sqlite:///{folder}/tasks.db", "http_listen": "127.0.0.1:0"}
        async with (
            asyncio.timeout(80),
            serving(scripted_agent(), push=True, push_allow="127.0.0.0/8", **settings) as served,
        ):
            print(json.dumps({"received": await received(served), "listened": await listened(served)}))


if __name__ == "__main__":
    asyncio.run(main())
