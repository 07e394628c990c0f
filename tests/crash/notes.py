"""What clients were told, noted to be compared with what is stored."""

from collections import defaultdict
from dataclasses import dataclass, field

from a2a_grpc.lifecycle import CANCELED, SETTLED, TERMINAL, Fold, check
from a2a_grpc.parts import to_dict
from a2a_grpc.store import ListFilter, Position, Record, Scope, TaskKey, TaskStore
from a2a_grpc.wire import ROLE_USER, StreamResponse, Task

EVERYBODY = Scope("", "")
PAGE = 100


@dataclass(slots=True)
class Notes:
    """Everything that a client was told is acknowledged: it holds from then on, whatever happens."""

    records: defaultdict[str, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    """The events of each task by their seq, as they came over the wire."""
    snapshots: list[tuple[str, int, bytes]] = field(default_factory=list)
    """Tasks as they were at a seq."""
    answers: list[tuple[str, bytes]] = field(default_factory=list)
    """Tasks as they were at some moment."""
    tried: set[str] = field(default_factory=set)
    """Message ids, which are their idempotency keys too, that were sent."""
    accepted: dict[str, str] = field(default_factory=dict)
    """The task that each of them became, or belongs to, as far as it was told."""
    canceled: set[str] = field(default_factory=set)
    """Tasks whose cancellation was acknowledged."""

    def record(self, task_id: str, seq: int, event: bytes) -> None:
        known = self.records[task_id].setdefault(seq, event)
        assert known == event, f"task {task_id}: two events with seq {seq} were told"

    def accept(self, key: str, task_id: str) -> None:
        known = self.accepted.setdefault(key, task_id)
        assert known == task_id, f"key {key} became task {known} and task {task_id}"


@dataclass(frozen=True, slots=True)
class Stored:
    """The log of a task, and what it adds up to."""

    task_id: str
    records: list[Record]
    task: Task
    """The fold of the log, made here."""

    @property
    def said(self) -> list[str]:
        """Ids of the user's messages, in order."""
        return [message.message_id for message in self.task.history if message.role == ROLE_USER]

    @property
    def is_settled(self) -> bool:
        return self.records[-1].state in SETTLED


async def stored_tasks(store: TaskStore) -> dict[str, Stored]:
    """All tasks of a store, each log checked for itself."""
    ids: list[str] = []
    after: Position | None = None
    while True:
        page = await store.list(EVERYBODY, ListFilter(), after, PAGE)
        ids += [listed.position.id for listed in page.tasks]
        if not page.more:
            break
        after = page.tasks[-1].position
    assert len(set(ids)) == len(ids)
    return {task_id: await stored_task(store, task_id) for task_id in ids}


async def stored_task(store: TaskStore, task_id: str) -> Stored:
    """A task of a store. Raises AssertionError for a log that no run could have written."""
    key = TaskKey("", "", task_id)
    records = await store.read(key, 0, 1_000_000)
    assert records, f"task {task_id} has no log"
    assert [record.seq for record in records] == list(range(1, len(records) + 1)), f"task {task_id} has a gap"
    folding, state = Fold(Task()), None
    for record in records:
        event, message = record.unpack()
        assert event.ByteSize() == len(record.event), f"task {task_id}: half a record at {record.seq}"
        assert event.WhichOneof("payload") in ("task", "status_update", "artifact_update")
        assert state not in TERMINAL, f"task {task_id} goes on after its end at {record.seq}"
        if event.WhichOneof("payload") == "status_update" and state is not None:
            check(state, record.state)
        folding.apply(event, message)
        state = record.state
        assert folding.task.status.state == state, f"task {task_id}: the state at {record.seq} is not its event's"
    snapshot = await store.load(key)
    assert snapshot is not None
    if snapshot.seq == len(records):
        assert Task.FromString(snapshot.task) == folding.task, f"task {task_id} is not the fold of its log"
    return Stored(task_id, records, folding.task)


def check_notes(notes: Notes, stored: dict[str, Stored]) -> None:
    """Everything that was acknowledged is there; every key was taken once; nothing else is there."""
    for task_id, told in notes.records.items():
        log = stored[task_id].records
        for seq, event in told.items():
            assert seq <= len(log), f"task {task_id}: the acknowledged event {seq} is lost"
            assert log[seq - 1].event == event, f"task {task_id}: the event {seq} is not the acknowledged one"
    prefixes = {task_id: _prefixes(stored[task_id]) for task_id in {note[0] for note in notes.snapshots}}
    for task_id, seq, snapshot in notes.snapshots:
        assert prefixes[task_id][seq - 1] == Task.FromString(snapshot), f"task {task_id} was never that at {seq}"
    for task_id, answer in notes.answers:
        assert Task.FromString(answer) in _prefixes(stored[task_id]), f"task {task_id} was never what was answered"

    taken = [key for found in stored.values() for key in found.said]
    assert len(set(taken)) == len(taken), "a message was taken twice"
    assert set(taken) <= notes.tried
    for key, task_id in notes.accepted.items():
        assert key in stored[task_id].said, f"task {task_id} has lost the message {key}"
    for task_id in notes.canceled:
        assert stored[task_id].task.status.state == CANCELED, f"task {task_id} was canceled, they said"
    for found in stored.values():
        _check_steps(found)


def _check_steps(found: Stored) -> None:
    """Every artifact of the worker counts from 0 without gap or repeat, and no run goes on after the next has begun."""
    for artifact in found.task.artifacts:
        if artifact.artifact_id.startswith("steps-"):
            steps = [to_dict(part.data.struct_value)["step"] for part in artifact.parts]
            assert steps == list(range(len(steps))), f"task {found.task_id} counted {steps}"
    runs = [run for record in found.records if (run := _run_of(record))]
    changes = [run for before, run in zip(["", *runs], runs, strict=False) if run != before]
    assert len(set(changes)) == len(changes), f"task {found.task_id}: a run wrote after it was taken over: {changes}"


def _run_of(record: Record) -> str:
    """The run that made an event of the worker; empty for any other."""
    update = StreamResponse.FromString(record.event).artifact_update
    parts = update.artifact.parts
    return parts[0].data.struct_value.fields["run"].string_value if parts and parts[0].HasField("data") else ""


def _prefixes(found: Stored) -> list[Task]:
    """The task as it was after each of its events."""
    folding, prefixes = Fold(Task()), []
    for record in found.records:
        folding.apply(*record.unpack())
        prefix = Task()
        prefix.CopyFrom(folding.task)
        prefixes.append(prefix)
    return prefixes
