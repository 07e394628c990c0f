"""`a2a-grpc push`: refused by servers of this project, kept by one of somebody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceServicer, add_A2AServiceServicer_to_server
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty

from a2a_grpc.wire import (
    AuthenticationInfo,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    TaskPushNotificationConfig,
)
from tests.cli.terminal import at, error_of, objects, run
from tests.harness import Served

HOOK = "https://hooks.example/a"


class Keeper(A2AServiceServicer):  # type: ignore[misc]
    """Somebody else's server: it keeps push configs, and gives them one to a page."""

    def __init__(self) -> None:
        self.configs: dict[str, TaskPushNotificationConfig] = {}

    async def CreateTaskPushNotificationConfig(
        self, request: TaskPushNotificationConfig, context: Any
    ) -> TaskPushNotificationConfig:
        request.id = request.id or f"p-{len(self.configs) + 1}"
        self.configs[request.id] = request
        return request

    async def GetTaskPushNotificationConfig(
        self, request: GetTaskPushNotificationConfigRequest, context: Any
    ) -> TaskPushNotificationConfig:
        if request.id not in self.configs:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no config {request.id}")
        return self.configs[request.id]

    async def ListTaskPushNotificationConfigs(
        self, request: ListTaskPushNotificationConfigsRequest, context: Any
    ) -> ListTaskPushNotificationConfigsResponse:
        mine = [config for config in self.configs.values() if config.task_id == request.task_id]
        place = int(request.page_token or 0)
        return ListTaskPushNotificationConfigsResponse(
            configs=mine[place : place + 1], next_page_token=str(place + 1) if place + 1 < len(mine) else ""
        )

    async def DeleteTaskPushNotificationConfig(
        self, request: DeleteTaskPushNotificationConfigRequest, context: Any
    ) -> Empty:
        del self.configs[request.id]
        return Empty()


@asynccontextmanager
async def keeping() -> AsyncIterator[tuple[Keeper, str]]:
    """A keeper on a free port, with the option that names it."""
    keeper, server = Keeper(), grpc.aio.server()
    add_A2AServiceServicer_to_server(keeper, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield keeper, f"--agent=127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def test_a_server_of_this_project_refuses_in_one_line_that_says_what_to_do_instead(served: Served) -> None:
    task = await served.start({"input": "go?"})
    done = await asyncio.gather(
        run("push", "create", at(served), task.id, HOOK),
        run("push", "get", at(served), task.id, "p-1"),
        run("push", "list", at(served), task.id),
        run("push", "delete", at(served), task.id, "p-1"),
    )
    for one in done:
        said = error_of(one, 6)
        assert "does not offer push notifications" in said
        assert said.endswith("(follow the task with 'a2a-grpc subscribe' instead)")


async def test_configs_are_made_shown_listed_and_deleted() -> None:
    async with keeping() as (keeper, agent):
        made = await run(
            "push", "create", agent, "t-1", HOOK, "--push-token=a token", "--auth-scheme=Bearer",
            env={"A2A_GRPC_PUSH_CREDENTIALS": "secret"},
        )  # fmt: skip
        named = await run("push", "create", agent, "t-1", "https://hooks.example/b", "--id=mine", "-o", "json")
        assert (made.code, made.out, made.err) == (0, f"p-1  {HOOK}\n", "")
        assert keeper.configs["p-1"] == TaskPushNotificationConfig(
            id="p-1", task_id="t-1", url=HOOK, token="a token",
            authentication=AuthenticationInfo(scheme="Bearer", credentials="secret"),
        )  # fmt: skip
        [shown] = objects(named.out)
        config = json_format.ParseDict(shown, TaskPushNotificationConfig())
        assert config == keeper.configs["mine"]

        got, missing, listed, as_json, none = await asyncio.gather(
            run("push", "get", agent, "t-1", "p-1"),
            run("push", "get", agent, "t-1", "p-7"),
            run("push", "list", agent, "t-1"),
            run("push", "list", agent, "t-1", "-o", "json"),
            run("push", "list", agent, "t-2"),
        )
        assert (got.code, got.out) == (0, f"p-1  {HOOK}\n")
        assert "there is no config p-7" in error_of(missing, 6)
        assert listed.out == f"p-1  {HOOK}\nmine  https://hooks.example/b\n"
        assert [one["id"] for one in objects(as_json.out)] == ["p-1", "mine"]
        assert (none.code, none.out, none.err) == (0, "", "no push configs\n")

        deleted = await run("push", "delete", agent, "t-1", "mine")
        assert (deleted.code, deleted.out, deleted.err) == (0, "", "push config mine of task t-1 is deleted\n")
        assert list(keeper.configs) == ["p-1"]
