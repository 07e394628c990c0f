"""Limits and times of the engine."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.config import check_ranges, setting

MiB = 1 << 20


@checked()
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How much an agent does at a time, and how long what it did is kept."""

    max_runs: int = setting(100, "Runs at a time; further tasks wait in SUBMITTED, in order.", minimum=1)
    max_queued_runs: int = setting(1000, "Runs that may wait for a place; beyond, a send is refused.", minimum=0)
    max_queued_turns: int = setting(16, "Messages that may wait while a task's run is at work.", minimum=0)
    max_threads: int = setting(64, "Threads for the agents' blocking work.", minimum=1)
    block_warning_s: float = setting(
        1.0, "Seconds for which a handler may block the event loop before a warning names it; 0: never.", minimum=0
    )
    cancel_grace_s: float = setting(5.0, "Seconds an agent has to stop before it is given up on.", minimum=0)
    max_event_bytes: int = setting(4 * MiB - 4096, "Size of one event of an agent.", minimum=1024)
    max_task_bytes: int = setting(64 * MiB, "Size of all events of one task.", minimum=1024)
    max_task_records: int = setting(1_000_000, "Number of events of one task.", minimum=1)
    max_artifacts: int = setting(1000, "Number of artifacts of one task.", minimum=1)
    retention_s: float = setting(86_400.0, "Seconds an ended task is kept.", minimum=0)
    max_ended_tasks: int = setting(10_000, "Ended tasks that are kept; the oldest go first.", minimum=0)
    ask_hold_s: float = setting(
        60.0, "Seconds a handler that waits in `ask` is kept in memory; then the answer runs it again.", minimum=0
    )
    max_held_asks: int = setting(
        1000,
        "Handlers that wait in `ask` and are kept in memory; beyond, the longest waiting one is let go.",
        minimum=0,
    )
    max_waiting_tasks: int = setting(
        100_000, "Tasks that wait for their users; beyond, a send that begins another task is refused.", minimum=1
    )
    waiting_retention_s: float = setting(
        2_592_000.0, "Seconds a task waits for its user before it ends in FAILED; 0: for ever.", minimum=0
    )
    idempotency_retention_s: float = setting(86_400.0, "Seconds an idempotency key is remembered.", minimum=0)
    lease_s: float = setting(
        10.0,
        "Seconds after which a replica that is not heard of has lost its tasks to the others; a database may be away "
        "for twice as long.",
        minimum=0.1,
    )
    max_attempts: int = setting(5, "Times that a run is begun, where it is lost with its replica again.", minimum=1)
    poll_interval_s: float = setting(
        1.0, "Seconds between two looks for what another process did, should its wake be lost.", minimum=0.01
    )
    sweep_interval_s: float = setting(60.0, "Seconds between two sweeps of what is past its retention.", minimum=0.01)

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def outage_s(self) -> float:
        """Seconds a store may be away without a task failing: the lease, and once more as long as a grace."""
        return 2 * self.lease_s
