"""The span of each attempt to deliver."""

from dataclasses import replace
from typing import TYPE_CHECKING

from a2a_grpc.logical import is_logical
from a2a_grpc.push.delivery import Delivery, Destination, Outcome
from a2a_grpc.wire import TaskPushNotificationConfig

if TYPE_CHECKING:
    from a2a_grpc.telemetry.deliveries import DeliverySpans


class Traced:
    """A destination whose attempts are spans. All else is done by the destination itself.

    Args:
        destination: The destination.
        spans: Begins the spans.
    """

    def __init__(self, destination: Destination, spans: "DeliverySpans") -> None:
        self._destination = destination
        self._spans = spans

    async def check(self, config: TaskPushNotificationConfig) -> None:
        """Check the config when it is registered, as the destination does."""
        await self._destination.check(config)

    def needs_settled(self, config: TaskPushNotificationConfig) -> bool:
        """Return True if only settled tasks are sent to the url."""
        return self._destination.needs_settled(config)

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Try once, within a span."""
        url = delivery.config.url
        kind = "callback" if is_logical(url) or url.partition("://")[0].lower() in ("grpc", "grpcs") else "webhook"
        with self._spans.begin(delivery.task_id, kind, delivery.attempt, delivery.origin) as span:
            outcome = await self._destination.deliver(replace(delivery, trace=span.headers))
            span.ended(outcome.verdict.value)
            return outcome

    async def close(self) -> None:
        """End the connections."""
        await self._destination.close()
