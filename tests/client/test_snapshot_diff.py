"""What a snapshot says beyond what is known: applied to what is known, it gives the snapshot."""

from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc.client.snapshot_diff import snapshot_diff
from a2a_grpc.lifecycle import COMPLETED, TERMINAL, WORKING, Event, Fold, fold, payload_of
from a2a_grpc.parts import struct, to_dict
from a2a_grpc.wire import (
    ROLE_AGENT,
    Artifact,
    Message,
    Part,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from tests.test_lifecycle import Step, artifact_steps, logs, new_task, status_steps, steady


def legal(log: list[Step]) -> list[Step]:
    """The log up to its first terminal status: nothing may follow one."""
    for place, (event, _) in enumerate(log):
        if event.status_update.status.state in TERMINAL:
            return log[: place + 1]
    return log


lives = st.lists(status_steps() | artifact_steps(), max_size=12).map(legal)
"""What happens to a task in its life, or in the beginning of it."""


def copy(task: Task) -> Task:
    copied = Task()
    copied.CopyFrom(task)
    return copied


def moments(life: list[Step], at: int) -> tuple[Task, Task]:
    """A task after so many of its events, and after all of them."""
    return fold(new_task(), life[:at]), fold(new_task(), life)


def applied(known: Task, events: list[Event]) -> Task:
    folding = Fold(copy(known))
    for event in events:
        folding.apply(event)
    return folding.task


def by_id(task: Task) -> dict[str, Artifact]:
    return {artifact.artifact_id: artifact for artifact in task.artifacts}


@steady
@given(lives, st.data())
def test_news_applied_to_what_is_known_give_the_snapshots_artifacts_status_and_metadata(
    life: list[Step], data: st.DataObject
) -> None:
    known, snapshot = moments(life, data.draw(st.integers(0, len(life)), label="known"))
    found = applied(known, snapshot_diff(known, snapshot))
    assert by_id(found) == by_id(snapshot)
    assert list(by_id(found)) == list(by_id(snapshot)), "in the order in which they were made"
    assert found.status == snapshot.status
    assert to_dict(found.metadata) == to_dict(snapshot.metadata)
    assert (found.id, found.context_id) == (snapshot.id, snapshot.context_id)


@steady
@given(lives, st.data())
def test_after_the_news_there_are_none(life: list[Step], data: st.DataObject) -> None:
    known, snapshot = moments(life, data.draw(st.integers(0, len(life)), label="known"))
    assert snapshot_diff(applied(known, snapshot_diff(known, snapshot)), snapshot) == []


@steady
@given(lives)
def test_an_equal_task_is_no_snapshot_diff(life: list[Step]) -> None:
    task = fold(new_task(), life)
    assert snapshot_diff(task, task) == []
    assert snapshot_diff(task, copy(task)) == []


@steady
@given(lives, st.data())
def test_a_status_comes_last_so_that_nothing_follows_a_terminal_one(life: list[Step], data: st.DataObject) -> None:
    known, snapshot = moments(life, data.draw(st.integers(0, len(life)), label="known"))
    events = snapshot_diff(known, snapshot)
    assert not any(isinstance(event, TaskStatusUpdateEvent) for event in events[:-1])
    if known.status.state in TERMINAL:
        assert events == []


@steady
@given(lives, st.data())
def test_news_change_neither_what_is_known_nor_the_snapshot_nor_share_anything_with_them(
    life: list[Step], data: st.DataObject
) -> None:
    known, snapshot = moments(life, data.draw(st.integers(0, len(life)), label="known"))
    before = copy(known), copy(snapshot)
    for event in snapshot_diff(known, snapshot):
        match event:
            case TaskArtifactUpdateEvent():
                event.artifact.parts.add(text="more")
                event.artifact.metadata["more"] = True
            case TaskStatusUpdateEvent():
                event.status.message.parts.add(text="more")
                event.metadata["more"] = True
    assert (known, snapshot) == before


@steady
@given(lives, st.data())
def test_news_name_the_task_and_its_context(life: list[Step], data: st.DataObject) -> None:
    known, snapshot = moments(life, data.draw(st.integers(0, len(life)), label="known"))
    for event in snapshot_diff(known, snapshot):
        assert isinstance(event, TaskArtifactUpdateEvent | TaskStatusUpdateEvent)
        assert (event.task_id, event.context_id) == ("t", "c")


@steady
@given(lives, st.data())
def test_an_artifact_that_only_grew_comes_as_the_chunk_by_which_it_grew(life: list[Step], data: st.DataObject) -> None:
    """So that a reader that prints chunks prints nothing twice."""
    known, snapshot = moments(life, data.draw(st.integers(0, len(life)), label="known"))
    chunks = [(step[0].artifact_update.artifact.parts, step[0]) for step in life if step[0].HasField("artifact_update")]
    if any(not event.artifact_update.append for _, event in chunks):
        return
    for event in snapshot_diff(known, snapshot):
        if isinstance(event, TaskArtifactUpdateEvent):
            old = by_id(known).get(event.artifact.artifact_id, Artifact())
            new = by_id(snapshot)[event.artifact.artifact_id]
            told = list(event.artifact.parts)
            if event.append:
                assert list(old.parts) + told == list(new.parts)
            else:
                assert told == list(new.parts)


# -- by example


def one(*texts: str, name: str = "", **metadata: str) -> Artifact:
    artifact = Artifact(artifact_id="a", name=name, parts=[Part(text=text) for text in texts])
    if metadata:
        artifact.metadata.CopyFrom(struct(metadata))
    return artifact


def told(old: Artifact | None, new: Artifact) -> TaskArtifactUpdateEvent:
    """The one event for an artifact that became another."""
    status = TaskStatus(state=WORKING)
    known = Task(id="t", context_id="c", status=status, artifacts=[old] if old else [])
    (event,) = snapshot_diff(known, Task(id="t", context_id="c", status=status, artifacts=[new]))
    assert isinstance(event, TaskArtifactUpdateEvent)
    return event


def test_a_new_artifact_comes_whole() -> None:
    event = told(None, one("x", "y", name="n"))
    assert (event.append, event.artifact) == (False, one("x", "y", name="n"))


def test_an_artifact_with_more_parts_comes_as_those() -> None:
    event = told(one("x", name="n"), one("x", "y", "z", name="n"))
    assert (event.append, event.artifact) == (True, one("y", "z"))


def test_an_artifact_with_more_parts_and_another_name_comes_as_those_with_the_name() -> None:
    event = told(one("x", name="n"), one("x", "y", name="m"))
    assert (event.append, event.artifact) == (True, one("y", name="m"))


def test_an_artifact_with_other_parts_or_fewer_or_without_its_name_comes_whole() -> None:
    for new in (one("y"), one("y", "x"), one(), one("x", "y")):
        event = told(one("x", name="n"), new)
        assert (event.append, event.artifact) == (False, new)


def test_an_artifact_that_lost_metadata_comes_whole() -> None:
    event = told(one("x", a="1", b="2"), one("x", "y", a="1"))
    assert (event.append, event.artifact) == (False, one("x", "y", a="1"))


def test_a_status_with_another_message_in_the_same_state_is_snapshot_diff() -> None:
    said = Message(message_id="m", role=ROLE_AGENT, parts=[Part(text="half")])
    snapshot = Task(id="t", context_id="c", status=TaskStatus(state=WORKING, message=said))
    (event,) = snapshot_diff(Task(id="t", context_id="c", status=TaskStatus(state=WORKING)), snapshot)
    assert event == TaskStatusUpdateEvent(task_id="t", context_id="c", status=snapshot.status)


def test_metadata_that_is_new_comes_with_the_status() -> None:
    known = Task(id="t", status=TaskStatus(state=WORKING), metadata=struct({"a": 1}))
    snapshot = Task(id="t", status=TaskStatus(state=COMPLETED), metadata=struct({"a": 1, "b": 2}))
    (event,) = snapshot_diff(known, snapshot)
    assert isinstance(event, TaskStatusUpdateEvent)
    assert event.status.state == COMPLETED
    assert to_dict(event.metadata)["b"] == 2


# -- the fold that streams keep


@steady
@given(logs)
def test_applying_events_one_by_one_unwrapped_is_the_fold_of_the_log(log: list[Step]) -> None:
    """A client folds what it reads as it comes; a server folds a whole log."""
    folding = Fold(new_task())
    for number, (element, message) in enumerate(log, start=1):
        event = payload_of(element)
        assert event is not None
        folding.apply(event, message)
        assert folding.task == fold(new_task(), log[:number])


@steady
@given(logs)
def test_a_fold_shares_nothing_with_the_events_applied_to_it(log: list[Step]) -> None:
    elements = [StreamResponse.FromString(element.SerializeToString()) for element, _ in log]
    folding = Fold(new_task())
    for element in elements:
        folding.apply(element)
    before = copy(folding.task)
    for element in elements:
        match payload_of(element):
            case Task() as task:
                task.history.add(message_id="more")
            case TaskArtifactUpdateEvent() as update:
                update.artifact.parts.add(text="more")
            case TaskStatusUpdateEvent() as update:
                update.status.message.parts.add(text="more")
    assert folding.task == before
