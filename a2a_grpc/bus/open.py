"""A bus by its URL."""

from a2a_grpc.bus.local import LocalBus
from a2a_grpc.config import ConfigurationError


def open_bus(url: str) -> LocalBus:
    """The bus for `local:`. Raises ConfigurationError for a URL that names no bus."""
    if url.partition(":")[0] == "local" and url.partition(":")[2] in ("", "//"):
        return LocalBus()
    raise ConfigurationError(f"bus is '{url}'; it must be local:")
