"""The checker refuses what it is there to refuse: one hand-made history for each way to violate a rule."""

from collections.abc import Callable

import pytest

from a2a_grpc.engine.events import status_event
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING, fold
from a2a_grpc.store import Head, Record, TaskKey
from a2a_grpc.wire import Artifact, Part, StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus
from tests.harness import message
from tests.simulation import checker
from tests.simulation.checker import violations
from tests.simulation.deliveries_checker import PUSH_RULES
from tests.simulation.history import (
    Ack,
    Cancel,
    Claim,
    Commit,
    Follow,
    History,
    Read,
    Refusal,
    Send,
    Step,
    Trouble,
)
from tests.simulation.player import GIVEN

KEY = TaskKey("", "", "t")


def status(seq: int, state: TaskState, *, turn: int = 1, message_id: str = "") -> Record:
    opened = message("more", message_id=message_id).SerializeToString() if message_id else b""
    return Record(seq, status_event(KEY, "c", state, seq).SerializeToString(), state, turn, seq, opened)


def chunk(seq: int, text: str, *, name: str = "checkpoint-m1", append: bool = False) -> Record:
    made = Artifact(artifact_id=name, parts=[Part(text=text)])
    update = TaskArtifactUpdateEvent(task_id="t", context_id="c", artifact=made, append=append)
    return Record(seq, StreamResponse(artifact_update=update).SerializeToString(), WORKING, 1)


def submitted() -> Record:
    task = Task(id="t", context_id="c", status=TaskStatus(state=SUBMITTED), history=[message("go", message_id="m1")])
    return Record(1, StreamResponse(task=task).SerializeToString(), SUBMITTED, 1, 1)


def snapshot(log: list[Record]) -> bytes:
    return fold(Task(), (record.unpack() for record in log)).SerializeToString()


def good() -> History:
    """A task that asks, is taken over while its replica is paused, gets its answer, ends."""
    log = [
        submitted(),
        status(2, WORKING),
        chunk(3, "1/1"),
        chunk(4, "2/2", append=True),
        status(5, INPUT_REQUIRED),
        status(6, WORKING, turn=2, message_id="m2"),
        status(7, COMPLETED, turn=2),
    ]
    return History(
        lease_s=1.0,
        max_attempts=3,
        writes=[
            Claim(1.0, "t", 1, "r1"),
            *(Commit(seq * 1.0, "t", seq, 1, "r1") for seq in (1, 2, 3)),
            Claim(3.5, "t", 2, "r2"),
            *(Commit(seq * 1.0, "t", seq, 2, "r2") for seq in (4, 5, 6, 7)),
        ],
        acks=[Ack(record.seq + 0.1, "t", record) for record in log],
        steps=[
            Step(2.1, "r1", "t", 1, "m1", 1, "begin"),
            Step(3.6, "r2", "t", 2, "m1", 2, "begin"),
            Step(3.7, "r1", "t", 1, "m1", 1, "worked"),
            Step(4.1, "r2", "t", 2, "m1", 2, "chunk 2 stored"),
            Step(6.2, "r2", "t", 2, "m1", 2, "answered by m2"),
        ],
        troubles=[Trouble("r1", 2.2, 3.65)],
        sends=[Send(1.1, "k1", "m1", "t", 1), Send(6.1, "k2", "m2", "t", 2), Send(6.3, "k2", "m2", "t", 2)],
        refusals=[Refusal(8.0, "m3", "t")],
        cancels=[Cancel(8.0, 8.1, "t", None)],
        reads=[Read(4.2, 4.3, "t", 4, snapshot(log[:4])), Read(9.0, 9.1, "t", 7, snapshot(log))],
        follows=[Follow("t", 0, list(log), is_complete=True), Follow("t", 2, log[2:4])],
        logs={"t": log},
        heads={"t": Head(7, COMPLETED, 2, 2, "c", 100, 2)},
    )


def poured(*texts: str, state: TaskState = COMPLETED) -> list[Record]:
    log = [submitted(), status(2, WORKING)]
    for text in texts:
        log.append(chunk(len(log) + 1, text, name="pour", append=len(log) > 2))
    return [*log, status(len(log) + 1, state)]


def without_bystanders(log: list[Record]) -> History:
    head = Head(len(log), log[-1].state, log[-1].turn, 1, "c", 1, log[-1].turn)
    return History(logs={"t": log}, heads={"t": head})


def test_a_good_history_violates_nothing() -> None:
    assert violations(good()) == []
    assert violations(without_bystanders(poured("1/1/2", "2/1/2"))) == []


def a_gap(history: History) -> None:
    del history.logs["t"][3]


def a_second_end(history: History) -> None:
    history.logs["t"].append(status(8, COMPLETED, turn=2))


def a_word_after_the_end(history: History) -> None:
    history.logs["t"].append(status(8, WORKING, turn=2))


def a_turn_left_out(history: History) -> None:
    history.logs["t"][5:] = [status(6, WORKING, turn=3, message_id="m2"), status(7, COMPLETED, turn=3)]


def back_to_submitted(history: History) -> None:
    history.logs["t"][4] = status(5, SUBMITTED)


def an_acknowledged_record_lost(history: History) -> None:
    history.acks.append(Ack(7.5, "t", status(8, COMPLETED, turn=2)))


def an_acknowledged_record_changed(history: History) -> None:
    history.acks.append(Ack(7.5, "t", chunk(3, "other")))


def a_follower_with_a_gap(history: History) -> None:
    del history.follows[0].records[2]


def a_follower_that_sees_twice(history: History) -> None:
    history.follows[1].records.insert(1, history.follows[1].records[0])


def a_follower_that_begins_late(history: History) -> None:
    history.follows[1].after = 1


def a_follower_of_other_bytes(history: History) -> None:
    history.follows[0].records[2] = chunk(3, "other")


def a_follower_that_ends_early(history: History) -> None:
    del history.follows[0].records[6]


def an_end_without_an_end(history: History) -> None:
    del history.logs["t"][6]
    history.follows[0].records = list(history.logs["t"])


def a_late_write(history: History) -> None:
    history.writes.append(Commit(7.5, "t", 8, 1, "r1"))


def a_claim_of_the_past(history: History) -> None:
    history.writes.append(Claim(7.5, "t", 1, "r1"))


def two_at_work(history: History) -> None:
    history.troubles.clear()


def two_at_work_long_after_a_pause(history: History) -> None:
    history.steps.append(Step(9.0, "r1", "t", 1, "m1", 1, "worked"))
    history.steps.append(Step(8.0, "r3", "t", 3, "m1", 3, "begin"))
    history.steps.sort()
    history.troubles = [Trouble("r1", 0.5, 0.6)]


def too_many_attempts(history: History) -> None:
    history.steps.append(Step(5.0, "r3", "t", 3, "m1", 4, "begin"))


def too_many_replicas(history: History) -> None:
    history.steps += [Step(5.0 + number, f"r{number}", "t", number, "m1", 1, "begin") for number in range(3, 9)]


def begun_again_without_leave(history: History) -> None:
    history.is_resumable = False


def another_answer(history: History) -> None:
    history.steps.append(Step(6.5, "r2", "t", 2, "m1", 2, "answered by m3"))


def another_result_of_a_step(history: History) -> None:
    for run, result in ((1, "1"), (2, "2")):
        history.steps.append(Step(6.5, "r2", "t", run, "m1", run, f"{GIVEN}{result}"))


def another_message(history: History) -> None:
    history.steps.append(Step(6.5, "r2", "t", 2, "m2", 2, "answered by m2"))


def a_chunk_twice(history: History) -> None:
    history.logs["t"][3] = chunk(4, "1/2", append=True)


def a_chunk_of_an_attempt_that_was_over(history: History) -> None:
    history.logs["t"][2:4] = [chunk(3, "1/2"), chunk(4, "2/1", append=True)]


def a_key_with_two_tasks(history: History) -> None:
    history.sends.append(Send(2.0, "k1", "m1", "u", 1))


def a_turn_with_two_keys(history: History) -> None:
    history.sends.append(Send(7.0, "k3", "m2", "t", 2))


def a_message_in_two_tasks(history: History) -> None:
    history.logs["u"] = [submitted()]


def a_message_in_two_turns(history: History) -> None:
    history.logs["t"][5:] = [
        status(6, WORKING, turn=2, message_id="m2"), status(7, WORKING, turn=2, message_id="m2"),
        status(8, COMPLETED, turn=2),
    ]  # fmt: skip


def an_accepted_task_lost(history: History) -> None:
    history.sends.append(Send(7.0, "k3", "m3", "u", 1))


def an_accepted_message_lost(history: History) -> None:
    history.logs["t"][5] = status(6, WORKING, turn=2)


def an_accepted_message_that_waits_for_ever(history: History) -> None:
    history.sends.append(Send(7.0, "k3", "m3", "t", 3))
    del history.logs["t"][6]


def a_cancel_that_did_not_hold(history: History) -> None:
    history.cancels.append(Cancel(6.0, 6.5, "t", CANCELED))


def a_cancel_refused_and_done(history: History) -> None:
    history.logs["t"][6] = status(7, CANCELED, turn=2)


def a_cancel_without_an_end(history: History) -> None:
    history.cancels = [Cancel(6.0, 6.5, "t", CANCELED)]
    del history.logs["t"][6]


def a_refusal_by_a_task_at_work(history: History) -> None:
    del history.logs["t"][6]


def a_stale_read(history: History) -> None:
    history.reads.append(Read(6.5, 6.6, "t", 4, snapshot(history.logs["t"][:4])))


def a_read_of_another_state(history: History) -> None:
    history.reads.append(Read(9.0, 9.1, "t", 7, snapshot(history.logs["t"][:6])))


def a_read_of_the_future(history: History) -> None:
    history.reads.append(Read(9.0, 9.1, "t", 8, snapshot(history.logs["t"])))


def a_task_at_work_for_ever(history: History) -> None:
    history.heads["t"] = Head(6, WORKING, 2, 2, "c", 100, 2, replica="r2")


def an_answer_that_nobody_takes(history: History) -> None:
    history.heads["t"] = Head(5, INPUT_REQUIRED, 1, 2, "c", 100, 2, replica="r2")


def a_complaint(history: History) -> None:
    history.complaints.append("logged: background task failed")


VIOLATIONS: list[tuple[Callable[[History], None], str]] = [
    (a_gap, "logs_are_contiguous"),
    (a_second_end, "terminal_is_final"),
    (a_word_after_the_end, "terminal_is_final"),
    (a_word_after_the_end, "states_follow_each_other"),
    (a_turn_left_out, "states_follow_each_other"),
    (back_to_submitted, "states_follow_each_other"),
    (an_acknowledged_record_lost, "what_was_acknowledged_is_in_the_log"),
    (an_acknowledged_record_changed, "what_was_acknowledged_is_in_the_log"),
    (a_follower_with_a_gap, "followers_see_the_log"),
    (a_follower_that_sees_twice, "followers_see_the_log"),
    (a_follower_that_begins_late, "followers_see_the_log"),
    (a_follower_of_other_bytes, "followers_see_the_log"),
    (a_follower_that_ends_early, "followers_see_the_log"),
    (an_end_without_an_end, "followers_see_the_log"),
    (a_late_write, "only_the_newest_claim_writes"),
    (a_claim_of_the_past, "only_the_newest_claim_writes"),
    (two_at_work, "one_run_at_a_time"),
    (two_at_work_long_after_a_pause, "one_run_at_a_time"),
    (too_many_attempts, "runs_are_bounded"),
    (too_many_replicas, "runs_are_bounded"),
    (begun_again_without_leave, "only_an_answer_runs_again_what_is_not_resumable"),
    (another_answer, "answers_are_given_in_their_order"),
    (another_message, "answers_are_given_in_their_order"),
    (another_result_of_a_step, "each_step_has_one_result"),
    (a_chunk_twice, "checkpoints_do_not_go_back"),
    (a_chunk_of_an_attempt_that_was_over, "checkpoints_do_not_go_back"),
    (a_key_with_two_tasks, "a_key_stands_for_one_turn"),
    (a_turn_with_two_keys, "a_key_stands_for_one_turn"),
    (a_message_in_two_tasks, "a_message_is_taken_once"),
    (a_message_in_two_turns, "a_message_is_taken_once"),
    (an_accepted_task_lost, "what_was_accepted_gets_its_turn"),
    (an_accepted_message_lost, "what_was_accepted_gets_its_turn"),
    (an_accepted_message_that_waits_for_ever, "what_was_accepted_gets_its_turn"),
    (a_cancel_that_did_not_hold, "a_cancel_that_was_answered_holds"),
    (a_cancel_refused_and_done, "a_cancel_that_was_answered_holds"),
    (a_cancel_without_an_end, "a_cancel_that_was_answered_holds"),
    (a_refusal_by_a_task_at_work, "who_was_refused_came_too_late"),
    (a_stale_read, "reads_see_what_was_acknowledged"),
    (a_read_of_another_state, "snapshots_fit_their_seq"),
    (a_read_of_the_future, "snapshots_fit_their_seq"),
    (a_task_at_work_for_ever, "everything_comes_to_its_end"),
    (an_answer_that_nobody_takes, "everything_comes_to_its_end"),
    (a_complaint, "nobody_complains"),
]


@pytest.mark.parametrize(("violate", "rule"), VIOLATIONS)
def test_a_history_that_violates_a_rule_is_refused(violate: Callable[[History], None], rule: str) -> None:
    history = good()
    violate(history)
    assert any(found.startswith(rule + ":") for found in violations(history))


@pytest.mark.parametrize(
    "log",
    [
        poured("1/1/3", "3/1/3"),
        poured("1/1/2", "1/1/2", "2/1/2"),
        poured("1/1/2", "2/2/2"),
        poured("1/1/2"),
        poured("1/1/2", state=INPUT_REQUIRED),
    ],
)
def test_a_stream_that_is_not_whole_is_refused(log: list[Record]) -> None:
    found = violations(without_bystanders(log))
    assert [violation.partition(":")[0] for violation in found] == ["what_was_poured_is_whole"] * len(found) != []


def test_every_rule_has_a_history_that_it_refuses() -> None:
    refused = {rule for _, rule in VIOLATIONS} | {"what_was_poured_is_whole"}
    assert {rule.__name__ for rule in checker.RULES if rule not in PUSH_RULES} == refused
