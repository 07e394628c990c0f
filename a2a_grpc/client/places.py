"""The places of events in their task, as a server gives them in the metadata of its calls."""

from collections.abc import Mapping
from enum import Enum

from a2a_grpc.client.disconnects import place_of
from a2a_grpc.protocol import Key


class Turn(Enum):
    """How the place of an element fits to the events before it."""

    NEXT = "the element comes next, or no place is known"
    REPEATED = "the element came before"
    MISSING = "there are events between the last one and the element"


class Places:
    """Counts the places of the elements of one call after another.

    Attributes:
        seq: The place of the last event; None if it is not known.
        is_numbered: True if the server numbers the elements of the call.
        is_late: True if the call gives records after a place, so that its first element comes with the next event.
    """

    def __init__(self, after: int | None) -> None:
        self.seq = after
        self.is_numbered = self.is_late = False
        self._next = 0
        self._is_snapshot = False
        """True if the server has announced the next element as a snapshot."""

    def begin(self, metadata: Mapping[str, str]) -> bool:
        """Begin a call with its initial metadata. Return False if the server leaves out the next events."""
        snapshot, after = place_of(metadata.get(Key.SEQ, "")), place_of(metadata.get(Key.AFTER, ""))
        self.is_late = snapshot is None and after is not None
        self.is_numbered = snapshot is not None or after is not None
        self._is_snapshot = snapshot is not None
        self._next = snapshot if snapshot is not None else (after or 0) + 1
        return not self.is_late or self.turn(False, False) is not Turn.MISSING

    def turn(self, is_task: bool, has_task: bool) -> Turn:
        """Return how the next element fits.

        A snapshot may leave events out, and may come again as it is. It counts as the first one if the reader has no
        task yet.
        """
        if self.seq is None or not self.is_numbered:
            return Turn.NEXT
        ahead = self._next - self.seq
        if is_task and self._is_snapshot:
            return Turn.NEXT if ahead >= 0 or not has_task else Turn.REPEATED
        if ahead == 1:
            return Turn.NEXT
        return Turn.REPEATED if ahead < 1 else Turn.MISSING

    def skip(self) -> None:
        """Leave the next element out."""
        self._next += 1
        self._is_snapshot = False

    def take(self) -> None:
        """Count the next element as the last event."""
        if not self.is_numbered:
            self.seq = None  # a snapshot came where records after a seq were asked for
            return
        self.seq = self._next
        self._next += 1
        self._is_snapshot = False

    def forget(self) -> None:
        """Forget the place of the last event, so that the next call begins with a snapshot."""
        self.seq = None
