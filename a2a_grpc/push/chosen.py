"""Choose which events of a task are sent, without I/O."""

from collections.abc import Sequence

from a2a_grpc.store import Record

MAX_BEHIND = 64
"""The records of a batch that a receiver of all events gets one by one. Beyond, it gets the task as it is now."""


def chosen(records: Sequence[Record], *, sends_all: bool, has_failed: bool) -> tuple[Record | None, bool]:
    """Choose the next event of some records that are not sent yet.

    Args:
        records: The records, in their order.
        sends_all: True if pieces of artifacts are sent, too.
        has_failed: True if an attempt has failed, so that the receiver is behind.

    Returns:
        The record to send next, and False. None and False if nothing is to be sent. None and True if the receiver is
        behind, and gets the task as it is now.
    """
    wanted = records if sends_all else [record for record in records if record.at_us]
    if not wanted:
        return None, False
    most = MAX_BEHIND if sends_all else 1
    if len(wanted) > most or (has_failed and len(wanted) > 1):
        return None, True
    return wanted[0], False
