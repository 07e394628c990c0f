"""The task as its run writes it, for the caller that waits for the end."""

import asyncio

from a2a_grpc.store import Record
from a2a_grpc.store.growing import Growing
from a2a_grpc.wire import Task


class Witness:
    """Folds each event before it is bytes: what it tells is the fold of the log, without reading that."""

    __slots__ = ("folding", "settled")

    def __init__(self, created: Task) -> None:
        """`created` is the task as the log begins with it, and grows from now on."""
        self.folding = Growing(created)
        """Takes every event that is, or will be, the next one of the log, for as long as somebody waits."""
        self.settled: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()
        """The newest record, once the task has ended or waits for an answer; the fold does not change any more. None if
        the task has to be read in the log."""

    def tell(self, record: Record) -> None:
        """The record is in the log, as is all that was folded before it, and the task has ended or waits."""
        if not self.settled.done():
            self.settled.set_result(record)

    def leave(self) -> None:
        """From now on others may write, or something that was folded is not in the log."""
        if not self.settled.done():
            self.settled.set_result(None)
