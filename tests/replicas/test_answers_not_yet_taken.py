"""The answer to a question is sent while its task is still held by a server that was killed, or is busy: `send` returns
what comes of the answer, and never the state that the message found."""

import asyncio

import pytest

from a2a_grpc import Client, Task, connect, text_of
from a2a_grpc.engine import intake
from a2a_grpc.lifecycle import AUTH_REQUIRED, COMPLETED, INPUT_REQUIRED
from a2a_grpc.store import TaskKey
from tests.guarantees.rig import user_texts
from tests.harness import eventually
from tests.replicas.rig import Replica, Site, artifact_of, reason_of


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server does not wait for another to take an answer before it tells of the task."""
    monkeypatch.setattr(intake, "TAKEN_WITHIN_S", 0.01)


async def answered_while_held(site: Site, holder: Replica, task_id: str, **options: int) -> Task:
    """What `send` gives for an answer that a replica accepts while the dead holder's lease lasts."""
    other, name = await site.join(lease_s=60.0), holder.name
    await holder.die(at_once=False)
    async with connect(other.server.grpc_address) as client:
        sending = asyncio.ensure_future(client.send("yes", task_id=task_id, **options))  # type: ignore[arg-type]
        await eventually(lambda: _streams(other))
        done, _ = await asyncio.wait([sending], timeout=0.2)
        assert not done, sending
        await site.declare_dead(name)
        task = await sending
        assert isinstance(task, Task)
        return task


async def _streams(replica: Replica) -> None:
    assert replica.server._running.calls.streams == 1


@pytest.mark.parametrize("text", ["permit may I?", "ask which?"])
async def test_an_answer_waits_for_the_lease_of_a_dead_server_and_gives_the_task_as_get_does(
    site: Site, text: str
) -> None:
    first = await site.join(lease_s=60.0)
    task = await first.say(text)
    assert task.status.state in (AUTH_REQUIRED, INPUT_REQUIRED)
    answered = await answered_while_held(site, first, task.id)
    assert answered.status.state == COMPLETED
    assert user_texts(answered) == [text, "yes"]
    assert answered == await (await site.join()).get(task.id)


async def test_an_answer_waits_however_little_of_the_history_was_asked_for(site: Site) -> None:
    first = await site.join(lease_s=60.0)
    task = await first.say("permit one; permit two")
    answered = await answered_while_held(site, first, task.id, history_length=0)
    assert (answered.status.state, reason_of(answered)) == (AUTH_REQUIRED, "two")
    assert not answered.history


async def test_an_answer_that_was_taken_before_the_first_snapshot_gives_the_next_question(site: Site) -> None:
    replica = await site.join()
    task = await replica.say("permit one; permit two; permit three")
    async with connect(replica.server.grpc_address) as client, asyncio.timeout(60):
        for answer, question in (("a", "two"), ("b", "three")):
            asked = await answer_to(client, answer, task.id)
            assert (asked.status.state, reason_of(asked)) == (AUTH_REQUIRED, question)
            assert asked == await replica.get(task.id)
        ended = await answer_to(client, "c", task.id)
    assert ended.status.state == COMPLETED
    assert text_of(artifact_of(ended, "permit")) == "abc"


async def answer_to(client: Client, text: str, task_id: str) -> Task:
    task = await client.send(text, task_id=task_id)
    assert isinstance(task, Task)
    return task


@pytest.mark.parametrize("end", ["auth sign in", "permit may I?", "park which?"])
async def test_a_message_to_a_working_task_waits_for_its_own_turn_and_stands_in_the_history(
    site: Site, end: str
) -> None:
    replica = await site.join()
    task_id = await replica.begin(f"hold; {end}")
    async with connect(replica.server.grpc_address) as client, asyncio.timeout(60):
        sending = asyncio.ensure_future(client.send("last", task_id=task_id))
        await eventually(lambda: _waits(site, task_id))
        replica.hand.go.set()
        task = await sending
        assert isinstance(task, Task)
        assert task.status.state == COMPLETED
        assert user_texts(task) == [f"hold; {end}", "last"]
        assert task == await replica.get(task_id)


async def _waits(site: Site, task_id: str) -> None:
    assert len(await site.store.pending(TaskKey("", "", task_id))) > 1
