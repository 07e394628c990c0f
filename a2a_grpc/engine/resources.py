"""What all runs of one agent share: the agent, the log, the limits, the places, and this process."""

from a2a_grpc.agent import Agent, Threads
from a2a_grpc.engine.background import Background
from a2a_grpc.engine.held import Held
from a2a_grpc.engine.line import Place
from a2a_grpc.engine.locks import KeyLocks
from a2a_grpc.engine.observer import Observer
from a2a_grpc.engine.priority import priority_of
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.replica import Replica
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.slots import Slots
from a2a_grpc.engine.waiting import Waiting
from a2a_grpc.engine.watch import Watch
from a2a_grpc.engine.writer import Writer
from a2a_grpc.errors import UnavailableError
from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.log import Log
from a2a_grpc.store import Head, Pending, Scope, TaskKey
from a2a_grpc.wire import SendMessageRequest


class Resources:
    """What the parts of an engine, and its runs, have in common.

    Attributes:
        agent: The agent whose handlers run.
        log: The logs of its tasks.
        settings: The limits and times of tasks.
        observer: The observer of runs.
        replica: This process among those that share the store.
        slots: The places for runs.
        held: The handlers that wait in `ask`.
        waiting: The number of tasks that wait for their users.
        threads: The threads of `turn.in_thread`.
        watch: The thread that looks for handlers that block the event loop.
        locks: A lock for each task, and for each idempotency key.
        background: The background tasks.
        keeps_messages: True if the store keeps a message until its run is over, so that another replica can begin the
            run again.
        is_draining: True once no more messages are accepted.
    """

    def __init__(self, agent: Agent, log: Log, settings: EngineSettings, observer: Observer) -> None:
        self.agent = agent
        self.log = log
        self.settings = settings
        self.observer = observer
        self.replica = Replica(log.store, settings.lease_s)
        self.slots = Slots(
            settings.max_runs,
            settings.max_queued_runs,
            per_caller=settings.max_runs_per_caller,
            queued_per_caller=settings.max_queued_per_caller,
        )
        self.held = Held(settings)
        self.waiting = Waiting(settings.max_waiting_tasks)
        self.threads = Threads(settings.max_threads)
        self.watch = Watch(settings.block_warning_s)
        self.locks = KeyLocks()
        self.background = Background()
        self.keeps_messages = agent.resumable and log.store.keeps_messages
        self.is_draining = False

    def writer(self, key: TaskKey, head: Head) -> Writer:
        """Return the writer of a task's next run, under the claim of its row."""
        return Writer(self.log, self.settings, key, head, self.waiting)

    def queued(self, key: TaskKey, pending: Pending) -> QueuedTurn:
        """Return the turn of a message that the store has."""
        return QueuedTurn.of(pending, key, self.agent, is_kept=self.keeps_messages)

    async def claim(self, key: TaskKey, *, force: bool = False) -> Head | None:
        """Claim a task that no other replica holds. Return its row, or None if it has ended or another replica has it.

        With `force`, also take it from the replica that holds it.
        """
        me = self.replica.id
        head = await self.log.store.claim(key, me, force=force)
        return None if head is None or head.state in TERMINAL or head.replica != me else head

    def place(self, scope: Scope, request: SendMessageRequest) -> Place:
        """Return a place for a run of a caller, or the wait for one, by the priority of the message."""
        return self.slots.try_acquire(scope) or self.slots.line_up(scope, priority_of(request))

    def check_room(self, scope: Scope) -> None:
        """Check that another run of a caller gets a place, or may wait for one.

        Raises:
            ResourceExhaustedError: Too many runs wait.
            UnavailableError: No run can begin here. See `check_open`.
        """
        self.check_open()
        self.slots.check(scope)

    def check_open(self) -> None:
        """Raise UnavailableError while draining, and while the other replicas do not know this one."""
        if self.is_draining:
            raise UnavailableError.shutting_down("try another")
        if not self.replica.is_joined:
            raise UnavailableError("this server was out of touch with its store; try again", retry_after_s=1.0)
