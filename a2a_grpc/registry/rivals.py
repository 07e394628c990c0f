"""Decide which of several entries with one name the store keeps."""

from collections.abc import Iterable, Sequence
from enum import Enum, auto

from a2a_grpc.registry.entry import Entry


class Added(Enum):
    """The result of adding an entry."""

    NEW = auto()
    AGAIN = auto()
    TAKEN = auto()
    FULL = auto()
    REPLACED = auto()
    OCCUPIED = auto()


def refusal(entry: Entry, others: Sequence[Entry]) -> Added | None:
    """Return why an entry cannot be added, or None if it can.

    Of two attached agents that cannot both have their address, the one that replaces the other stays. If neither does,
    the one that has been attached longer stays.

    Args:
        entry: The entry.
        others: The entries with the same name. The entry itself may be among them.
    """
    if any(other.owner != entry.owner for other in others):
        return Added.TAKEN
    against = rivals(entry, others)
    if any(rival.replaces for rival in against):
        return Added.REPLACED
    if not entry.replaces and any(rival.since <= entry.since for rival in against):
        return Added.OCCUPIED
    return None


def rivals(entry: Entry, others: Iterable[Entry]) -> list[Entry]:
    """Return the entries of attached agents that cannot have their address together with the agent of an entry.

    Args:
        entry: The entry of an agent.
        others: The entries with the same name.
    """
    if not entry.is_attached:
        return []
    return [other for other in others if other.excludes(entry.key.instance, entry.store)]
