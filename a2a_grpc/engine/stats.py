"""What a server is doing now, in numbers."""

from dataclasses import dataclass

from a2a_grpc.store import TaskKey


@dataclass(frozen=True, slots=True)
class Stats:
    """What a server is doing at a moment. Other servers on the same store are not counted.

    Attributes:
        tasks: The tasks at work here: those with a run, and those whose handlers wait in `ask` in memory.
        runs: Runs that hold a place or wait for one, and calls of skills that answer with a message.
        callers: Callers that have such runs.
        asking: Handlers that wait in `ask`, and are in memory.
        queued: Messages that wait for the runs of their tasks.
        waiting: Tasks in the store that wait for their users, as far as this server knows.
        background: Background tasks of the event loop that work on tasks.
        followed: Tasks whose events are followed here.
    """

    tasks: tuple[TaskKey, ...]
    runs: int
    callers: int
    asking: int
    queued: int
    waiting: int
    background: int
    followed: int
