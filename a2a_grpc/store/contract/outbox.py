"""The tests of push configs: their cursors and their claims."""

import asyncio
from typing import Protocol

import pytest

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.store import Outbox, Push, PushClaim, PushName, PushStep, TaskKey, TaskStore, Then, TooManyPushes
from a2a_grpc.store.contract.given import KEY, LEASE_S, ME, ODD, OTHER, append, claim, create, enqueue, status

PUSH = Push("p-1", b"\x00config", b"\xffsecrets", "1.0")
NAME = PushName(KEY, PUSH.id)


class OutboxStore(TaskStore, Outbox, Protocol):
    """A task store with an outbox."""


async def _claimed(store: OutboxStore, replica: str = ME) -> PushClaim:
    """Claim the only config that can be claimed."""
    (found,) = await store.claim_pushes(replica, 10)
    return found


def _step(claimed: PushClaim, seq: int, then: Then = Then.KEEP, **more: object) -> PushStep:
    return PushStep(claimed.name, claimed.epoch, seq, then, **more)  # type: ignore[arg-type]


async def _resting(store: OutboxStore) -> int:
    """Create a task that waits for its user, with a config that rests. Return the epoch of the task."""
    epoch = await create(store, pushes=(PUSH,))
    await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True)
    assert await store.step_push(_step(await _claimed(store), 2, Then.REST)) is Then.REST
    assert await store.claim_pushes(ME, 10) == []
    return epoch


class OutboxContract:
    """The tests of the `Outbox` of a store. Each test is one guarantee.

    Make a subclass with a fixture `store`, as for `StoreContract`.
    """

    async def test_an_unknown_task_has_no_configs(self, store: OutboxStore) -> None:
        assert not await store.add_push(KEY, PUSH, limit=1)
        assert await store.get_push(KEY, PUSH.id) is None
        assert await store.list_pushes(KEY, "", 10) is None
        assert not await store.delete_push(KEY, PUSH.id)
        assert await store.claim_pushes(ME, 10) == []

    async def test_a_config_is_kept_as_it_is(self, store: OutboxStore) -> None:
        await create(store)
        assert await store.list_pushes(KEY, "", 10) == []
        assert await store.add_push(KEY, PUSH, limit=1)
        assert await store.get_push(KEY, PUSH.id) == PUSH
        assert await store.list_pushes(KEY, "", 10) == [PUSH]
        assert await store.get_push(KEY, "p-2") is None
        for foreign in (KEY._replace(owner="another"), KEY._replace(tenant="another")):
            assert await store.get_push(foreign, PUSH.id) is None

    @pytest.mark.parametrize("odd", ODD)
    async def test_ids_of_configs_may_be_any_text(self, store: OutboxStore, odd: str) -> None:
        key = TaskKey(odd, odd, odd)
        await create(store, key, context_id=odd, pushes=(PUSH._replace(id=odd, version=odd),))
        assert await store.get_push(key, odd) == PUSH._replace(id=odd, version=odd)
        assert (await _claimed(store)).name == PushName(key, odd)

    async def test_configs_are_listed_in_pages_in_order_of_their_ids(self, store: OutboxStore) -> None:
        ids = ["b", "a", "B", "a b", "\U0001f600", "á"]
        await create(store, pushes=tuple(PUSH._replace(id=id) for id in ids))
        found = await store.list_pushes(KEY, "", 4)
        assert found is not None
        assert [push.id for push in found] == sorted(ids)[:4]
        rest = await store.list_pushes(KEY, found[-1].id, 4)
        assert rest is not None
        assert [push.id for push in rest] == sorted(ids)[4:]

    async def test_a_task_has_configs_up_to_a_limit(self, store: OutboxStore) -> None:
        await create(store, pushes=(PUSH,))
        await store.add_push(KEY, PUSH._replace(id="p-2"), limit=2)
        with pytest.raises(TooManyPushes):
            await store.add_push(KEY, PUSH._replace(id="p-3"), limit=2)
        assert await store.get_push(KEY, "p-3") is None
        assert await store.add_push(KEY, PUSH._replace(id="p-2", config=b"new"), limit=2), "it replaces one"
        assert await store.get_push(KEY, "p-2") == PUSH._replace(id="p-2", config=b"new")

    async def test_configs_come_with_their_task_or_not_at_all(self, store: OutboxStore) -> None:
        epoch = await create(store, pushes=(PUSH, PUSH._replace(id="p-2")))
        claims = await store.claim_pushes(ME, 10)
        assert sorted(claim.push.id for claim in claims) == ["p-1", "p-2"]
        assert {(claim.name.key, claim.seq, claim.attempts, claim.denials) for claim in claims} == {(KEY, 0, 0, 0)}
        await append(store, status(2), epoch=epoch)

    async def test_the_cursor_of_an_added_config_is_at_the_newest_record(self, store: OutboxStore) -> None:
        epoch = await create(store)
        await append(store, status(2), epoch=epoch)
        await store.add_push(KEY, PUSH, limit=1)
        assert (await _claimed(store)).seq == 2

    async def test_a_config_of_an_ended_task_has_the_end_before_it(self, store: OutboxStore) -> None:
        epoch = await create(store)
        await append(store, status(2, COMPLETED), epoch=epoch)
        await store.add_push(KEY, PUSH, limit=1)
        claimed = await _claimed(store)
        assert claimed.seq == 1
        assert await store.step_push(_step(claimed, 2, Then.REST)) is Then.END
        assert await store.claim_pushes(ME, 10) == []
        assert await store.get_push(KEY, PUSH.id) == PUSH

    async def test_one_replica_at_a_time_has_the_claim(self, store: OutboxStore) -> None:
        for replica in (ME, OTHER):
            await store.join(replica, LEASE_S)
        await create(store, pushes=(PUSH,))
        claimed = await _claimed(store)
        assert await store.claim_pushes(OTHER, 10) == []
        assert await store.claim_pushes(ME, 10) == []
        assert await store.claimed_pushes(ME) == [_step(claimed, 0, Then.WAIT)]
        assert await store.claimed_pushes(OTHER) == []

    async def test_the_claim_of_a_lost_replica_is_taken_over_and_void(self, store: OutboxStore) -> None:
        for replica in (ME, OTHER):
            await store.join(replica, LEASE_S)
        await create(store, pushes=(PUSH,))
        former = await _claimed(store)
        assert await store.step_push(_step(former, 1, attempts=2, denials=1, error="why")) is Then.KEEP
        await store.leave(ME)
        taken = await _claimed(store, OTHER)
        assert taken.epoch > former.epoch
        assert (taken.seq, taken.attempts, taken.denials) == (1, 2, 1)
        for then in Then:
            assert await store.step_push(_step(former, 7, then)) is None
        given_back = _step(taken, 1, Then.WAIT, attempts=2, denials=1, error="why")
        assert await store.claimed_pushes(OTHER) == [given_back]
        assert await store.step_push(_step(taken, 1, Then.WAIT)) is Then.WAIT
        assert (await _claimed(store, OTHER)).seq == 1

    async def test_a_step_that_comes_late_moves_no_cursor_back(self, store: OutboxStore) -> None:
        await store.join(ME, LEASE_S)
        await create(store, pushes=(PUSH,))
        claimed = await _claimed(store)
        assert await store.step_push(_step(claimed, 3)) is Then.KEEP
        for then in Then:
            assert await store.step_push(_step(claimed, 2, then, delay_s=1000.0, attempts=1)) is None
        assert await store.claimed_pushes(ME) == [_step(claimed, 3, Then.WAIT)]
        steps = await asyncio.gather(*(store.step_push(_step(claimed, seq)) for seq in (5, 4)))
        assert steps in ([Then.KEEP, None], [Then.KEEP, Then.KEEP])
        assert await store.claimed_pushes(ME) == [_step(claimed, 5, Then.WAIT)]

    async def test_a_claim_is_limited_and_takes_the_first_ones(self, store: OutboxStore) -> None:
        await store.join(ME, LEASE_S)
        await create(store)
        for id in ("c", "a", "b"):
            await store.add_push(KEY, PUSH._replace(id=id), limit=3)
        assert {claim.push.id for claim in await store.claim_pushes(ME, 2)} == {"c", "a"}
        assert {claim.push.id for claim in await store.claim_pushes(ME, 2)} == {"b"}

    async def test_a_config_waits_for_its_next_attempt(self, store: OutboxStore) -> None:
        await store.join(ME, LEASE_S)
        await create(store, pushes=(PUSH,))
        claimed = await _claimed(store)
        assert await store.step_push(_step(claimed, 0, Then.WAIT, delay_s=1000.0, attempts=1, error="no")) is Then.WAIT
        assert await store.claim_pushes(ME, 10) == []
        assert await store.claimed_pushes(ME) == []
        assert await store.step_push(_step(claimed, 1)) is None, "it was given up"

    async def test_a_resting_config_is_due_when_a_message_claims_its_task(self, store: OutboxStore) -> None:
        await _resting(store)
        await enqueue(store)
        assert (await _claimed(store)).seq == 2

    async def test_a_resting_config_is_due_when_its_task_is_claimed(self, store: OutboxStore) -> None:
        await _resting(store)
        head = await claim(store, ME)
        assert (await _claimed(store)).seq == 2
        await append(store, status(3, COMPLETED), epoch=head.epoch)

    async def test_a_config_of_a_task_that_goes_on_does_not_rest(self, store: OutboxStore) -> None:
        await store.join(ME, LEASE_S)
        epoch = await create(store, pushes=(PUSH,))
        claimed = await _claimed(store)
        assert await store.step_push(_step(claimed, 1, Then.REST)) is Then.KEEP, "its task is held"
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True)
        assert await store.step_push(_step(claimed, 1, Then.REST)) is Then.KEEP, "its task has a record more"
        assert await store.claimed_pushes(ME) == [_step(claimed, 1, Then.WAIT)]
        assert await store.step_push(_step(claimed, 2, Then.REST)) is Then.REST

    async def test_a_deleted_config_is_gone_and_its_claim_void(self, store: OutboxStore) -> None:
        await create(store, pushes=(PUSH,))
        claimed = await _claimed(store)
        for _ in range(2):
            assert await store.delete_push(KEY, PUSH.id), "deleting again does nothing"
        assert await store.get_push(KEY, PUSH.id) is None
        assert await store.claimed_pushes(ME) == []
        assert await store.step_push(_step(claimed, 1)) is None
        assert await store.claim_pushes(ME, 10) == []

    async def test_a_config_that_is_replaced_begins_again(self, store: OutboxStore) -> None:
        await store.join(ME, LEASE_S)
        await create(store, pushes=(PUSH,))
        former = await _claimed(store)
        await store.add_push(KEY, PUSH._replace(config=b"new"), limit=1)
        assert await store.step_push(_step(former, 1)) is None
        claimed = await _claimed(store)
        assert (claimed.push.config, claimed.seq) == (b"new", 0), "what was not delivered yet is not lost"
        assert await store.step_push(_step(former, 1)) is None, "its epoch is another one"

    async def test_configs_go_with_their_task(self, store: OutboxStore) -> None:
        epoch = await create(store, pushes=(PUSH,))
        claimed = await _claimed(store)
        await append(store, status(2, COMPLETED), epoch=epoch)
        assert await store.purge(ended_age_s=0.0, keep=0, limit=10) == 1
        assert await store.step_push(_step(claimed, 1)) is None
        assert await store.claimed_pushes(ME) == []
        await create(store)
        assert await store.list_pushes(KEY, "", 10) == []

    async def test_a_dead_config_is_kept_with_the_reason(self, store: OutboxStore) -> None:
        await create(store, pushes=tuple(PUSH._replace(id=id) for id in ("a", "b", "c")))
        for claimed in await store.claim_pushes(ME, 10):
            step = _step(claimed, 1, Then.DIE, attempts=9, denials=1, error="nö\U0001f600")
            assert await store.step_push(step) is Then.DIE
        assert await store.claim_pushes(ME, 10) == []
        first = await store.dead_pushes(None, 2)
        rest = await store.dead_pushes(first[-1].name, 2)
        assert [dead.name.id for dead in (*first, *rest)] == ["a", "b", "c"]
        assert rest[0].push == PUSH._replace(id="c")
        assert (rest[0].name.key, rest[0].seq, rest[0].attempts, rest[0].error) == (KEY, 1, 9, "nö\U0001f600")
        assert rest[0].at_us > 0

    async def test_a_dead_config_is_revived_with_all_its_attempts_or_dropped(self, store: OutboxStore) -> None:
        await create(store, pushes=(PUSH,))
        assert not await store.revive_push(NAME), "it is not dead"
        assert not await store.drop_push(NAME)
        await store.step_push(_step(await _claimed(store), 1, Then.DIE, attempts=9, denials=3, error="no"))
        assert await store.revive_push(NAME)
        assert await store.dead_pushes(None, 10) == []
        claimed = await _claimed(store)
        assert (claimed.seq, claimed.attempts, claimed.denials) == (1, 0, 0)
        await store.step_push(_step(claimed, 1, Then.DIE))
        assert await store.drop_push(NAME)
        assert await store.get_push(KEY, PUSH.id) is None

    async def test_a_config_that_has_ended_is_delivered_no_more(self, store: OutboxStore) -> None:
        epoch = await create(store, pushes=(PUSH,))
        assert await store.step_push(_step(await _claimed(store), 1, Then.END)) is Then.END
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True)
        await claim(store, ME)
        assert await store.claim_pushes(ME, 10) == []
