"""The rules that every history keeps, as pure functions: what a history violates, in words."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from a2a_grpc import lifecycle
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, INTERRUPTED, TERMINAL, fold
from a2a_grpc.store import Record
from a2a_grpc.wire import Message, Task
from tests.simulation.deliveries_checker import PUSH_RULES
from tests.simulation.history import Claim, Commit, History, Step
from tests.simulation.player import ANSWERED, GIVEN


def violations(history: History) -> list[str]:
    """What the history violates; empty for a good one."""
    return [f"{rule.__name__}: {found}" for rule in RULES for found in rule(history)]


def logs_are_contiguous(history: History) -> Iterator[str]:
    for task, log in history.logs.items():
        if [record.seq for record in log] != list(range(1, len(log) + 1)):
            yield f"{task} has seqs {[record.seq for record in log]}"


def terminal_is_final(history: History) -> Iterator[str]:
    for task, log in history.logs.items():
        ends = [record.seq for record in log if record.state in TERMINAL]
        if ends and ends != [len(log)]:
            yield f"{task} ends at {ends} of {len(log)}"


def states_follow_each_other(history: History) -> Iterator[str]:
    for task, log in history.logs.items():
        for before, after in pairwise(log):
            if after.at_us and after.state not in lifecycle.NEXT[before.state]:
                yield f"{task} at {after.seq}: {lifecycle.state_name(after.state)} after " + lifecycle.state_name(
                    before.state
                )
            if after.turn not in (before.turn, before.turn + 1):
                yield f"{task} at {after.seq}: turn {after.turn} after {before.turn}"


def what_was_acknowledged_is_in_the_log(history: History) -> Iterator[str]:
    for ack in history.acks:
        if not _has(history.logs.get(ack.task, []), ack.record):
            yield f"{ack.task} seq {ack.record.seq}"


def followers_see_the_log(history: History) -> Iterator[str]:
    for follow in history.follows:
        log = history.logs.get(follow.task, [])
        expected = log[follow.after :] if follow.is_complete else log[follow.after : follow.after + len(follow.records)]
        if follow.records != expected:
            seen = [record.seq for record in follow.records]
            yield f"{follow.task} after {follow.after}: saw {seen} of {len(log)}, or other bytes"
        if follow.is_complete and not (log and log[-1].state in TERMINAL):
            yield f"{follow.task} after {follow.after}: ended before its task"


def only_the_newest_claim_writes(history: History) -> Iterator[str]:
    newest: dict[str, int] = {}
    for write in history.writes:
        known = newest.get(write.task, 0)
        if isinstance(write, Claim):
            if write.epoch < known:
                yield f"{write.task} claimed at epoch {write.epoch} after {known}"
            newest[write.task] = write.epoch
        elif write.epoch != known:
            yield f"{write.task} seq {write.seq} by {write.replica} at epoch {write.epoch}; the newest is {known}"


def one_run_at_a_time(history: History) -> Iterator[str]:
    """Of two runs of a task the earlier one does nothing any more once the later one has begun; unless its process was
    paused, so that it cannot know yet."""
    paused = defaultdict[str, list[tuple[float, float]]](list)
    for trouble in history.troubles:
        paused[trouble.replica].append((trouble.since, trouble.until))
    for task, steps in _by_task(history.steps).items():
        begun: dict[int, float] = {}
        for step in steps:
            begun.setdefault(step.run, step.at)
        for step in steps:
            later = [at for run, at in begun.items() if at > begun[step.run] and at < step.at and run != step.run]
            if not later:
                continue
            since = min(later) - 2 * history.lease_s
            if not any(start < step.at and until >= since for start, until in paused[step.replica]):
                yield f"{task}: run {step.run} at {step.replica} did '{step.note}' at {step.at:.3f}, after " + (
                    f"another run began at {min(later):.3f}"
                )


def runs_are_bounded(history: History) -> Iterator[str]:
    """A run is begun again if it was lost and its agent is resumable, so many times, and for each answer once more."""
    replicas = defaultdict[tuple[str, str], set[str]](set)
    for step in history.steps:
        replicas[step.task, step.message].add(step.replica)
        if step.attempt > history.max_attempts:
            yield f"{step.task} is at attempt {step.attempt} of {history.max_attempts}"
    for (task, message), used in replicas.items():
        answers = len(list(_opened(history.logs.get(task, []))))
        if len(used) > history.max_attempts * max(answers, 1):
            yield f"{task}: message {message} was begun by {sorted(used)}, at most " + (
                f"{history.max_attempts} in a turn"
            )


def only_an_answer_runs_again_what_is_not_resumable(history: History) -> Iterator[str]:
    """A run of an agent that is not resumable repeats an earlier one only after another message is in the log."""
    if history.is_resumable:
        return
    opened = {(task, record.seq) for task, log in history.logs.items() for record in log if record.message}
    answered = [(write.at, write.task) for write in history.writes
                if isinstance(write, Commit) and (write.task, write.seq) in opened]  # fmt: skip
    begun = Counter[tuple[str, str]]()
    for step in history.steps:
        if step.note != "begin":
            continue
        begun[step.task, step.message] += 1
        times, answers = (
            begun[step.task, step.message],
            sum(at <= step.at for at, task in answered if task == step.task),
        )
        if times > 1 + answers:
            yield f"{step.task}: message {step.message} was begun {times} times, with {answers} answers"


def answers_are_given_in_their_order(history: History) -> Iterator[str]:
    """Each run is about one message, and is given those that follow it in the log as its answers."""
    for task, steps in _by_task(history.steps).items():
        opened = [message for message, _ in _opened(history.logs.get(task, []))]
        runs = defaultdict[int, list[Step]](list)
        for step in steps:
            runs[step.run].append(step)
        for run, done in runs.items():
            [first, *others] = dict.fromkeys(step.message for step in done)
            if others:
                yield f"{task}: run {run} began with {first} and went on with {others}"
            given = [step.note.removeprefix(ANSWERED) for step in done if step.note.startswith(ANSWERED)]
            following = opened[opened.index(first) + 1 :] if first in opened else []
            if given != following[: len(given)]:
                yield f"{task}: run {run} of {first} was given {given}, not {following}"


def each_step_has_one_result(history: History) -> Iterator[str]:
    """Every run of a message is given the same result of its n-th step."""
    for task, steps in _by_task(history.steps).items():
        counts, results = Counter[int](), dict[tuple[str, int], str]()
        for step in steps:
            if step.note.startswith(GIVEN):
                counts[step.run] += 1
                number, result = counts[step.run], step.note.removeprefix(GIVEN)
                if (first := results.setdefault((step.message, number), result)) != result:
                    yield f"{task}: step {number} of {step.message} gave run {step.run} {result}, and {first} before"


def checkpoints_do_not_go_back(history: History) -> Iterator[str]:
    """What a resumable agent stored once is neither stored again nor by an earlier attempt after a later one."""
    for task, log in history.logs.items():
        chunks = defaultdict[str, list[tuple[int, int]]](list)
        for record in log:
            artifact = record.unpack()[0].artifact_update.artifact
            if artifact.artifact_id.startswith("checkpoint-"):
                number, _, attempt = artifact.parts[0].text.partition("/")
                chunks[artifact.artifact_id].append((int(number), int(attempt)))
        for name, stored in chunks.items():
            attempts = [attempt for _, attempt in stored]
            if [number for number, _ in stored] != list(range(1, len(stored) + 1)) or attempts != sorted(attempts):
                yield f"{task} has {name} {stored}"


def what_was_poured_is_whole(history: History) -> Iterator[str]:
    """Pieces stand in the log in their order, each once in an attempt; a turn does not end well without all of them."""
    for task, log in history.logs.items():
        poured: list[list[int]] = []
        turn = 1
        for record in log:
            event = record.unpack()[0]
            update = event.artifact_update
            if event.HasField("artifact_update") and update.artifact.parts[0].text.count("/") == 2:
                poured = [*poured, []] if update.append else [[]]
                poured[-1] = [int(number) for number in update.artifact.parts[0].text.split("/")]
                numbers, attempts = [piece[0] for piece in poured], {piece[1] for piece in poured}
                if numbers != list(range(1, len(poured) + 1)) or len(attempts) != 1:
                    yield f"{task} has pieces {poured} at {record.seq}"
            elif record.at_us:
                if poured and record.state in (COMPLETED, INPUT_REQUIRED) and poured[-1][0] != poured[-1][2]:
                    yield f"{task} is {lifecycle.state_name(record.state)} with pieces {poured} at {record.seq}"
                if record.turn != turn:
                    poured, turn = [], record.turn


def a_key_stands_for_one_turn(history: History) -> Iterator[str]:
    meant = defaultdict[str, set[tuple[str, int]]](set)
    keys = defaultdict[tuple[str, int], set[str]](set)
    for send in history.sends:
        meant[send.key].add((send.task, send.turn))
        keys[send.task, send.turn].add(send.key)
    for key, turns in meant.items():
        if len(turns) > 1:
            yield f"{key} stands for {sorted(turns)}"
    for turn, same in keys.items():
        if len(same) > 1:
            yield f"{turn} is what {sorted(same)} stand for"


def a_message_is_taken_once(history: History) -> Iterator[str]:
    taken = Counter(name for log in history.logs.values() for name, _ in _opened(log))
    for name, times in taken.items():
        if times > 1:
            yield f"{name} is in {times} logs or turns"


def what_was_accepted_gets_its_turn(history: History) -> Iterator[str]:
    for send in history.sends:
        log = history.logs.get(send.task, [])
        if not log:
            yield f"{send.task} is unknown, which {send.message} began"
            continue
        reached = log[-1].turn
        if reached >= send.turn:
            if (send.message, send.turn) not in _opened(log):
                yield f"{send.task} has no {send.message} at turn {send.turn}"
        elif log[-1].state not in TERMINAL:
            yield f"{send.task} is still at turn {reached}, and {send.message} waits for {send.turn}"


def a_cancel_that_was_answered_holds(history: History) -> Iterator[str]:
    for cancel in history.cancels:
        log = history.logs.get(cancel.task, [])
        if not log or log[-1].state not in TERMINAL:
            yield f"{cancel.task} goes on"
        elif (log[-1].state == CANCELED) != (cancel.state == CANCELED):
            yield f"{cancel.task} is {lifecycle.state_name(log[-1].state)}"


def who_was_refused_came_too_late(history: History) -> Iterator[str]:
    for refusal in history.refusals:
        log = history.logs.get(refusal.task, [])
        if not log or log[-1].state not in TERMINAL:
            yield f"{refusal.message} was refused by {refusal.task}, which has not ended"


def reads_see_what_was_acknowledged(history: History) -> Iterator[str]:
    known = defaultdict[str, list[tuple[float, int]]](list)
    for ack in sorted(history.acks, key=lambda ack: ack.at):
        seen = known[ack.task]
        seen.append((ack.at, max(ack.record.seq, seen[-1][1] if seen else 0)))
    for read in history.reads:
        place = bisect_left(known[read.task], (read.asked, 0))
        if place and read.seq < known[read.task][place - 1][1]:
            yield f"{read.task} read at {read.asked:.3f} is at seq {read.seq}, not {known[read.task][place - 1][1]}"


def snapshots_fit_their_seq(history: History) -> Iterator[str]:
    for read in history.reads:
        log = history.logs.get(read.task, [])[: read.seq]
        if len(log) != read.seq or fold(Task(), (record.unpack() for record in log)) != Task.FromString(read.content):
            yield f"{read.task} at seq {read.seq}"


def everything_comes_to_its_end(history: History) -> Iterator[str]:
    for task, head in history.heads.items():
        waits = head.state in INTERRUPTED and head.last_turn == head.turn
        if head.state not in TERMINAL and not waits:
            yield f"{task} is {lifecycle.state_name(head.state)} at turn {head.turn} of {head.last_turn}, held by " + (
                f"'{head.replica}', epoch {head.epoch}, attempt {head.attempt}"
            )


def nobody_complains(history: History) -> Iterator[str]:
    yield from history.complaints


RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    logs_are_contiguous,
    terminal_is_final,
    states_follow_each_other,
    what_was_acknowledged_is_in_the_log,
    followers_see_the_log,
    only_the_newest_claim_writes,
    one_run_at_a_time,
    runs_are_bounded,
    only_an_answer_runs_again_what_is_not_resumable,
    answers_are_given_in_their_order,
    each_step_has_one_result,
    checkpoints_do_not_go_back,
    what_was_poured_is_whole,
    a_key_stands_for_one_turn,
    a_message_is_taken_once,
    what_was_accepted_gets_its_turn,
    a_cancel_that_was_answered_holds,
    who_was_refused_came_too_late,
    reads_see_what_was_acknowledged,
    snapshots_fit_their_seq,
    everything_comes_to_its_end,
    nobody_complains,
    *PUSH_RULES,
)


def _has(log: list[Record], record: Record) -> bool:
    return record.seq <= len(log) and log[record.seq - 1] == record


def _by_task(steps: list[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.task, []).append(step)
    return found


def _opened(log: list[Record]) -> Iterator[tuple[str, int]]:
    """The user messages in a log, each with the turn that it opened."""
    for record in log:
        if record.seq == 1:
            yield record.unpack()[0].task.history[0].message_id, 1
        elif record.message:
            yield Message.FromString(record.message).message_id, record.turn
