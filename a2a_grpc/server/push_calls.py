"""The four RPCs about push configs, and the config that comes with a send."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.empty_pb2 import Empty

from a2a_grpc import lifecycle
from a2a_grpc.agent.callback import AUTHORIZATION, CallbackTask, config_of, key_in, take_secrets
from a2a_grpc.engine import SendCall
from a2a_grpc.errors import InvalidRequestError, PushNotificationNotSupportedError, TaskNotFoundError, Violation
from a2a_grpc.log import Log
from a2a_grpc.protocol import PROTOCOL_VERSION, Key
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


OF_CALLBACK = {"url": "endpoint", "token": f"headers.{Key.TOKEN}"}
"""The members of what a message asks for, by the fields of the config that they become."""


class Wanted(NamedTuple):
    """A push config that comes with a send.

    Attributes:
        config: The config.
        path: What comes before the names of its fields in errors.
    """

    config: TaskPushNotificationConfig
    path: str

    async def check(self, configs: "Configs") -> None:
        """Raise InvalidRequestError, which names the field, if nothing can be delivered to the url."""
        if self.path == INLINE:
            return await configs.check(self.config, path=self.path)
        try:
            await configs.check(self.config)
        except InvalidRequestError as refused:
            found = [
                Violation(self.path + OF_CALLBACK.get(field, f"headers.{AUTHORIZATION}"), description)
                for field, description in refused.violations
            ]
            raise InvalidRequestError.of(*found) from refused


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
    async def sending(self, call: Call, send: SendCall, asked: CallbackTask | None) -> AsyncIterator[None]:
        """Keep the push configs of a send, if there are any, while the block accepts the message.

        These are the config of the request, and the one of the callback that the message asks for. The configs of a
        new task are stored with the task. Those of a task that is there are stored before the message, so that no event
        is missed, and deleted again if the message is refused. The engine gets the request without their secrets, as it
        may store the request.
        """
        configs, request = self._configs, send.request
        task_id = request.message.task_id
        if configs is None:
            yield
            return
        wanted: list[Wanted] = []
        if asked is not None:
            wanted.append(Wanted(config_of(asked), f"message.metadata.{key_in(request.message)}."))
            take_secrets(request.message)
        if request.configuration.HasField("task_push_notification_config"):
            config = TaskPushNotificationConfig()
            config.CopyFrom(request.configuration.task_push_notification_config)
            wanted.append(Wanted(config, INLINE))
            if send.idempotency_key:
                await send.sign()  # of the whole request
            request.configuration.ClearField("task_push_notification_config")
        if not wanted:
            yield
            if task_id:
                configs.look_at(call.key(task_id))
            return
        if task_id:
            async with self._added(call, send, wanted, configs):
                yield
            return
        for one in wanted:
            await one.check(configs)
        send.pushes = configs.inline([one.config for one in wanted], _version(call))
        yield
        configs.look()

    @asynccontextmanager
    async def _added(
        self, call: Call, send: SendCall, wanted: Sequence[Wanted], configs: "Configs"
    ) -> AsyncIterator[None]:
        key = call.key(send.request.message.task_id)
        head = await self._log.head(key)
        for one in wanted:
            await one.check(configs)
        if head.state in lifecycle.TERMINAL or await self._is_repeated(send):
            yield  # the engine refuses the message, or has accepted it before
            return
        added: list[str] = []
        try:
            for one in wanted:
                is_known = bool(one.config.id) and await self._is_known(key, one.config.id, configs)
                created = await configs.create(key, one.config, _version(call), path=one.path)
                if not is_known:
                    added.append(created.id)
            yield
        except BaseException:
            for id in added:
                await configs.delete(key, id)
            raise

    async def _is_repeated(self, send: SendCall) -> bool:
        if not send.idempotency_key:
            return False
        return await self._log.store.bound(send.scope, send.idempotency_key) is not None

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
        head = await self._log.head(key)
        call.reached(key.id, head.context_id, 0)  # the answer does not tell the state
        await self._policy.check(call.principal, operation, key)
        return key


def _version(call: Call) -> str:
    """Return the version of the protocol that the caller speaks."""
    return call.metadata.version or PROTOCOL_VERSION
