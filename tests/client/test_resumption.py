"""A stream that goes on gives the caller each event once, in order, or an error, whatever the connections do.

The decisions have no I/O, so thousands of schedules of cuts, ends, repeats, snapshots and errors run here. The same
behaviour over sockets is in `test_resume.py` and `test_resume_without_seq.py`.
"""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_grpc.client import ClientSettings, ConnectionLostError, TaskLostError
from a2a_grpc.client.resumption import Resumption
from a2a_grpc.client.steps import NEXT, Happening, ImpossibleStep, Step, check
from a2a_grpc.errors import A2AError, PermissionDeniedError, UnauthenticatedError
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, TERMINAL, Event
from a2a_grpc.wire import Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent
from tests.client.scheduled import Fatal, Fault, Moment, World, folded, log_of
from tests.test_lifecycle import steady

SEEDS = 2000

thorough = settings(steady, max_examples=150)

chunks = st.integers(0, 8)


def moments(*faults: Fault | Fatal) -> st.SearchStrategy[list[Moment]]:
    return st.lists(st.tuples(st.sampled_from([Fault.NONE, Fault.NONE, *faults]), st.integers(0, 2)), max_size=40)


def texts(events: list[Event]) -> list[str]:
    """The texts of all chunks that were heard, also those in the first task."""
    heard = []
    for place, event in enumerate(events):
        if isinstance(event, Task):
            assert place == 0, "the task comes once"
            heard += [part.text for artifact in event.artifacts for part in artifact.parts]
        elif isinstance(event, TaskArtifactUpdateEvent):
            assert event.append or not heard, "nothing that was heard is taken back"
            heard += [part.text for part in event.artifact.parts]
    return heard


def statuses(events: list[Event]) -> list[int]:
    """The places of the statuses that were heard."""
    found = [event.status for event in events if isinstance(event, Task | TaskStatusUpdateEvent)]
    return [int(status.message.message_id or 0) for status in found]


def assert_once_in_order(world: World, error: A2AError | None) -> None:
    heard, places = texts(world.got), statuses(world.got)
    assert heard == [str(number) for number in range(len(heard))]
    assert places == sorted(set(places))
    assert all(
        event.status.state not in TERMINAL for event in world.got[:-1] if isinstance(event, TaskStatusUpdateEvent)
    )
    if error is None:
        whole = folded(world.log)
        assert heard == texts([whole])
        assert places[-1] == int(whole.status.message.message_id)
        known = world.machine.progress.followed.task
        assert known is not None
        assert (known.status, list(known.artifacts)) == (whole.status, list(whole.artifacts))


# -- servers that number their events


@thorough
@given(chunks, moments(Fault.CUT, Fault.END, Fault.CANCEL, Fault.REPEAT, Fault.FULL, Fault.EXPIRED), st.integers(0, 3))
def test_cut_ended_canceled_and_repeated_a_stream_is_exactly_the_log_after_its_beginning(
    count: int, schedule: list[Moment], after: int
) -> None:
    log = log_of(count)
    world = World(log, schedule, is_send=False, is_numbered=True, after=after)
    assert world.run() is None
    assert world.got == log[after:]
    assert world.machine.progress.places.seq == len(log)


@thorough
@given(chunks, moments(*Fault), st.booleans(), st.booleans())
def test_whatever_goes_wrong_each_chunk_and_each_status_comes_once_in_order_up_to_the_last_one(
    count: int, schedule: list[Moment], is_send: bool, asks: bool
) -> None:
    log = log_of(count, end=INPUT_REQUIRED if asks and is_send else COMPLETED)
    world = World(log, schedule, is_send=is_send, is_numbered=True)
    assert world.run() is None
    assert_once_in_order(world, None)


@thorough
@given(chunks, moments(*Fault), st.booleans())
def test_an_answer_to_a_question_does_not_end_with_that_question(
    count: int, schedule: list[Moment], asks: bool
) -> None:
    log = log_of(count, end=INPUT_REQUIRED if asks else COMPLETED, asks_first=True)
    world = World(log, schedule, is_send=True, is_numbered=True, answers=3)
    assert world.run() is None
    assert_once_in_order(world, None)


@thorough
@given(chunks, moments(*Fault, *Fatal), st.booleans())
def test_a_stream_that_ends_with_an_error_has_given_the_beginning_once_in_order(
    count: int, schedule: list[Moment], is_send: bool
) -> None:
    world = World(log_of(count), schedule, is_send=is_send, is_numbered=True)
    assert_once_in_order(world, world.run())


# -- servers that do not


@thorough
@given(chunks, moments(*Fault), st.booleans(), st.booleans())
def test_without_numbers_the_events_lead_to_the_task_as_it_ends(
    count: int, schedule: list[Moment], is_send: bool, asks: bool
) -> None:
    log = log_of(count, end=INPUT_REQUIRED if asks and is_send else COMPLETED)
    world = World(log, schedule, is_send=is_send, is_numbered=False)
    assert world.run() is None
    found, whole = folded(world.got), folded(log)
    assert (found.status, list(found.artifacts)) == (whole.status, list(whole.artifacts))
    assert statuses(world.got) == sorted(set(statuses(world.got)))


# -- by example


def well(times: int) -> list[Moment]:
    """So many steps that go well."""
    return [(Fault.NONE, 0)] * times


def sending(log: list[Event], *schedule: Moment) -> World:
    return World(log, schedule, is_send=True, is_numbered=True)


def test_a_message_whose_answer_was_not_awaited_is_not_sent_again_if_that_could_make_a_second_task() -> None:
    world = World(log_of(1), [*well(2), (Fault.CANCEL, 0), (Fatal.UNSAFE, 0)], is_send=True, is_numbered=False)
    assert isinstance(world.run(), ConnectionLostError)
    assert (world.sends, world.got) == (1, [])


def test_a_task_that_is_gone_is_lost_and_the_error_has_the_task_as_it_was() -> None:
    world = sending(log_of(5), *well(4), (Fault.NOT_FOUND, 0), (Fatal.GONE, 0))
    error = world.run()
    assert isinstance(error, TaskLostError)
    assert error.task == folded(world.got)


def test_giving_up_says_so_and_has_the_task_as_it_was() -> None:
    world = sending(log_of(5), *well(4), (Fault.CUT, 0), (Fatal.GIVE_UP, 0))
    error = world.run()
    assert isinstance(error, ConnectionLostError)
    assert error.task == folded(world.got)
    assert str(error) == "gave up following task 't-1' after 300 s; the agent answered last: for the last time"


def test_credentials_that_cannot_be_renewed_are_the_error_that_the_agent_gave() -> None:
    world = sending(log_of(5), *well(4), (Fault.EXPIRED, 0), (Fatal.SAME_TOKEN, 0))
    error = world.run()
    assert isinstance(error, UnauthenticatedError)
    assert error.message == "expired"


def test_an_error_that_no_other_call_can_change_is_raised_as_it_is() -> None:
    world = sending(log_of(5), *well(4), (Fatal.DENIED, 0))
    assert isinstance(world.run(), PermissionDeniedError)


def test_closing_ends_a_stream_at_any_step_and_what_then_happens_changes_nothing() -> None:
    reports: list[Callable[[Resumption], None]] = [
        lambda machine: machine.begun(is_polled=False),
        lambda machine: machine.metadata({}),
        lambda machine: machine.element(Task(id="t-1")),
        lambda machine: machine.end(),
        lambda machine: machine.failed(PermissionDeniedError("no")),
        lambda machine: machine.read(Task(id="t-1")),
        lambda machine: machine.waited(may_go_on=False),
        lambda machine: machine.renewed(are_others=False),
        lambda machine: machine.canceled(),
    ]
    for report in reports:
        machine = Resumption(ClientSettings(), "agent:1", task_id="t-1")
        machine.close()
        report(machine)
        assert (machine.step, list(machine.progress.ready)) == (Step.STOP, [])


# -- the table


def answering(log: list[Event], *schedule: Moment) -> World:
    return World(log, schedule, is_send=True, is_numbered=True, answers=3)


RARE = [
    answering(log_of(0, asks_first=True), *well(5), (Fatal.DENIED, 0)),
    answering(log_of(0, asks_first=True), *well(5), (Fault.CANCEL, 0)),
    answering(log_of(1, end=INPUT_REQUIRED, asks_first=True), *well(6)),
    answering(log_of(1, end=INPUT_REQUIRED, asks_first=True), *well(6), (Fatal.DENIED, 0)),
    sending(log_of(0, end=INPUT_REQUIRED), *well(5), (Fault.NOT_FOUND, 0), (Fault.CANCEL, 0)),
    sending(log_of(0, end=INPUT_REQUIRED), *well(5), (Fault.EXPIRED, 0), (Fault.CANCEL, 0)),
    *(
        World(log_of(0), [*well(5), (fault, 0)], is_send=False, is_numbered=False)
        for fault in (Fault.NOT_FOUND, Fault.NO_STREAM, Fault.EXPIRED, Fatal.DENIED)
    ),
]
"""Streams for the rows that random schedules seldom reach."""


def drawn(seed: int) -> World:
    chance = random.Random(seed)
    faults = [*[Fault.NONE] * 8, *Fault, *Fatal]
    schedule = [(chance.choice(faults), chance.randint(0, 2)) for _ in range(40)]
    end, answers = chance.choice([COMPLETED, COMPLETED, INPUT_REQUIRED]), chance.choice([0, 0, 3])
    is_send = answers > 0 or end == INPUT_REQUIRED or chance.random() < 0.5
    return World(
        log_of(chance.randint(0, 5), end=end, asks_first=answers > 0), schedule, is_send=is_send, answers=answers,
        is_numbered=answers > 0 or chance.random() < 0.4, after=None if is_send else chance.choice([None, 1]),
    )  # fmt: skip


def test_each_row_of_the_table_happens_and_no_other_one() -> None:
    seen: set[tuple[Step, Happening, Step]] = set()
    for world in (*RARE, *map(drawn, range(SEEDS))):
        error = world.run()
        seen |= world.rows
        if world.is_numbered and not world.answers and world.after is None:
            assert_once_in_order(world, error)
    table = {
        (step, happening, after)
        for step, happenings in NEXT.items()
        for happening, steps in happenings.items()
        for after in steps
    }
    assert named(seen) == named({row for row in table if row[0] is not Step.STOP})


def named(rows: set[tuple[Step, Happening, Step]]) -> list[str]:
    return sorted(f"{step.name} {happening.name} {after.name}" for step, happening, after in rows)


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.STOP])
def test_what_has_no_row_is_refused(step: Step) -> None:
    for happening in Happening:
        for after in Step:
            if after in NEXT[step].get(happening, ()):
                check(step, happening, after)
            else:
                with pytest.raises(ImpossibleStep):
                    check(step, happening, after)


def test_a_report_that_does_not_belong_to_the_step_is_refused_and_nothing_moves() -> None:
    machine = Resumption(ClientSettings(), "agent:1", task_id="t-1")
    with pytest.raises(ImpossibleStep, match="'READ' cannot follow 'CONNECT' after METADATA"):
        machine.metadata({})
    assert machine.step is Step.CONNECT
