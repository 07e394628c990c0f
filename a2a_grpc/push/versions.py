"""Versions of the packages that push notifications need."""

MIN_AIOHTTP = "3.13.4"
"""The first version that limits the headers of an answer. `socket_factory` came earlier, with 3.12."""


def is_at_least(found: str, wanted: str) -> bool:
    """Return True if a version is another one or a later one, by its first three numbers.

    Args:
        found: The version that is installed.
        wanted: The version that is needed.
    """
    return _numbers(found) >= _numbers(wanted)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:3] if part.isdecimal()]
