"""The rules about push notifications refuse what they are there to refuse."""

from collections.abc import Callable

import pytest

from a2a_grpc.lifecycle import COMPLETED, WORKING
from a2a_grpc.store import Then
from a2a_grpc.wire import StreamResponse
from tests.simulation import deliveries_checker
from tests.simulation.deliveries_checker import PUSH_RULES
from tests.simulation.history import Attempt, Change, Cursor, Delete, History, Look, Taken
from tests.simulation.test_checker import status, submitted


def good() -> History:
    """One replica delivers an event and is killed, another one repeats it and delivers the rest."""
    log = [submitted(), status(2, WORKING), status(3, COMPLETED)]
    events = [record.unpack()[0] for record in log]
    attempts = [
        Attempt(1.1, "r1", "t", "c", 1, events[0], 1.2, is_accepted=True),
        Attempt(3.1, "r2", "t", "c", 1, events[0], 3.2, is_accepted=True),
        Attempt(3.3, "r2", "t", "c", 2, events[1], 3.4, is_accepted=True),
        Attempt(3.5, "r2", "t", "c", 3, events[2], 3.6, is_accepted=True),
    ]
    return History(
        logs={"t": log},
        pushes={("t", "c"): False},
        arrivals=list(attempts),
        deliveries=[
            *(Taken(1.0, "t", "c", 1, 0, "r1"), attempts[0], Taken(3.0, "t", "c", 2, 0, "r2")),
            *(attempts[1], Cursor(3.25, "t", "c", 2, 1, "r2"), attempts[2], attempts[3]),
        ],
    )


def two_holders(history: History) -> None:
    history.deliveries.append(Taken(3.05, "t", "c", 3, 0, "r3"))
    history.deliveries.append(Attempt(3.7, "r2", "t", "c", 3, StreamResponse(), 3.8))


def a_sender_long_after_a_replacement(history: History) -> None:
    history.is_store_well = True
    history.changes.append(Change(2.0, "t", "c", is_there=True))
    history.deliveries.append(Attempt(3.7, "r1", "t", "c", 3, StreamResponse(), 3.8))


def a_sender_whose_claim_was_given_up(history: History) -> None:
    history.deliveries.append(Cursor(3.65, "t", "c", 2, 3, "r2", Then.END))
    history.deliveries.append(Attempt(3.7, "r2", "t", "c", 3, StreamResponse(), 3.8))


def two_at_once(history: History) -> None:
    history.arrivals[0].ended = 3.11


def deleted(history: History, at: float, replica: str) -> None:
    history.changes.append(Change(at, "t", "c", is_there=False))
    history.deletes.append(Delete(at, "t", "c", replica))


def an_attempt_after_its_own_delete(history: History) -> None:
    deleted(history, 3.45, "r2")


def an_attempt_long_after_a_delete(history: History) -> None:
    history.is_store_well = True
    deleted(history, 2.55, "r1")


def an_attempt_after_a_purge_and_a_look(history: History) -> None:
    deleted(history, 2.0, "")
    history.looks.append(Look(2.2, 3.5, "r2"))


def an_older_event_again(history: History) -> None:
    history.arrivals.append(history.arrivals[1])


def an_event_left_out(history: History) -> None:
    del history.arrivals[2]


def another_event(history: History) -> None:
    history.arrivals[3].event = StreamResponse()


def a_cursor_before_the_receiver(history: History) -> None:
    history.deliveries.insert(2, Cursor(1.3, "t", "c", 1, 2, "r1"))


def no_end(history: History) -> None:
    history.arrivals[3].is_accepted = False


VIOLATIONS: list[tuple[Callable[[History], None], str]] = [
    (two_holders, "only_the_holder_of_a_claim_delivers"),
    (a_sender_long_after_a_replacement, "only_the_holder_of_a_claim_delivers"),
    (a_sender_whose_claim_was_given_up, "only_the_holder_of_a_claim_delivers"),
    (two_at_once, "one_delivery_of_a_config_at_a_time"),
    (an_attempt_after_its_own_delete, "nothing_is_sent_after_a_delete"),
    (an_attempt_long_after_a_delete, "nothing_is_sent_after_a_delete"),
    (an_attempt_after_a_purge_and_a_look, "nothing_is_sent_after_a_delete"),
    (an_older_event_again, "deliveries_arrive_in_order"),
    (an_event_left_out, "no_event_is_left_out"),
    (another_event, "no_event_is_left_out"),
    (a_cursor_before_the_receiver, "a_cursor_moves_only_to_what_was_taken"),
    (no_end, "the_newest_event_was_delivered"),
]


def test_a_good_history_of_deliveries_violates_nothing() -> None:
    history = good()
    deleted(history, 3.65, "r2")
    assert [found for rule in PUSH_RULES for found in rule(history)] == []


def test_a_replica_that_does_not_know_of_a_replacement_yet_violates_nothing() -> None:
    history = good()
    history.is_store_well = True
    history.changes.append(Change(2.9, "t", "c", is_there=True))
    history.deliveries.append(Attempt(3.7, "r1", "t", "c", 3, StreamResponse(), 3.8))
    assert list(deliveries_checker.only_the_holder_of_a_claim_delivers(history)) == []


@pytest.mark.parametrize(("spoil", "rule"), VIOLATIONS)
def test_each_violation_is_found(spoil: Callable[[History], None], rule: str) -> None:
    history = good()
    spoil(history)
    assert list(getattr(deliveries_checker, rule)(history))


def test_every_rule_about_deliveries_has_a_history_that_it_refuses() -> None:
    assert {rule.__name__ for rule in PUSH_RULES} == {name for _, name in VIOLATIONS}
