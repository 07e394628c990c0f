"""The limits and times of tasks."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.config import check_ranges, documented, setting

MiB = 1 << 20


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Limits of tasks: how many run at a time, how large they grow, how long they are kept."""

    max_runs: int = setting(
        100, "Handlers that run at the same time; further tasks wait in SUBMITTED, and callers take turns.", minimum=1
    )
    max_queued_runs: int = setting(
        1000, "Tasks that may wait for a free place to run; further sends are refused.", minimum=0
    )
    max_runs_per_caller: int = setting(
        0,
        "Handlers that run at the same time for one caller; further tasks of this caller wait. 0: no limit.",
        minimum=0,
    )
    max_queued_per_caller: int = setting(
        0,
        "Tasks of one caller that may wait for a free place to run; further sends of it are refused. 0: no limit.",
        minimum=0,
    )
    high_priority_scope: str = setting(
        "", "Scope that a caller needs for messages with the priority 'high'; empty: every caller may send them."
    )
    max_queued_turns: int = setting(
        16, "Messages to one task that may wait while its handler runs; further ones are refused.", minimum=0
    )
    max_threads: int = setting(64, "Threads for blocking work of handlers (`turn.in_thread`).", minimum=1)
    block_warning_s: float = setting(
        1.0,
        "Seconds a handler may block the event loop before a warning in the log names it; 0: no warning.",
        minimum=0,
    )
    cancel_grace_s: float = setting(
        5.0, "Seconds a canceled handler has to stop; then its task ends without it.", minimum=0
    )
    max_event_bytes: int = setting(4 * MiB - 4096, "Largest size of one event of a task, in bytes.", minimum=1024)
    max_task_bytes: int = setting(
        64 * MiB,
        "Largest size of all events of one task, and of all results of one run with the values of its task, in bytes.",
        minimum=1024,
    )
    max_task_records: int = setting(
        1_000_000,
        "Largest number of events of one task, and of results of one run with the values of its task.",
        minimum=1,
    )
    max_artifacts: int = setting(1000, "Largest number of artifacts of one task.", minimum=1)
    retention_s: float = setting(86_400.0, "Seconds a task is kept after its end.", minimum=0)
    max_ended_tasks: int = setting(10_000, "Ended tasks that are kept; the oldest are deleted first.", minimum=0)
    ask_hold_s: float = setting(
        60.0,
        "Seconds a handler that waits in `turn.ask` stays in memory; a later answer runs it again from its beginning.",
        minimum=0,
    )
    max_held_asks: int = setting(
        1000,
        "Handlers that wait in `turn.ask` and are kept in memory; beyond, the one that waits longest is stopped.",
        minimum=0,
    )
    max_waiting_tasks: int = setting(
        100_000, "Tasks that may wait for their users; beyond, a send that begins another task is refused.", minimum=1
    )
    waiting_retention_s: float = setting(
        2_592_000.0, "Seconds a task waits for its user before it ends in FAILED; 0: without limit.", minimum=0
    )
    idempotency_retention_s: float = setting(86_400.0, "Seconds an idempotency key is kept.", minimum=0)
    lease_s: float = setting(
        10.0,
        "Seconds after which the others take over the tasks of a replica that does not renew its lease; a database may "
        "fail to answer for twice as long.",
        minimum=0.1,
    )
    max_attempts: int = setting(
        5, "Times that the run of a resumable agent is begun if its replica is lost each time.", minimum=1
    )
    poll_interval_s: float = setting(
        1.0, "Seconds between two polls for changes by other processes, in case a notification was lost.", minimum=0.01
    )
    sweep_interval_s: float = setting(
        60.0, "Seconds between two sweeps, which delete what is past its retention.", minimum=0.01
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def outage_s(self) -> float:
        """The seconds for which a store may fail to answer before tasks fail, which is twice the lease."""
        return 2 * self.lease_s
