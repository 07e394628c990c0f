"""The tests of the named values that handlers keep."""

import asyncio
import random

import pytest

from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED
from a2a_grpc.store import Note, StaleAppend, TaskStore
from a2a_grpc.store.contract.given import KEY, ME, ODD, OTHER, append, claim, create, status

MIB = 1 << 20


async def _outcome(store: TaskStore, note: Note, epoch: int) -> bool:
    """Put a note. Return True if it was written."""
    try:
        await store.put_note(KEY, note, epoch=epoch)
    except StaleAppend:
        return False
    return True


class NotesContract:
    """The tests of the `Notes` of a `TaskStore`. Each test is one guarantee."""

    async def test_a_note_is_replaced_by_one_of_the_same_name(self, store: TaskStore) -> None:
        epoch = await create(store)
        values = [b"", b"\0\xff'", bytes(random.Random(1).randbytes(MIB + 64)), b"last"]
        for value in [*values, values[-1]]:
            await store.put_note(KEY, Note(1, "name", value), epoch=epoch)
            assert await store.get_note(KEY, 1, "name") == value

    async def test_notes_of_other_turns_names_and_tasks_are_other_notes(self, store: TaskStore) -> None:
        keys = [KEY, KEY._replace(id="t-2"), KEY._replace(owner="other"), KEY._replace(tenant="other")]
        places = [(key, turn, name) for key in keys for turn in (0, 1) for name in ("a", "A", "a ", *ODD)]
        epochs = {key: await create(store, key) for key in keys}
        assert [await store.get_note(*place) for place in places] == [None] * len(places)
        values = {place: repr(place).encode() for place in places}
        for (key, turn, name), value in values.items():
            await store.put_note(key, Note(turn, name, value), epoch=epochs[key])
        assert {place: await store.get_note(*place) for place in places} == values
        for key in keys:
            for turn in (0, 1):
                sizes = {name: len(value) for (of, at, name), value in values.items() if (of, at) == (key, turn)}
                assert await store.note_sizes(key, turn) == sizes
        assert await store.note_sizes(KEY, 2) == {}

    async def test_a_note_is_written_only_under_the_newest_claim(self, store: TaskStore) -> None:
        epoch = await create(store)
        await store.put_note(KEY, Note(1, "a", b"first"), epoch=epoch)
        newer = (await claim(store, OTHER, force=True)).epoch
        for note in (Note(1, "a", b"late"), Note(1, "b", b"late")):
            for stale in (epoch, newer + 1):
                assert not await _outcome(store, note, stale)
        assert [await store.get_note(KEY, 1, name) for name in "ab"] == [b"first", None]
        await store.put_note(KEY, Note(1, "a", b"second"), epoch=newer)
        assert await store.get_note(KEY, 1, "a") == b"second"

    async def test_a_task_that_has_ended_or_is_unknown_takes_no_note(self, store: TaskStore) -> None:
        assert not await _outcome(store, Note(1, "a", b"x"), 1)
        assert await store.get_note(KEY, 1, "a") is None
        epoch = await create(store)
        await append(store, status(2, COMPLETED), epoch=epoch)
        assert not await _outcome(store, Note(1, "a", b"x"), epoch)
        assert await store.get_note(KEY, 1, "a") is None

    async def test_notes_stay_while_their_task_waits_for_its_user(self, store: TaskStore) -> None:
        epoch = await create(store)
        for turn in (0, 1):
            await store.put_note(KEY, Note(turn, "a", b"x"), epoch=epoch)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, release=True)
        epoch = (await claim(store, OTHER)).epoch
        await append(store, status(3, turn=2), epoch=epoch)
        assert [await store.get_note(KEY, turn, "a") for turn in (0, 1)] == [b"x", b"x"]
        await append(store, status(4, INPUT_REQUIRED, turn=2), epoch=epoch)
        await append(store, status(5, turn=3), epoch=epoch, done=2)
        assert await store.get_note(KEY, 0, "a") == b"x", "it belongs to the task, not to a turn"

    async def test_notes_of_a_task_that_ends_while_it_waits_for_its_user_stay_until_a_purge(
        self, store: TaskStore
    ) -> None:
        epoch = await create(store)
        await append(store, status(2), epoch=epoch, done=1)
        for turn in (0, 2):
            await store.put_note(KEY, Note(turn, "a", b"x"), epoch=epoch)
        await append(store, status(3, INPUT_REQUIRED, turn=2), epoch=epoch, release=True)
        epoch = (await claim(store, OTHER)).epoch
        await append(store, status(4, CANCELED, turn=2), epoch=epoch, release=True)
        assert not await _outcome(store, Note(2, "a", b"late"), epoch)
        assert [await store.get_note(KEY, turn, "a") for turn in (0, 2)] == [b"x", b"x"], "its handler may run again"
        assert await store.purge(ended_age_s=0.0, keep=0, limit=10) == 1
        assert [await store.get_note(KEY, turn, "a") for turn in (0, 2)] == [None, None]

    async def test_a_purge_deletes_the_notes_of_its_tasks(self, store: TaskStore) -> None:
        epoch = await create(store)
        other = KEY._replace(id="t-2")
        others = await create(store, other)
        for key, its_epoch in ((KEY, epoch), (other, others)):
            await store.put_note(key, Note(1, "a", b"x"), epoch=its_epoch)
        await append(store, status(2, COMPLETED), epoch=epoch)
        assert await store.purge(ended_age_s=0.0, keep=0, limit=10) == 1
        await create(store)
        assert (await store.get_note(KEY, 1, "a"), await store.get_note(other, 1, "a")) == (None, b"x")

    @pytest.mark.parametrize("seed", range(2))
    async def test_of_racing_notes_and_claims_the_newest_claim_has_the_last_word(
        self, store: TaskStore, seed: int
    ) -> None:
        chance = random.Random(seed)
        epochs = [await create(store)]
        await store.join(ME, 60.0)
        for step in range(12):
            # Holders of older claims write until the moment of the next claim, and after it.
            late = asyncio.gather(
                *(
                    _outcome(store, Note(1, chance.choice("ab"), f"{epoch} {step} {number}".encode()), epoch)
                    for number, epoch in enumerate(chance.choices(epochs, k=4))
                )
            )
            if chance.random() < 0.5:
                epochs.append((await claim(store, chance.choice([ME, OTHER]), force=True)).epoch)
            seen = {name: await store.get_note(KEY, 1, name) for name in "ab"}
            told = await late
            newest = f"{step} ".encode()
            after = {name: await store.get_note(KEY, 1, name) for name in "ab"}
            for name, value in after.items():
                if value != seen[name]:
                    assert value is not None
                    assert value.startswith(f"{epochs[-1]} ".encode()), f"a void claim wrote {value!r} over {seen}"
                    assert newest in value
                    assert any(told)
