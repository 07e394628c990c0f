"""Find the destination for a url: by its scheme, or for the address of an agent at a sentinel."""

from collections.abc import Mapping

from a2a_grpc.logical import is_logical
from a2a_grpc.push.delivery import Delivery, Destination, Outcome, Verdict
from a2a_grpc.push.place import refused
from a2a_grpc.wire import TaskPushNotificationConfig


class Routes:
    """A destination made of others, each for some urls.

    Args:
        destinations: The destinations by scheme, such as "https".
        logical: The destination for addresses such as `name@domain`.
    """

    def __init__(self, destinations: Mapping[str, Destination], logical: Destination | None = None) -> None:
        self._destinations = dict(destinations)
        self._logical = logical

    async def check(self, config: TaskPushNotificationConfig) -> None:
        """Check the config when it is registered.

        Raises:
            InvalidRequestError: Nothing can be delivered to its url.
        """
        if (destination := self._find(config)) is None:
            schemes = ", ".join(f"{scheme}://" for scheme in self._destinations)
            agents = ", nor is an address such as name@domain" if self._logical else ""
            raise refused(config.url, f"begins with none of {schemes}{agents}")
        await destination.check(config)

    def needs_settled(self, config: TaskPushNotificationConfig) -> bool:
        """Return True if only settled tasks are sent to the url."""
        return (destination := self._find(config)) is not None and destination.needs_settled(config)

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Try once."""
        if (destination := self._find(delivery.config)) is None:
            return Outcome(Verdict.REFUSED, "nothing can be delivered to the scheme of the url any more")
        return await destination.deliver(delivery)

    async def close(self) -> None:
        """End the connections."""
        for destination in {id(each): each for each in self._destinations.values()}.values():
            await destination.close()

    def _find(self, config: TaskPushNotificationConfig) -> Destination | None:
        if is_logical(config.url):
            return self._logical
        return self._destinations.get(config.url.partition("://")[0].lower())
