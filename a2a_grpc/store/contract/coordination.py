"""The tests of claims and leases."""

import asyncio

import pytest

from a2a_grpc import lifecycle
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, WORKING
from a2a_grpc.store import (
    Append,
    StaleAppend,
    TaskStore,
    over,
)
from a2a_grpc.store.contract.given import (
    KEY,
    LEASE_S,
    ME,
    OTHER,
    append,
    born,
    chunk,
    claim,
    create,
    head_of,
    status,
)
from a2a_grpc.wire import (
    TaskState,
)


class CoordinationContract:
    """The tests of the `Coordination` of a `TaskStore`. Each test is one guarantee."""

    async def test_an_unknown_task_cannot_be_claimed(self, store: TaskStore) -> None:
        assert await store.claim(KEY, ME) is None
        assert await store.seqs([KEY]) == [0]

    async def test_a_later_claim_voids_the_earlier_ones(self, store: TaskStore) -> None:
        first = await create(store)
        second = (await claim(store, OTHER, force=True)).epoch
        assert second != first
        with pytest.raises(StaleAppend):
            await append(store, status(2), epoch=first)
        await append(store, status(2), epoch=second)
        head = await head_of(store)
        assert (head.seq, head.epoch, head.replica) == (2, second, OTHER)

    async def test_a_write_under_another_claim_has_its_error_in_the_future(self, store: TaskStore) -> None:
        epoch = await create(store)
        written = store.write(Append(KEY, status(2), epoch + 1))
        await over(written)
        assert isinstance(written.exception(), StaleAppend)
        assert await store.read(KEY, 0, 10) == [born()]

    @pytest.mark.parametrize("end", sorted(lifecycle.TERMINAL))
    async def test_nothing_follows_a_terminal_record(self, store: TaskStore, end: TaskState) -> None:
        epoch = await create(store)
        await append(store, status(2, end), epoch=epoch)
        for _ in range(2):
            with pytest.raises(StaleAppend):
                await append(store, status(3), epoch=epoch)
            epoch = (await claim(store, ME)).epoch
        assert await store.read(KEY, 2, 10) == []

    async def test_a_replica_is_alive_until_it_leaves(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        await create(store)
        assert await store.renew(ME, LEASE_S)
        assert await store.orphaned(10) == []
        assert await store.claimed_by(ME) == [KEY]
        assert await store.claimed_by(OTHER) == []
        assert not (await head_of(store)).is_lost
        await store.leave(ME)
        assert not await store.renew(ME, LEASE_S)
        assert await store.orphaned(10) == [KEY]
        head = await head_of(store)
        assert (head.replica, head.is_lost) == (ME, True)

    async def test_a_replica_whose_lease_has_lapsed_is_declared_dead_by_another(self, store: TaskStore) -> None:
        await store.join(ME, 0.05)
        await store.join(OTHER, LEASE_S)
        await create(store)
        while not await store.orphaned(10):
            assert await store.renew(OTHER, LEASE_S)
        assert not await store.renew(ME, LEASE_S), "nobody comes back from the dead"

    async def test_a_late_renewal_counts_where_nobody_has_noticed(self, store: TaskStore) -> None:
        await store.join(ME, 0.001)
        await create(store)
        await asyncio.sleep(0.01)
        assert await store.renew(ME, LEASE_S)
        assert await store.orphaned(10) == []

    async def test_a_replica_that_renews_late_declares_nobody_dead(self, store: TaskStore) -> None:
        """Keep the first replica from taking the tasks of the others when all are late after an outage."""
        await store.join(ME, 0.001)
        await store.join(OTHER, 0.001)
        await create(store)
        await asyncio.sleep(0.01)
        assert await store.renew(OTHER, LEASE_S)
        assert await store.orphaned(10) == []
        assert await store.renew(ME, LEASE_S)

    async def test_only_tasks_that_somebody_held_are_lost(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        for place, end in enumerate([WORKING, INPUT_REQUIRED, INPUT_REQUIRED, COMPLETED]):
            key = KEY._replace(id=f"t-{place}")
            epoch = await create(store, key)
            await append(store, status(2, end), epoch=epoch, key=key, release=place == 2)
        await store.leave(ME)
        assert sorted(key.id for key in await store.orphaned(10)) == ["t-0", "t-1"]
        assert len(await store.orphaned(1)) == 1

    async def test_a_task_is_claimed_from_nobody_or_from_the_dead(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        await store.join(OTHER, LEASE_S)
        epoch = await create(store)
        held = await claim(store, OTHER)
        assert (held.replica, held.epoch, held.attempt) == (ME, epoch, 1)
        again = await claim(store, ME)
        assert again.epoch > epoch
        assert (again.replica, again.attempt) == (ME, 2)
        await store.leave(ME)
        taken = await claim(store, OTHER)
        assert taken.epoch > again.epoch
        assert (taken.replica, taken.attempt, taken.is_lost) == (OTHER, 3, False)
        await append(store, status(2, INPUT_REQUIRED), epoch=taken.epoch, release=True)
        assert (await head_of(store)).replica == ""
        assert (await claim(store, OTHER)).replica == OTHER

    async def test_of_racing_claims_one_wins(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        for replica in (names := [f"other-{place}" for place in range(8)]):
            await store.join(replica, LEASE_S)
        await create(store)
        await store.leave(ME)
        heads = await asyncio.gather(*(claim(store, replica) for replica in names))
        assert len({(head.replica, head.epoch) for head in heads}) == 1
        assert sum(head.replica == replica for head, replica in zip(heads, names, strict=True)) == 1

    async def test_attempts_count_until_a_turn_opens_that_leaves_the_one_before_it_done(self, store: TaskStore) -> None:
        await create(store)
        head = await claim(store, OTHER)
        assert head.attempt == 2
        await append(store, status(2, turn=2), epoch=head.epoch)
        assert (await head_of(store)).attempt == 2
        await append(store, status(3, turn=3), epoch=head.epoch, done=2)
        assert (await head_of(store)).attempt == 1

    async def test_a_task_that_is_lost_while_it_waits_for_its_user_counts_no_attempt(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch)
        await store.leave(ME)
        taken = await claim(store, OTHER)
        assert (taken.replica, taken.attempt) == (OTHER, 1)

    async def test_a_claimed_task_that_has_ended_stays_as_it_is(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, COMPLETED), epoch=epoch)
        before = await head_of(store)
        assert before.replica == ""
        assert await claim(store, OTHER, force=True) == before
        assert await store.request_cancel(KEY, b"why") == before

    @pytest.mark.parametrize("state", sorted(lifecycle.INTERRUPTED))
    async def test_a_task_waits_from_its_question_to_its_answer(self, store: TaskStore, state: TaskState) -> None:
        epoch = await create(store)
        assert (await store.count_waiting(), await store.waiting_longer(0.0, 10)) == (0, [])
        await append(store, status(2, state), epoch=epoch)
        await asyncio.sleep(0.02)
        assert (await store.count_waiting(), await store.waiting_longer(0.01, 10)) == (1, [KEY])
        assert await store.waiting_longer(60.0, 10) == []
        await append(store, status(3, turn=2), epoch=epoch)
        assert (await store.count_waiting(), await store.waiting_longer(0.0, 10)) == (0, [])

    async def test_a_wait_is_measured_from_the_newest_question_by_the_clock_of_the_store(
        self, store: TaskStore
    ) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED, at_us=1), epoch=epoch)
        assert await store.waiting_longer(60.0, 10) == [], "what a replica says of the time does not count"
        await asyncio.sleep(0.2)
        await append(store, status(3, INPUT_REQUIRED), epoch=epoch)
        assert await store.waiting_longer(0.2, 10) == []

    async def test_the_longest_waiting_come_first_and_the_ended_not_at_all(self, store: TaskStore) -> None:
        keys = [KEY._replace(id=f"t-{place}") for place in (3, 1, 2, 0)]
        epochs = {key: await create(store, key) for key in keys}
        for key in keys:
            await append(store, status(2, INPUT_REQUIRED), epoch=epochs[key], key=key)
            await asyncio.sleep(0.005)
        await append(store, status(3, COMPLETED), epoch=epochs[keys[1]], key=keys[1])
        assert await store.waiting_longer(0.0, 10) == [keys[0], keys[2], keys[3]]
        assert await store.waiting_longer(0.0, 2) == [keys[0], keys[2]]
        assert await store.count_waiting() == 3

    async def test_claims_and_updates_that_bring_no_status_do_not_count_as_an_answer(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch)
        await append(store, chunk(3, "x", state=INPUT_REQUIRED), epoch=epoch)
        await claim(store, ME)
        await asyncio.sleep(0.005)
        assert (await store.count_waiting(), await store.waiting_longer(0.0, 10)) == (1, [KEY])

    async def test_seqs_are_those_of_the_tasks_asked_for(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2), epoch=epoch)
        await create(store, KEY._replace(id="t-2"))
        keys = [KEY._replace(id="t-2"), KEY._replace(id="unknown"), KEY, KEY._replace(owner="x")]
        assert await store.seqs(keys) == [1, 0, 2, 0]
        assert await store.seqs([]) == []

    async def test_the_first_agents_name_stays(self, store: TaskStore) -> None:
        names = ["Poet \U0001f40d", "Critic", "Poet \U0001f40d"]
        assert {await store.belong_to(name) for name in names} == {"Poet \U0001f40d"}

    async def test_of_agents_that_come_at_the_same_time_one_gives_its_name(self, store: TaskStore) -> None:
        kept = await asyncio.gather(*(store.belong_to(f"agent {number}") for number in range(8)))
        assert len(set(kept)) == 1
        assert kept[0] in {f"agent {number}" for number in range(8)}
