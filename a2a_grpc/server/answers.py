"""Send the responses of calls: one for a unary call, the records of a task for a stream."""

from collections.abc import Callable

from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.log import Follower
from a2a_grpc.piecewise import whole
from a2a_grpc.protocol import NO_ARTIFACTS, Key
from a2a_grpc.rpc import Calls, Context
from a2a_grpc.server.admission import Call
from a2a_grpc.server.requests import MAX_PAGE_SIZE
from a2a_grpc.store import Snapshot
from a2a_grpc.wire import TaskState, framing

PAGE_FRAMING_BYTES = 2048 + 8 * MAX_PAGE_SIZE
"""Bytes of a page in addition to its tasks: a token, two numbers, and eight bytes for each task."""


class Answers:
    """Sends the responses of calls, none larger than the server allows."""

    def __init__(self, calls: Calls, max_send_bytes: int) -> None:
        self._calls = calls
        self._max_send_bytes = max_send_bytes

    @property
    def room(self) -> int:
        """The bytes of tasks that fit into one response."""
        return self._max_send_bytes - PAGE_FRAMING_BYTES

    async def unary(self, call: Call, context: Context, response: bytes) -> bytes:
        """Return the response of a unary call. Send the initial metadata before it, but not before an error."""
        self._sized(response)
        if call.extensions:
            await context.send_initial_metadata(call.echo)
        return response

    def _sized(self, response: bytes) -> bytes:
        if len(response) > self._max_send_bytes:
            raise ResourceExhaustedError(
                f"the response has {len(response)} bytes; this server sends at most {self._max_send_bytes} "
                f"(--max-send-bytes); leave artifacts out with the metadata '{Key.ARTIFACTS}: {NO_ARTIFACTS}', "
                "or history with history_length"
            )
        return response

    async def single(self, call: Call, context: Context, element: bytes) -> None:
        """Write a stream of one element."""
        await context.send_initial_metadata(call.echo)
        await self._calls.write(context, self._sized(element))

    async def stream(
        self,
        call: Call,
        context: Context,
        records: Follower,
        snapshot: Snapshot,
        *,
        first: bytes = b"",
        is_over: Callable[[TaskState, int], bool] = lambda state, turn: False,
    ) -> tuple[TaskState, int]:
        """Write the task `first`, if given, and every record after the seq of the snapshot. Return the last record.

        Stop when the task has ended, or when `is_over` returns True for a state in a turn.
        """
        state, turn = snapshot.state, snapshot.turn
        place = (Key.SEQ if first else Key.AFTER, str(snapshot.seq))
        await context.send_initial_metadata((*call.echo, place))
        if first:
            await self._calls.write(context, self._sized(await element_of(first)))
            first = b""
            if is_over(state, turn):
                return state, turn
        while batch := await records.batch():
            for record in batch:
                await self._calls.write(context, record.event)
                if record.at_us and is_over(record.state, record.turn):  # only a status says so
                    call.saw(record.state)
                    return record.state, record.turn
            state, turn = record.state, record.turn
            call.saw(state)
        return state, turn


async def element_of(task: bytes) -> bytes:
    """Return what `wire.task_element` does, but join a large task in steps."""
    return await whole((framing(1, len(task)), task))
