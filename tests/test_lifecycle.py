"""The transition table and the fold of events."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_grpc.lifecycle import (
    AUTH_REQUIRED,
    CANCELED,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    INTERRUPTED,
    NEXT,
    REJECTED,
    SETTLED,
    SUBMITTED,
    TERMINAL,
    WORKING,
    IllegalTransition,
    check,
    fold,
    state_name,
)
from a2a_grpc.parts import struct, to_dict
from a2a_grpc.wire import (
    ROLE_AGENT,
    ROLE_USER,
    Artifact,
    Message,
    Part,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from tests.covers import covers

UNSPECIFIED = TaskState.TASK_STATE_UNSPECIFIED
STATES = [
    UNSPECIFIED, SUBMITTED, WORKING, COMPLETED, FAILED, CANCELED, INPUT_REQUIRED, REJECTED, AUTH_REQUIRED,
]  # fmt: skip
OPEN = {SUBMITTED, WORKING, INPUT_REQUIRED, AUTH_REQUIRED}
LEGAL = {
    (before, after)
    for before in OPEN
    for after in (WORKING, INPUT_REQUIRED, AUTH_REQUIRED, COMPLETED, FAILED, CANCELED, REJECTED)
}

steady = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""The same examples each time, however slow the machine."""

Step = tuple[StreamResponse, Message | None]


# -- the table


def test_the_states_are_those_of_the_contract() -> None:
    assert sorted(TaskState.values()) == sorted(STATES)


@covers("ST-2")
def test_a_state_may_follow_another_exactly_as_the_table_says() -> None:
    for before, after in product(STATES, STATES):
        if (before, after) in LEGAL:
            check(before, after)
            continue
        with pytest.raises(IllegalTransition) as refused:
            check(before, after)
        assert str(refused.value) == f"{state_name(after)} cannot follow {state_name(before)}"


@covers("ST-1")
def test_terminal_is_final_interrupted_is_not_and_both_are_settled() -> None:
    assert {COMPLETED, FAILED, CANCELED, REJECTED} == TERMINAL
    assert {INPUT_REQUIRED, AUTH_REQUIRED} == INTERRUPTED
    assert SETTLED == TERMINAL | INTERRUPTED
    assert all(NEXT[state] == frozenset() for state in TERMINAL)
    assert all(NEXT[state] >= TERMINAL for state in OPEN)
    assert not any(SUBMITTED in after for after in NEXT.values())


@steady
@given(st.integers(min_value=9, max_value=2**31 - 1))
def test_a_state_that_the_contract_does_not_know_is_never_legal(number: int) -> None:
    with pytest.raises(IllegalTransition, match=f"UNKNOWN\\({number}\\)"):
        check(WORKING, number)  # type: ignore[arg-type]
    with pytest.raises(IllegalTransition):
        check(number, WORKING)  # type: ignore[arg-type]


def test_a_state_is_named_without_its_prefix() -> None:
    assert [state_name(state) for state in (WORKING, INPUT_REQUIRED, 42, -1)] == [
        "WORKING", "INPUT_REQUIRED", "UNKNOWN(42)", "UNKNOWN(-1)",
    ]  # fmt: skip


# -- the fold

words = st.text(max_size=4)
metadata: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.dictionaries(
    st.sampled_from("abc"), st.none() | st.booleans() | words, max_size=3
)


def said(role: Any) -> st.SearchStrategy[Message]:
    return st.builds(
        lambda text, number: Message(message_id=f"m-{number}", role=role, parts=[Part(text=text)]),
        words,
        st.integers(0, 99),
    )


@st.composite
def status_steps(draw: st.DrawFn) -> Step:
    event = TaskStatusUpdateEvent(
        task_id="t",
        context_id="c",
        status=TaskStatus(
            state=draw(st.sampled_from(STATES[1:])),
            message=draw(st.none() | said(ROLE_AGENT)),
            timestamp=Timestamp(seconds=draw(st.integers(0, 10**9))),
        ),
    )
    if (added := draw(metadata)) is not None:
        event.metadata.CopyFrom(struct(added))
    return StreamResponse(status_update=event), draw(st.none() | said(ROLE_USER))


@st.composite
def artifact_steps(draw: st.DrawFn) -> Step:
    artifact = Artifact(
        artifact_id=draw(st.sampled_from(["one", "two", "three"])),
        name=draw(words),
        description=draw(words),
        parts=[Part(text=text) for text in draw(st.lists(words, min_size=1, max_size=3))],
        extensions=draw(st.lists(st.sampled_from(["urn:1", "urn:2", "urn:3"]), max_size=3, unique=True)),
    )
    if (added := draw(metadata)) is not None:
        artifact.metadata.CopyFrom(struct(added))
    return StreamResponse(
        artifact_update=TaskArtifactUpdateEvent(
            task_id="t", context_id="c", artifact=artifact, append=draw(st.booleans()), last_chunk=draw(st.booleans())
        )
    ), None


def new_task() -> Task:
    return Task(
        id="t",
        context_id="c",
        status=TaskStatus(state=SUBMITTED),
        history=[Message(message_id="m-0", role=ROLE_USER, parts=[Part(text="begin")])],
    )


task_steps: st.SearchStrategy[Step] = st.builds(lambda: (StreamResponse(task=new_task()), None))
steps = st.lists(status_steps() | artifact_steps(), max_size=8)
logs = st.lists(status_steps() | artifact_steps() | task_steps, max_size=8)


@steady
@given(logs, st.data())
def test_folding_in_two_steps_equals_folding_at_once(log: list[Step], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    assert fold(fold(new_task(), log[:cut]), log[cut:]) == fold(new_task(), log)


@steady
@given(logs)
def test_folding_one_by_one_from_bytes_equals_folding_at_once(log: list[Step]) -> None:
    """As a store does it that keeps snapshots, and a client that was cut off."""
    serialized = new_task().SerializeToString()
    for step in log:
        serialized = fold(Task.FromString(serialized), [step]).SerializeToString()
    assert Task.FromString(serialized) == fold(new_task(), log)


@steady
@given(logs)
def test_the_fold_changes_its_task_in_place_and_no_event(log: list[Step]) -> None:
    before = [(event.SerializeToString(deterministic=True), message) for event, message in log]
    task = new_task()
    assert fold(task, log) is task
    task.ClearField("status")
    for artifact in task.artifacts:
        artifact.parts.add(text="more")
    assert [(event.SerializeToString(deterministic=True), message) for event, message in log] == before


@covers("HIST-5")
@steady
@given(steps)
def test_the_history_is_what_was_said_in_order_the_question_before_its_answer(log: list[Step]) -> None:
    expected, standing = list(new_task().history), None
    for event, message in log:
        if not event.HasField("status_update"):
            continue
        expected += [one for one in (standing, message) if one is not None]
        status = event.status_update.status
        standing = status.message if status.HasField("message") else None
    task = fold(new_task(), log)
    assert list(task.history) == expected
    assert (task.status.message if task.status.HasField("message") else None) == standing


@steady
@given(steps)
def test_the_status_is_that_of_the_last_status_event(log: list[Step]) -> None:
    statuses = [event.status_update.status for event, _ in log if event.HasField("status_update")]
    assert fold(new_task(), log).status == (statuses[-1] if statuses else new_task().status)


@steady
@given(steps)
def test_metadata_of_events_is_upserted_into_the_tasks(log: list[Step]) -> None:
    task = new_task()
    task.metadata.CopyFrom(struct({"a": "from the start", "z": 1}))
    expected = to_dict(task.metadata)
    for event, _ in log:
        expected |= to_dict(event.status_update.metadata)
    assert to_dict(fold(task, log).metadata) == expected


@dataclass
class Model:
    """An artifact, kept by hand."""

    name: str = ""
    description: str = ""
    texts: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    extensions: list[str] = field(default_factory=list)


@covers("ART-2")
@steady
@given(steps)
def test_artifacts_are_made_replaced_and_extended(log: list[Step]) -> None:
    """Parts are concatenated, metadata upserted, extensions united, a name or description that is given again wins."""
    expected: dict[str, Model] = {}
    for event, _ in log:
        if not event.HasField("artifact_update"):
            continue
        update = event.artifact_update
        chunk = update.artifact
        known = expected.get(chunk.artifact_id) if update.append else None
        model = expected[chunk.artifact_id] = known or Model()
        model.name = chunk.name or model.name
        model.description = chunk.description or model.description
        model.texts += [part.text for part in chunk.parts]
        model.metadata |= to_dict(chunk.metadata)
        model.extensions += [uri for uri in chunk.extensions if uri not in model.extensions]
    found = {
        artifact.artifact_id: Model(
            artifact.name,
            artifact.description,
            [part.text for part in artifact.parts],
            dict(to_dict(artifact.metadata)),
            list(artifact.extensions),
        )
        for artifact in fold(new_task(), log).artifacts
    }
    assert found == expected
    assert list(found) == list(expected), "in the order in which they were made"


@steady
@given(steps)
def test_a_task_event_replaces_all_that_was_before(log: list[Step]) -> None:
    assert fold(new_task(), [*log, (StreamResponse(task=new_task()), None)]) == new_task()


def test_folding_nothing_changes_nothing() -> None:
    assert fold(new_task(), []) == new_task()
