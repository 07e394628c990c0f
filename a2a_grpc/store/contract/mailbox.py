"""The tests of messages that wait, requests to cancel and idempotency keys."""

import asyncio

import pytest

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.store import (
    AlreadyBound,
    Binding,
    QueueFull,
    Scope,
    StaleAppend,
    TaskKey,
    TaskStore,
)
from a2a_grpc.store.contract.given import (
    KEY,
    LEASE_S,
    ME,
    NEVER_S,
    ODD,
    OTHER,
    WAITING,
    append,
    create,
    enqueue,
    head_of,
    status,
)


class MailboxContract:
    """The tests of the `Mailbox` of a `TaskStore`. Each test is one guarantee."""

    async def test_an_unknown_task_has_no_messages(self, store: TaskStore) -> None:
        assert await store.enqueue(KEY, WAITING, replica=ME, limit=1) is None
        assert await store.request_cancel(KEY, b"") is None
        assert await store.pending(KEY) == []

    @pytest.mark.parametrize("odd", ODD)
    async def test_idempotency_keys_may_be_any_text(self, store: TaskStore, odd: str) -> None:
        key = TaskKey(odd, odd, odd)
        await create(store, key, context_id=odd, bind=(odd, Binding(b"f", odd, 1)))
        assert await store.bound(key.scope, odd) == Binding(b"f", odd, 1)

    async def test_an_idempotency_key_is_bound_once_per_scope(self, store: TaskStore) -> None:
        first = ("k", Binding(b"one", KEY.id, 1))
        await create(store, bind=first)
        with pytest.raises(AlreadyBound) as bound:
            await create(store, KEY._replace(id="t-2"), bind=("k", Binding(b"two", "t-2", 1)))
        assert bound.value.binding == first[1]
        assert await store.head(KEY._replace(id="t-2")) is None
        with pytest.raises(AlreadyBound):
            await store.bind(KEY.scope, "k", Binding(b"three"))
        assert await store.bound(KEY.scope, "k") == first[1]
        assert await store.bound(Scope("tenant", "somebody else"), "k") is None
        await store.bind(Scope("tenant", "somebody else"), "k", Binding(b"three", reply=b"hi"))

    async def test_an_append_that_binds_a_bound_key_writes_nothing(self, store: TaskStore) -> None:
        epoch = await create(store)
        await store.bind(KEY.scope, "k", Binding(b"one", KEY.id, 1))
        with pytest.raises(AlreadyBound):
            await append(store, status(2), epoch=epoch, bind=("k", Binding(b"two", KEY.id, 2)))
        assert await store.read(KEY, 1, 10) == []
        with pytest.raises(StaleAppend):
            await append(store, status(7), epoch=epoch, bind=("fresh", Binding(b"two", KEY.id, 2)))
        assert await store.bound(KEY.scope, "fresh") is None

    async def test_idempotency_keys_are_forgotten_by_age(self, store: TaskStore) -> None:
        await store.bind(KEY.scope, "k", Binding(b"one"))
        assert await store.forget(bound_age_s=NEVER_S, limit=10) == 0
        assert await store.bound(KEY.scope, "k") is not None
        assert await store.forget(bound_age_s=0.0, limit=10) == 1
        assert await store.bound(KEY.scope, "k") is None

    async def test_a_message_waits_for_the_one_who_holds_the_task(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        epoch = await create(store)
        head = await enqueue(store, replica=OTHER, bind=("k", Binding(b"f", KEY.id, 0)))
        assert (head.replica, head.epoch, head.turn, head.last_turn) == (ME, epoch, 1, 2)
        assert await store.pending(KEY) == [WAITING._replace(turn=2)]
        assert await store.bound(KEY.scope, "k") == Binding(b"f", KEY.id, 2)
        assert [(key, head.last_turn) for key, head in await store.needing_attention(ME)] == [(KEY, 2)]
        assert await store.needing_attention(OTHER) == []

    async def test_a_message_to_a_task_that_nobody_holds_claims_it(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True)
        head = await enqueue(store, replica=OTHER)
        assert (head.replica, head.last_turn) == (OTHER, 2)
        assert head.epoch > epoch
        with pytest.raises(StaleAppend):
            await append(store, status(3), epoch=epoch)
        assert await append(store, status(3, turn=2), epoch=head.epoch, done=2) == 2
        assert await store.pending(KEY) == []

    async def test_a_task_is_not_released_while_a_message_waits(self, store: TaskStore) -> None:
        epoch = await create(store)
        await enqueue(store)
        assert await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True) == 2
        await store.release(KEY, epoch)
        assert (await head_of(store)).replica == ME
        assert await append(store, status(3, turn=2), epoch=epoch, done=2) == 2
        assert await append(store, status(4, INPUT_REQUIRED, turn=2), epoch=epoch) == 2
        await store.release(KEY, epoch - 1)
        assert (await head_of(store)).replica == ME, "a void claim releases nothing"
        await store.release(KEY, epoch)
        assert (await head_of(store)).replica == ""

    async def test_messages_wait_in_order_up_to_a_limit(self, store: TaskStore) -> None:
        await create(store, pending=WAITING._replace(turn=1))
        for turn in (2, 3):
            assert (await enqueue(store, limit=2)).last_turn == turn
        with pytest.raises(QueueFull):
            await enqueue(store, limit=2, bind=("k", Binding(b"f")))
        assert await store.bound(KEY.scope, "k") is None
        assert [pending.turn for pending in await store.pending(KEY)] == [1, 2, 3]

    async def test_a_question_takes_its_answer_whatever_the_limit(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch)
        assert (await enqueue(store, limit=0)).last_turn == 2
        with pytest.raises(QueueFull):
            await enqueue(store, limit=0)

    async def test_the_end_of_a_task_forgets_what_waits(self, store: TaskStore) -> None:
        epoch = await create(store)
        await enqueue(store)
        await store.request_cancel(KEY, b"why")
        assert await append(store, status(2, COMPLETED), epoch=epoch) == 1
        head = await head_of(store)
        assert (head.last_turn, head.replica, head.cancel) == (1, "", None)
        assert await store.pending(KEY) == []
        assert await store.needing_attention(ME) == []
        assert await store.claimed_by(ME) == []
        with pytest.raises(StaleAppend):
            await enqueue(store)

    async def test_a_bound_key_enqueues_nothing(self, store: TaskStore) -> None:
        epoch = await create(store)
        await store.bind(KEY.scope, "k", Binding(b"one"))
        with pytest.raises(AlreadyBound):
            await enqueue(store, bind=("k", Binding(b"two", KEY.id)))
        head = await head_of(store)
        assert (head.last_turn, head.epoch) == (1, epoch)
        assert await store.pending(KEY) == []

    async def test_a_message_that_an_append_keeps_stands_before_those_that_wait(self, store: TaskStore) -> None:
        epoch = await create(store)
        await enqueue(store)
        kept = WAITING._replace(turn=1, request=b"first")
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, keep=kept)
        assert await store.pending(KEY) == [kept, WAITING._replace(turn=2)]
        await append(store, status(3, turn=2), epoch=epoch)
        await append(store, status(4, INPUT_REQUIRED, turn=2), epoch=epoch)
        assert await store.pending(KEY) == [kept, WAITING._replace(turn=2)]
        await append(store, status(5, turn=3), epoch=epoch, done=2)
        assert await store.pending(KEY) == []

    async def test_a_message_may_be_kept_twice(self, store: TaskStore) -> None:
        epoch = await create(store)
        kept = WAITING._replace(turn=1)
        for seq in (2, 3):
            await append(store, status(seq, INPUT_REQUIRED), epoch=epoch, keep=kept)
        assert await store.pending(KEY) == [kept]
        assert (await head_of(store)).last_turn == 1, "it does not wait for a turn"

    async def test_the_end_of_a_task_forgets_what_is_kept(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, keep=WAITING._replace(turn=1))
        await append(store, status(3, COMPLETED), epoch=epoch)
        assert await store.pending(KEY) == []

    async def test_the_open_and_the_question_of_a_turn_may_come_in_one_batch(self, store: TaskStore) -> None:
        epoch = await create(store)
        await enqueue(store)
        kept = WAITING._replace(turn=2)
        await asyncio.gather(
            append(store, status(2, turn=2), epoch=epoch, done=2),
            append(store, status(3, INPUT_REQUIRED, turn=2), epoch=epoch, keep=kept),
        )
        assert await store.pending(KEY) == [kept]

    async def test_a_task_whose_message_has_come_waits_no_longer(self, store: TaskStore) -> None:
        epoch = await create(store)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True)
        await asyncio.sleep(0.005)
        assert await store.waiting_longer(0.0, 10) == [KEY]
        await enqueue(store)
        assert await store.waiting_longer(0.0, 10) == []

    async def test_of_racing_messages_each_gets_a_turn_of_its_own(self, store: TaskStore) -> None:
        await create(store)
        heads = await asyncio.gather(*(enqueue(store) for _ in range(8)))
        assert sorted(head.last_turn for head in heads) == list(range(2, 10))

    async def test_the_first_request_to_cancel_stays(self, store: TaskStore) -> None:
        await store.join(ME, LEASE_S)
        await create(store)
        for metadata in (b"", b"later"):
            asked = await store.request_cancel(KEY, metadata)
            assert asked is not None
            assert (asked.cancel, asked.replica) == (b"", ME)
        assert [head.cancel for _, head in await store.needing_attention(ME)] == [b""]
