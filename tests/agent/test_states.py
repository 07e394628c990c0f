"""The states of a run: the table, and the laws that every sequence of events keeps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_grpc.engine.states import CLOSED, NEXT, Event, IllegalEvent, State, after
from tests.test_lifecycle import steady

ROWS = """
    WAITING    PLACED     PLAYING
    WAITING    WITHDRAWN  PLAYING
    WAITING    STOPPED    WAITING
    WAITING    ENDED      ENDING
    WAITING    LOSE       LOST
    PLAYING    ASKED      ASKING
    PLAYING    STOPPED    PLAYING
    PLAYING    ENDED      ENDING
    PLAYING    LOSE       LOST
    ASKING     TAKEN      ANSWERING
    ASKING     WITHDRAWN  PLAYING
    ASKING     STOPPED    ASKING
    ASKING     ENDED      ENDING
    ASKING     LOSE       LOST
    ANSWERING  ANSWERED   WAITING
    ANSWERING  REFUSED    ASKING
    ANSWERING  WITHDRAWN  PLAYING
    ANSWERING  STOPPED    ANSWERING
    ANSWERING  ENDED      ENDING
    ANSWERING  LOSE       LOST
    ENDING     STORED     OVER
    ENDING     LOSE       LOST
    OVER       LOSE       LOST
    LOST       ENDED      LOST
    LOST       STORED     LOST
    LOST       LOSE       LOST
"""
TABLE = {(State[state], Event[event]): State[then] for state, event, then in map(str.split, ROWS.strip().splitlines())}


@pytest.mark.parametrize("state", State)
def test_an_event_leads_where_the_table_says_and_any_other_is_refused(state: State) -> None:
    for event in Event:
        if (state, event) in TABLE:
            assert after(state, event) is TABLE[state, event]
        else:
            with pytest.raises(IllegalEvent, match=f"{event.name} cannot happen to a run in {state.name}"):
                after(state, event)


@settings(steady, max_examples=300)
@given(st.lists(st.sampled_from(Event), max_size=30))
def test_a_run_ends_once_asks_only_while_it_plays_and_is_never_opened_again(events: list[Event]) -> None:
    state, passed = State.WAITING, [State.WAITING]
    happened: list[Event] = []
    for event in events:
        try:
            found = after(state, event)
        except IllegalEvent:
            assert event not in NEXT[state]
            continue  # the run is where it was
        assert found in (state, State.LOST) or state is not State.LOST
        assert not (state in CLOSED and found not in CLOSED), "what is closed stays closed"
        if event is Event.ASKED:
            assert state is State.PLAYING
        if event in (Event.ANSWERED, Event.REFUSED):
            assert happened.count(Event.TAKEN) > happened.count(Event.ANSWERED) + happened.count(Event.REFUSED)
        if event is Event.STOPPED:
            assert found is state not in CLOSED
        state = found
        passed.append(state)
        happened.append(event)
    assert passed.count(State.OVER) <= 1
    if State.OVER in passed:
        assert happened.count(Event.STORED) >= 1
        assert passed[passed.index(State.OVER) - 1] is State.ENDING
        assert set(passed[passed.index(State.OVER) :]) <= {State.OVER, State.LOST}
    if happened.count(Event.ENDED) > 1:
        assert state is State.LOST, "a handler ends once; only a lost run does not count"


def test_from_each_state_a_run_can_be_lost_and_from_each_open_one_it_can_end() -> None:
    for state in State:
        assert after(state, Event.LOSE) is State.LOST
        assert (Event.ENDED in NEXT[state]) == (state not in CLOSED or state is State.LOST)
        assert (Event.STOPPED in NEXT[state]) == (state not in CLOSED)
