"""The four RPCs about push configs, and the config that comes with a send."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from google.protobuf.empty_pb2 import Empty

from a2a_grpc import lifecycle
from a2a_grpc.engine import Incoming
from a2a_grpc.errors import PushNotificationNotSupportedError, TaskNotFoundError
from a2a_grpc.log import Log
from a2a_grpc.protocol import PROTOCOL_VERSION
from a2a_grpc.rpc import Context
from a2a_grpc.server.admission import Admission, Call
from a2a_grpc.server.answers import Answers
from a2a_grpc.server.policy import Policy
from a2a_grpc.server.requests import Checks
from a2a_grpc.store import TaskKey
from a2a_grpc.wire import (
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    TaskPushNotificationConfig,
)

if TYPE_CHECKING:
    from a2a_grpc.push.configs import Configs

INLINE = "configuration.task_push_notification_config."
"""The path of the fields of a config in a send."""


class PushCalls:
    """Serves the RPCs about push configs. Without `configs` the server offers none, and refuses them."""

    def __init__(
        self,
        configs: "Configs | None",
        log: Log,
        admission: Admission,
        checks: Checks,
        policy: Policy,
        answers: Answers,
    ) -> None:
        self._configs = configs
        self._log = log
        self._accept = admission.accept
        self._checks = checks
        self._policy = policy
        self._answers = answers

    async def create(self, raw: bytes, context: Context) -> bytes:
        call, request, configs = await self._begin(TaskPushNotificationConfig, raw, context)
        key = await self._key(call, "CreateTaskPushNotificationConfig", request.task_id)
        config = await configs.create(key, request, _version(call))
        return await self._answers.unary(call, context, config.SerializeToString())

    async def get(self, raw: bytes, context: Context) -> bytes:
        call, request, configs = await self._begin(GetTaskPushNotificationConfigRequest, raw, context)
        key = await self._key(call, "GetTaskPushNotificationConfig", request.task_id)
        config = await configs.get(key, request.id)
        return await self._answers.unary(call, context, config.SerializeToString())

    async def list(self, raw: bytes, context: Context) -> bytes:
        call, request, configs = await self._begin(ListTaskPushNotificationConfigsRequest, raw, context)
        key = await self._key(call, "ListTaskPushNotificationConfigs", request.task_id)
        page = await configs.list(key, request.page_size, request.page_token)
        return await self._answers.unary(call, context, page.SerializeToString())

    async def delete(self, raw: bytes, context: Context) -> bytes:
        call, request, configs = await self._begin(DeleteTaskPushNotificationConfigRequest, raw, context)
        key = await self._key(call, "DeleteTaskPushNotificationConfig", request.task_id)
        await configs.delete(key, request.id)
        return await self._answers.unary(call, context, Empty().SerializeToString())

    def check_offered(self) -> "Configs":
        """Return the configs. Raise PushNotificationNotSupportedError if the server offers none."""
        if self._configs is None:
            raise PushNotificationNotSupportedError
        return self._configs

    @asynccontextmanager
    async def sending(self, call: Call, incoming: Incoming) -> AsyncIterator[None]:
        """Keep the push config of a send, if there is one, while the block accepts the message.

        The config of a new task is stored with the task. The one of a task that is there is stored before the message,
        so that no event is missed, and deleted again if the message is refused. The engine gets the request without the
        config, as it may store the request.
        """
        configs, configuration = self._configs, incoming.request.configuration
        task_id = incoming.request.message.task_id
        if configs is None:
            yield
            return
        if not configuration.HasField("task_push_notification_config"):
            yield
            if task_id:
                configs.look_at(call.key(task_id))
            return
        config = TaskPushNotificationConfig()
        config.CopyFrom(configuration.task_push_notification_config)
        if incoming.idempotency_key:
            await incoming.sign()  # of the whole request
        configuration.ClearField("task_push_notification_config")
        if task_id:
            async with self._added(call, incoming, config, configs):
                yield
            return
        await configs.check(config, path=INLINE)
        incoming.pushes = configs.inline(config, _version(call))
        yield
        configs.look()

    @asynccontextmanager
    async def _added(
        self, call: Call, incoming: Incoming, config: TaskPushNotificationConfig, configs: "Configs"
    ) -> AsyncIterator[None]:
        key = call.key(incoming.request.message.task_id)
        head = await self._log.head(key)
        await configs.check(config, path=INLINE)
        if head.state in lifecycle.TERMINAL or await self._is_repeated(incoming):
            yield  # the engine refuses the message, or has accepted it before
            return
        is_known = bool(config.id) and await self._is_known(key, config.id, configs)
        added = await configs.create(key, config, _version(call), path=INLINE)
        try:
            yield
        except BaseException:
            if not is_known:
                await configs.delete(key, added.id)
            raise

    async def _is_repeated(self, incoming: Incoming) -> bool:
        if not incoming.idempotency_key:
            return False
        return await self._log.store.bound(incoming.scope, incoming.idempotency_key) is not None

    async def _is_known(self, key: TaskKey, id: str, configs: "Configs") -> bool:
        try:
            await configs.get(key, id)
        except TaskNotFoundError:
            return False
        return True

    async def _begin(self, kind: type[Any], raw: bytes, context: Context) -> "tuple[Call, Any, Configs]":
        call, request = await self._accept(kind, raw, context)
        self._checks.push_config(request)
        return call, request, self.check_offered()

    async def _key(self, call: Call, operation: str, task_id: str) -> TaskKey:
        """Return the key of a task of the caller. Raise TaskNotFoundError or PermissionDeniedError."""
        key = call.key(task_id)
        await self._log.head(key)
        await self._policy.check(call.principal, operation, key)
        return key


def _version(call: Call) -> str:
    """Return the version of the protocol that the caller speaks."""
    return call.metadata.version or PROTOCOL_VERSION
