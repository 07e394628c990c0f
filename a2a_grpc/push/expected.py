"""The configs whose notifications are expected."""

from collections.abc import Sequence

from a2a_grpc.config import ConfigurationError
from a2a_grpc.push.headers import check_headers
from a2a_grpc.wire import TaskPushNotificationConfig


class Expected:
    """The configs that a receiver knows, by their tasks."""

    def __init__(self) -> None:
        self._by_task: dict[str, list[TaskPushNotificationConfig]] = {}

    def add(self, config: TaskPushNotificationConfig, *, has_keys: bool) -> None:
        """Expect notifications of a config.

        Args:
            config: The config. Without a task it is for all tasks.
            has_keys: True if the keys of the sender are known.

        Raises:
            InvalidRequestError: The token or the credentials cannot be sent in a header.
            ConfigurationError: The config has neither a token nor credentials, and the keys are not known.
        """
        check_headers(config)
        if not (config.token or config.authentication.scheme or has_keys):
            raise ConfigurationError(
                f"the config of task '{config.task_id[:256]}' has neither a token nor credentials; give it a token, "
                "since otherwise any program could send its notifications"
            )
        kept = TaskPushNotificationConfig()
        kept.CopyFrom(config)
        known = self._by_task.setdefault(config.task_id, [])
        if kept not in known:
            known.append(kept)

    def remove(self, task_id: str) -> None:
        """Forget the configs of a task."""
        self._by_task.pop(task_id, None)

    def of(self, task_id: str) -> Sequence[TaskPushNotificationConfig]:
        """Return the configs of which one may be that of a notification of this task."""
        return [*self._by_task.get(task_id, ()), *self._by_task.get("", ())]
