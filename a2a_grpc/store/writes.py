"""What a store of tasks is given to write, and the errors of writes."""

from typing import NamedTuple

from a2a_grpc.store.values import Record, TaskKey


class Binding(NamedTuple):
    """The request that an idempotency key stands for, and the result of the request.

    Attributes:
        fingerprint: A hash of the request. A later request with the same key must have the same one.
        task_id: The task that the request created or continued; empty if the agent answered with a message.
        turn: The turn of the task that the request began.
        reply: The serialised message with which the agent answered; empty if there is a task.
    """

    fingerprint: bytes
    task_id: str = ""
    turn: int = 0
    reply: bytes = b""


class Pending(NamedTuple):
    """A message that waits for its turn, or whose turn may have to run again.

    Attributes:
        turn: The turn that the message begins.
        skill: The id of the skill.
        request: The serialised `SendMessageRequest`.
        caller: A description of the caller as JSON text, which a store keeps as it is.
    """

    turn: int
    skill: str
    request: bytes
    caller: str = ""


class Note(NamedTuple):
    """A named value of a task, which its handler keeps for later runs.

    Attributes:
        turn: The turn that the note belongs to; 0 for a note of the whole task.
        name: The name, unique for the task and the turn. It has at most 256 characters.
        value: The value, which a store keeps as it is. It has at most about 1 MiB.
    """

    turn: int
    name: str
    value: bytes


class Push(NamedTuple):
    """A push config of a task, as a store keeps it.

    Attributes:
        id: The id of the config, unique for its task.
        config: The serialised `TaskPushNotificationConfig` without its secrets.
        secrets: The secrets of the config, encrypted; empty if it has none.
        version: The version of the protocol with which the config was registered, and perhaps the trace.
    """

    id: str
    config: bytes
    secrets: bytes
    version: str


class Create(NamedTuple):
    """A task to create with its first record, and to claim for a replica.

    Attributes:
        key: The name of the task. It is new.
        record: The first record, with seq 1.
        context_id: The conversation that the task belongs to.
        replica: The replica that holds the task from now on.
        bind: An idempotency key to bind, with its binding.
        pending: The message of the first turn, to be kept until an append is `done` with it.
        pushes: Push configs of the task, due at once, with the cursor before the first record. Only a store with an
            `Outbox` gets any.
    """

    key: TaskKey
    record: Record
    context_id: str
    replica: str
    bind: tuple[str, Binding] | None = None
    pending: Pending | None = None
    pushes: tuple[Push, ...] = ()


class Append(NamedTuple):
    """A record to append, with further changes that happen in the same transaction.

    Attributes:
        key: The name of the task.
        record: The record. Its seq is the next one.
        epoch: The claim of the writer.
        bind: An idempotency key to bind, with its binding.
        done: The turn up to which messages that wait or are kept are not needed any more. If the record opens a turn,
            the turn before it is then over, and `attempt` of the new one begins with 1.
        release: True if the task is free from now on, unless messages wait for their turn.
        keep: The message that began the run of the writer, to be kept until an append is `done` with its turn. A
            writer may give it more than once, but only until it has written the message of a later turn.
    """

    key: TaskKey
    record: Record
    epoch: int
    bind: tuple[str, Binding] | None = None
    done: int = 0
    release: bool = False
    keep: Pending | None = None


class StaleAppend(Exception):
    """The log has grown, the task has ended, or the claim is void. Nothing was written."""


class AlreadyBound(Exception):
    """The idempotency key stands for an earlier request. Nothing was written.

    Args:
        binding: The binding of the earlier request.
    """

    def __init__(self, binding: Binding) -> None:
        super().__init__("the idempotency key is bound")
        self.binding = binding


class QueueFull(Exception):
    """The largest allowed number of messages waits for the task already. Nothing was written.

    Args:
        waiting: The number of messages that wait.
    """

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} messages wait")
        self.waiting = waiting


class StoreFull(Exception):
    """There is no room for another task or note. Nothing was written."""
