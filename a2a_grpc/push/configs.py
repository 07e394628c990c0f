"""The push configs of tasks, as the calls about them see them."""

import base64
import binascii
from collections.abc import Callable, Sequence

from a2a_grpc.errors import InvalidRequestError, ResourceExhaustedError, TaskNotFoundError, Violation
from a2a_grpc.ids import new_id
from a2a_grpc.push.delivery import Destination
from a2a_grpc.push.origin import written
from a2a_grpc.push.sender import Sender
from a2a_grpc.push.vault import Vault
from a2a_grpc.store import Outbox, Push, PushName, TaskKey, TooManyPushes
from a2a_grpc.text import flaw
from a2a_grpc.wire import ListTaskPushNotificationConfigsResponse, TaskPushNotificationConfig

DEFAULT_PAGE_SIZE = 50


class Configs:
    """Creates, reads and deletes push configs.

    Guarantees: secrets are stored encrypted, and are in no answer; a config is checked before it is stored.

    Args:
        outbox: The store of the configs.
        vault: Encrypts the secrets.
        destination: Checks configs.
        sender: Delivers, and is notified of changes.
        limit: The largest number of configs of a task.
        trace: Returns the trace that the deliveries of a task belong to, as text; empty if there is none.
    """

    def __init__(
        self,
        outbox: Outbox,
        vault: Vault,
        destination: Destination,
        sender: Sender,
        limit: int,
        trace: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._outbox = outbox
        self._vault = vault
        self._destination = destination
        self._sender = sender
        self._limit = limit
        self._trace = trace

    async def create(
        self, key: TaskKey, config: TaskPushNotificationConfig, version: str, *, path: str = ""
    ) -> TaskPushNotificationConfig:
        """Add a config to a task, or replace the one with its id. Return the config without its secrets.

        Args:
            key: The name of the task, which exists.
            config: The config.
            version: The version of the protocol that the caller speaks.
            path: What comes before the names of fields in errors.

        Raises:
            InvalidRequestError: Nothing could be delivered to the url.
            TaskNotFoundError: The task does not exist any more.
            ResourceExhaustedError: The task has too many configs.
        """
        await self.check(config, path=path)
        push = self.seal(key, config, version)
        try:
            if not await self._outbox.add_push(key, push, limit=self._limit):
                raise TaskNotFoundError.of(key.id)
        except TooManyPushes as many:
            raise ResourceExhaustedError(
                f"task '{key.id}' has {many.count} push configs, which is the limit (--max-push-configs)"
            ) from many
        self._sender.forget(PushName(key, push.id))  # if it replaced one
        self._sender.look()
        return _shown(push)

    async def check(self, config: TaskPushNotificationConfig, *, path: str = "") -> None:
        """Check whether anything can be delivered to the url of a config.

        Raises:
            InvalidRequestError: Nothing can.
        """
        try:
            await self._destination.check(config)
        except InvalidRequestError as refused:
            if not path:
                raise
            found = [Violation(path + field, description) for field, description in refused.violations]
            raise InvalidRequestError.of(*found) from refused

    def seal(self, key: TaskKey, config: TaskPushNotificationConfig, version: str) -> Push:
        """Return a config of a task as a store keeps it, with an id if it has none."""
        named = TaskPushNotificationConfig()
        named.CopyFrom(config)
        named.id = named.id or new_id()
        named.tenant, named.task_id = key.tenant, key.id
        return Push(named.id, *self._vault.seal(key, named), written(version, self._trace(key.id)))

    async def get(self, key: TaskKey, id: str) -> TaskPushNotificationConfig:
        """Return a config without its secrets.

        Raises:
            TaskNotFoundError: The caller has no such task, or the task has no such config (spec §3.1.8).
        """
        push = await self._outbox.get_push(key, id)
        if push is None:
            raise TaskNotFoundError(
                f"task '{key.id}', or its push config '{id}', does not exist", metadata={"task_id": key.id}
            )
        return _shown(push)

    async def list(self, key: TaskKey, page_size: int, page_token: str) -> ListTaskPushNotificationConfigsResponse:
        """Return a page of the configs of a task.

        Raises:
            InvalidRequestError: The token is none of this server.
            TaskNotFoundError: The caller has no such task.
        """
        size = page_size or DEFAULT_PAGE_SIZE
        found = await self._outbox.list_pushes(key, _after(page_token), size + 1)
        if found is None:
            raise TaskNotFoundError.of(key.id)
        page = ListTaskPushNotificationConfigsResponse(configs=[_shown(push) for push in found[:size]])
        if len(found) > size:
            page.next_page_token = base64.urlsafe_b64encode(found[size - 1].id.encode()).decode()
        return page

    async def delete(self, key: TaskKey, id: str) -> None:
        """Delete a config if it is there.

        Raises:
            TaskNotFoundError: The caller has no such task.
        """
        if not await self._outbox.delete_push(key, id):
            raise TaskNotFoundError.of(key.id)
        self._sender.forget(PushName(key, id))

    def inline(
        self, configs: Sequence[TaskPushNotificationConfig], version: str
    ) -> Callable[[TaskKey], tuple[Push, ...]]:
        """Return a function that gives the configs of a send, which were checked, for the task that it creates."""
        return lambda key: tuple([self.seal(key, config, version) for config in configs])

    def look(self) -> None:
        """Take note of a new task with a config."""
        self._sender.look()

    def look_at(self, key: TaskKey) -> None:
        """Take note of a message that was accepted for a task."""
        self._sender.look_at(key)


def _shown(push: Push) -> TaskPushNotificationConfig:
    return TaskPushNotificationConfig.FromString(push.config)


def _after(page_token: str) -> str:
    try:
        after = base64.b64decode(page_token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        after = "\0"
    if after and flaw(after):
        raise InvalidRequestError.of(Violation("page_token", "is not a token of this server"))
    return after
