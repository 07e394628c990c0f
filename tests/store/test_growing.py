"""A task that is folded in pieces is the task that is folded in one."""

import random

import pytest

from a2a_grpc.lifecycle import WORKING, fold
from a2a_grpc.store import Record, growing
from a2a_grpc.store.growing import folded
from a2a_grpc.wire import (
    Artifact,
    Message,
    Part,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatus,
    TaskStatusUpdateEvent,
)


def some_event(dice: random.Random, place: int) -> tuple[StreamResponse, Message | None]:
    if dice.random() < 0.7:
        artifact = Artifact(artifact_id=dice.choice("abc"), parts=[Part(text="x" * dice.randrange(80))])
        if dice.random() < 0.3:
            artifact.name = f"name {place}"
        if dice.random() < 0.3:
            artifact.extensions.extend(dice.sample(["one", "two", "three"], 2))
        if dice.random() < 0.3:
            artifact.metadata.fields[dice.choice("kl")].string_value = str(place)
        update = TaskArtifactUpdateEvent(artifact=artifact, append=dice.random() < 0.8)
        if dice.random() < 0.2:  # the end of an artifact, which has no part of its own
            seal = Artifact(artifact_id=artifact.artifact_id, parts=[Part(text="")])
            update = TaskArtifactUpdateEvent(artifact=seal, append=True, last_chunk=True)
        return StreamResponse(artifact_update=update), None
    status = TaskStatusUpdateEvent(status=TaskStatus(state=WORKING))
    if dice.random() < 0.5:
        status.status.message.parts.add().text = f"said {place}"
    if dice.random() < 0.5:
        status.metadata.fields[dice.choice("kl")].string_value = str(place)
    message = Message(message_id=str(place), parts=[Part(text="hi")]) if dice.random() < 0.3 else None
    return StreamResponse(status_update=status), message


@pytest.mark.parametrize("loose_bytes", [0, 100, 300, 1 << 20])
def test_what_is_folded_in_pieces_is_what_is_folded_in_one(monkeypatch: pytest.MonkeyPatch, loose_bytes: int) -> None:
    monkeypatch.setattr(growing, "LOOSE_BYTES", loose_bytes)
    monkeypatch.setattr(growing, "SPLICED_BYTES", loose_bytes // 2)
    dice = random.Random(14)
    for _ in range(200):
        born = Task(id="t", history=[Message(message_id="0")], status=TaskStatus(state=WORKING))
        events = [some_event(dice, place) for place in range(dice.randrange(60))]
        records = [
            Record(seq, event.SerializeToString(), WORKING, 1, 0, message.SerializeToString() if message else b"")
            for seq, (event, message) in enumerate(events, start=2)
        ]
        whole = Task()
        whole.CopyFrom(born)
        fold(whole, events)
        half = dice.randrange(len(records) + 1)
        start = folded([born.SerializeToString()], records[:half])
        assert Task.FromString(folded([start], records[half:])) == whole


def test_a_large_task_has_no_more_bytes_than_its_events() -> None:
    chunk = Artifact(artifact_id="a", name="n", parts=[Part(text="x" * 300_000)], extensions=["one"])
    update = StreamResponse(artifact_update=TaskArtifactUpdateEvent(artifact=chunk, append=True))
    records = [Record(seq, update.SerializeToString(), WORKING, 1) for seq in range(2, 22)]
    whole = fold(Task(id="t"), [(update, None)] * 20)
    made = folded([Task(id="t").SerializeToString()], records)
    assert Task.FromString(made) == whole
    assert len(made) < sum(record.size for record in records)
