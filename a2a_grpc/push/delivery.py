"""What is sent to the url of a push config, and the outcome of an attempt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from a2a_grpc.wire import StreamResponse, Task, TaskPushNotificationConfig


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of a task, on its way to the url of one push config."""

    task_id: str
    seq: int
    """The seq of the newest record of the task that the event contains."""
    config: TaskPushNotificationConfig
    """The config, with its token and its credentials in clear."""
    event: StreamResponse
    version: str
    """The version of the protocol with which the config was registered, such as "1.0"."""
    attempt: int
    """Which attempt this is, from 1."""
    settled: Task | None = None
    """The whole task, if the event settles it."""
    origin: str = ""
    """The trace of the call that registered the config, as text; empty if there is none."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """The headers that tell the receiver of the trace; empty if there is none."""

    @property
    def id(self) -> str:
        """The id of the delivery. It is the same in each attempt."""
        return f"{self.task_id}:{self.seq}"


class Verdict(Enum):
    """What follows from an attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """The receiver may take it later."""
    UNAUTHORIZED = "unauthorized"
    """The receiver does not accept the credentials. Three of these are the end."""
    GONE = "gone"
    """The receiver wants nothing more of this config."""
    REFUSED = "refused"
    """No attempt can succeed, for example because the address is not allowed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt."""

    verdict: Verdict
    reason: str = ""
    """For people: what the receiver answered, or why it could not be reached. It contains no secrets."""
    retry_after_s: float | None = None
    """How long the receiver asks to wait, in seconds."""


class Destination(Protocol):
    """One way to deliver: a webhook, or a callback to another agent."""

    async def check(self, config: TaskPushNotificationConfig) -> None:
        """Check the config when it is registered.

        Raises:
            InvalidRequestError: If nothing could be delivered to its url. The error names the field.
        """

    def needs_settled(self, config: TaskPushNotificationConfig) -> bool:
        """Return True if only settled tasks are sent to the url. Then `deliver` is called for these only."""

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Try once. Never raises for what the receiver does."""

    async def close(self) -> None:
        """End the connections."""
