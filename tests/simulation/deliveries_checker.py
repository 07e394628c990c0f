"""The rules about push notifications that every history keeps."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import inf

from a2a_grpc.lifecycle import fold
from a2a_grpc.store import Then
from a2a_grpc.wire import Task
from tests.simulation.history import Attempt, Cursor, History, Taken

Config = tuple[str, str]

SOON_S = 1.0
"""Within this time after a delete or a replacement other replicas have ended what they send to the config."""


def only_the_holder_of_a_claim_delivers(history: History) -> Iterator[str]:
    """An attempt begins only while the replica has the claim: no other one has taken it, and it was not given up. A
    replica whose claim is void because the config was replaced ends soon, as after a delete."""
    holder: dict[Config, str] = {}
    for event in history.deliveries:
        config = event.task, event.config
        if isinstance(event, Taken):
            holder[config] = event.replica
        elif isinstance(event, Cursor) and event.then is not Then.KEEP:
            holder[config] = "nobody"
        elif isinstance(event, Attempt) and holder.get(config) != event.replica:
            if _is_replaced(history, config, event.replica, event.begun):
                continue
            yield f"{config}: {event.replica} sent seq {event.seq} at {event.begun:.3f}, held by {holder.get(config)}"


def one_delivery_of_a_config_at_a_time(history: History) -> Iterator[str]:
    """An attempt has ended before the next one begins, unless its replica was paused, so that it could not know. A
    replica whose claim is void because the config was replaced ends soon, as after a delete."""
    for config, attempts in _by_config(history).items():
        for before, after in pairwise(sorted(attempts, key=lambda attempt: attempt.begun)):
            if before.ended is not None and before.ended <= after.begun:
                continue
            if any(_is_replaced(history, config, one.replica, after.begun) for one in (before, after)):
                continue
            if not _was_paused(history, before.replica, before.begun, after.begun):
                yield (
                    f"{config}: {before.replica} at seq {before.seq} from {before.begun:.3f} to {before.ended}, and "
                    + (f"{after.replica} at seq {after.seq} from {after.begun:.3f}")
                )


def nothing_is_sent_after_a_delete(history: History) -> Iterator[str]:
    """The replica that has confirmed the delete of a config sends nothing more. Others end what they send within a
    second, or at their next look if the store does not answer soon. The same holds after a purge."""
    attempts = _by_config(history)
    for delete in history.deletes:
        config = delete.task, delete.config
        if _is_added_again(history, config):
            continue  # a call that came late
        for attempt in attempts[config]:
            limit = delete.at
            if attempt.replica != delete.replica:
                limit = _soon_after(history, delete.at, attempt.replica)
            is_over = attempt.ended is not None and attempt.ended <= limit
            if not is_over and not _was_paused(history, attempt.replica, delete.at, limit):
                yield f"{config} was deleted by '{delete.replica}' at {delete.at:.3f}, and {attempt.replica} sent " + (
                    f"seq {attempt.seq} from {attempt.begun:.3f} to {attempt.ended}"
                )


def deliveries_arrive_in_order(history: History) -> Iterator[str]:
    arrived = defaultdict[Config, list[int]](list)
    for attempt in history.arrivals:
        arrived[attempt.task, attempt.config].append(attempt.seq)
    for config, seqs in arrived.items():
        if seqs != sorted(seqs):
            yield f"{config} got {seqs}"


def no_event_is_left_out(history: History) -> Iterator[str]:
    """Between two events that a receiver has taken there is none that it should have got, unless the later one is the
    task as it was then."""
    seen: dict[Config, int] = {}
    for event in history.deliveries:
        if isinstance(event, Taken):
            seen.setdefault((event.task, event.config), event.seq)
    for attempt in history.arrivals:
        config = attempt.task, attempt.config
        log = history.logs.get(attempt.task, [])
        if attempt.event.HasField("task"):
            expected = fold(Task(), (record.unpack() for record in log[: attempt.seq]))
            if attempt.event.task != expected:
                yield f"{config} got another task than that of seq {attempt.seq}"
        else:
            if attempt.event != log[attempt.seq - 1].unpack()[0]:
                yield f"{config} got another event than that of seq {attempt.seq}"
            between = log[seen.get(config, 0) : attempt.seq - 1]
            if left := [record.seq for record in between if record.at_us or history.sends_all]:
                yield f"{config} got seq {attempt.seq} without {left}"
        if attempt.is_accepted:
            seen[config] = max(seen.get(config, 0), attempt.seq)


def a_cursor_moves_only_to_what_was_taken(history: History) -> Iterator[str]:
    begun: dict[Config, int] = {}
    taken = defaultdict[Config, set[int]](set)
    for event in history.deliveries:
        config = event.task, event.config
        if isinstance(event, Taken):
            begun.setdefault(config, event.seq)
        elif isinstance(event, Attempt):
            if event.is_accepted:
                taken[config].add(event.seq)
        elif isinstance(event, Cursor) and event.seq != begun.get(config) and event.seq not in taken[config]:
            yield f"{config} has its cursor at {event.seq}, which no receiver has taken"


def the_newest_event_was_delivered(history: History) -> Iterator[str]:
    """In the end every receiver has got the newest status, and with it the end of the task."""
    newest = defaultdict[Config, int](int)
    for attempt in history.arrivals:
        if attempt.is_accepted:
            config = attempt.task, attempt.config
            newest[config] = max(newest[config], attempt.seq)
    for config, is_dead in history.pushes.items():
        log = history.logs.get(config[0], [])
        last = max((record.seq for record in log if record.at_us or history.sends_all), default=0)
        if newest[config] < last:
            yield f"{config} got {newest[config]} of {last}{', and is dead' if is_dead else ''}"


PUSH_RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    only_the_holder_of_a_claim_delivers,
    one_delivery_of_a_config_at_a_time,
    nothing_is_sent_after_a_delete,
    deliveries_arrive_in_order,
    no_event_is_left_out,
    a_cursor_moves_only_to_what_was_taken,
    the_newest_event_was_delivered,
)


def _was_paused(history: History, replica: str, since: float, until: float) -> bool:
    """Return True if a replica was paused at any moment of this time."""
    return any(
        trouble.replica == replica and trouble.since <= until and trouble.until >= since for trouble in history.troubles
    )


def _is_added_again(history: History, config: Config) -> bool:
    """Return True if a config came into the store again after it was deleted."""
    is_there = [change.is_there for change in history.changes if (change.task, change.config) == config]
    return True in is_there[is_there.index(False) :]


def _is_replaced(history: History, config: Config, replica: str, at: float) -> bool:
    """Return True if a replica may still send at this time what a replacement of the config has ended, as it had taken
    the config before, and not since."""
    changes = [change.at for change in history.changes if (change.task, change.config) == config and change.is_there]
    taken = [
        event.at
        for event in history.deliveries
        if isinstance(event, Taken) and (event.task, event.config) == config and event.replica == replica
    ]
    newest = max((then for then in taken if then <= at), default=inf)
    return any(newest <= change <= at <= _soon_after(history, change, replica) for change in changes)


def _soon_after(history: History, at: float, replica: str) -> float:
    """Return the time until which another replica may send to a config that was deleted or replaced at a time."""
    return at + SOON_S if history.is_store_well else max(at + SOON_S, _next_look(history, replica, at))


def _next_look(history: History, replica: str, at: float) -> float:
    """Return when a replica had the answer of its first look that was asked for at this time or later."""
    return min((look.at for look in history.looks if look.replica == replica and look.asked >= at), default=inf)


def _by_config(history: History) -> dict[Config, list[Attempt]]:
    found = defaultdict[Config, list[Attempt]](list)
    for event in history.deliveries:
        if isinstance(event, Attempt):
            found[event.task, event.config].append(event)
    return found
