"""What stands for a key between processes."""

from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc.bus.protocol import Key
from a2a_grpc.bus.shared import DIGEST_BYTES, EVERY_KEY, MAX_WAITING, Outbox, digest, joined, split

KEYS: st.SearchStrategy[Key] = st.text() | st.lists(st.text(), max_size=4).map(tuple)


@given(KEYS, KEYS)
def test_equal_keys_and_no_others_share_a_digest(one: Key, other: Key) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_the_parts_of_a_key_are_told_apart() -> None:
    keys: list[Key] = ["abc", ("abc",), ("a", "bc"), ("ab", "c"), ("a", "b", "c"), ("abc", ""), ("", "abc"), ()]
    assert len({digest(key) for key in keys}) == len(keys)


@given(st.lists(st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)), st.integers(1, 10))
def test_digests_are_put_together_and_taken_apart(digests: list[bytes], limit: int) -> None:
    pieces = joined(digests, limit)
    assert [one for piece in pieces for one in split(piece)] == digests
    assert len(pieces) == -(-len(digests) // limit)


def test_half_a_digest_is_nothing() -> None:
    assert list(split(b"x" * (2 * DIGEST_BYTES - 1))) == [b"x" * DIGEST_BYTES]


def test_a_digest_waits_once() -> None:
    outbox = Outbox()
    outbox.add(digest("a"), digest("b"), digest("a"))
    assert outbox.take() == [digest("a"), digest("b")]
    assert not outbox


def test_more_than_may_wait_become_the_one_for_all_keys() -> None:
    outbox = Outbox()
    for number in range(MAX_WAITING):
        outbox.add(digest(str(number)))
    assert len(outbox) == MAX_WAITING
    outbox.add(digest("one too many"), digest("another"))
    assert outbox.take() == [EVERY_KEY]
    outbox.add(digest("a"))
    assert outbox.take() == [digest("a")]
