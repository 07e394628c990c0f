"""Servers that send push notifications to receivers on this machine, for tests."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from a2a_grpc import Agent
from a2a_grpc.wire import AuthenticationInfo, TaskPushNotificationConfig
from tests.harness import Served, eventually, scripted_agent, serving
from tests.push.sockets import Hook

SECRETS: dict[str, Any] = {
    "token": "t0ken",
    "authentication": AuthenticationInfo(scheme="Bearer", credentials="s3cret"),
}


@asynccontextmanager
async def notifying(agent: Agent | None = None, **settings: Any) -> AsyncIterator[Served]:
    """Serve an agent, by default the scripted one, with push notifications to this machine."""
    async with serving(
        agent or scripted_agent(), **{"push": True, "push_allow": "127.0.0.0/8,localhost", **settings}
    ) as served:
        yield served


def config_for(hook: Hook, path: str = "/hook", **more: Any) -> TaskPushNotificationConfig:
    """Return a config with a token and credentials, whose url is a receiver's."""
    return TaskPushNotificationConfig(url=f"http://127.0.0.1:{hook.port}{path}", **{**SECRETS, **more})


def told(hook: Hook, path: str = "/hook") -> list[tuple[int, str, str]]:
    """Return what a receiver got at a path: the seq, the payload's name, and the state if it tells one."""
    found = []
    for received in hook.received:
        if received.path == path:
            ((name, payload),) = json.loads(received.body).items()
            seq = int(received.headers["webhook-id"].rpartition(":")[2])
            found.append((seq, name, payload.get("status", {}).get("state", "").removeprefix("TASK_STATE_")))
    return found


async def told_end(hook: Hook, path: str = "/hook") -> None:
    """Return when a receiver has learned that the task is completed."""

    def check() -> None:
        assert any(state == "COMPLETED" for _, _, state in told(hook, path))

    await eventually(check)


async def asked(hook: Hook, count: int) -> None:
    """Return when a receiver has got so many requests."""

    def check() -> None:
        assert len(hook.received) >= count

    await eventually(check)


def deliveries(served: Served) -> int:
    """Return how many deliveries a server has at work."""
    assert served.server._running.pushing is not None
    return len(served.server._running.pushing.sender)


async def idle(served: Served) -> None:
    """Return when a server delivers nothing now."""

    def check() -> None:
        assert deliveries(served) == 0

    await eventually(check)
