"""What `a2a-grpc top` shows: numbers of a server, from two readings of its metrics."""

import heapq
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line

DURATION = "rpc_server_call_duration_seconds"
KIND, STATE = "a2a_grpc_call_kind", "a2a_grpc_run_state"

MAX_LABEL, MAX_SHOWN = 100, 20
"""The largest length of a label, and the largest number of values of one metric, that are shown."""
OTHERS = "(others)"
"""The name for the sum of the values that are not shown."""
LARGEST = 1e18
"""No server counts further. Sums and products of larger numbers would not be finite."""


class Sample(NamedTuple):
    """One value of a metric."""

    labels: Mapping[str, str]
    value: float


class Reading:
    """The metrics of a server at one moment.

    Args:
        text: The metrics in Prometheus's text format.
        at_s: The time of the reading, on any clock, in seconds.

    Raises:
        ConfigurationError: The parser is not installed.
        ValueError: The text is in another format.
    """

    def __init__(self, text: str, at_s: float) -> None:
        try:
            from prometheus_client.parser import text_string_to_metric_families
        except ImportError:
            raise ConfigurationError('top needs prometheus-client: pip install "a2a-grpc[prometheus]"') from None
        self.at_s = at_s
        self._samples: dict[str, list[Sample]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    self._samples.setdefault(sample.name, []).append(Sample(dict(sample.labels), float(sample.value)))
        except Exception as error:  # the parser raises what it stumbles over
            raise ValueError(one_line(str(error), MAX_LABEL) or "a line cannot be parsed") from None

    def samples(self, name: str) -> Iterator[Sample]:
        """Yield the values of a metric."""
        yield from self._samples.get(name, ())

    def total(self, name: str, **labels: str) -> float | None:
        """Return the sum of the values of a metric that have these labels; None if there is none."""
        found = [one.value for one in self.samples(name) if labels.items() <= one.labels.items()]
        return sum(found) if found else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums of a metric for each value of a label, as it may be shown."""
        found: dict[str, float] = {}
        for labels, value in self.samples(name):
            if label in labels:
                key = one_line(labels[label], MAX_LABEL)
                found[key] = found.get(key, 0.0) + value
        return dict(sorted(found.items()))


def shown(before: Reading, after: Reading) -> dict[str, Any]:
    """Return what is shown: the numbers of the later reading, and rates between the two.

    None is a number that the server does not have, NaN one that is not finite.

    Args:
        before: The earlier reading.
        after: The later one.
    """
    return {
        "interval_s": round(after.at_s - before.at_s, 3),
        "calls": {
            "open": _counts(after, "a2a_grpc_calls_open", KIND),
            "per_s": _rate(before, after, f"{DURATION}_count"),
            "mean_ms": _mean(before, after, DURATION, 1000.0),
            "methods": _methods(before, after),
            "refused_per_s": _rate(before, after, "a2a_grpc_auth_refusals_total"),
        },
        "runs": {
            "by_state": _counts(after, "a2a_grpc_runs", STATE),
            "begun_per_s": _rate(before, after, "a2a_grpc_run_queue_duration_seconds_count"),
            "ended_per_s": _rate(before, after, "a2a_grpc_run_duration_seconds_count"),
            "queue_mean_ms": _mean(before, after, "a2a_grpc_run_queue_duration_seconds", 1000.0),
            "takeovers": _count(after, "a2a_grpc_run_takeovers_total"),
        },
        "store": {
            "events_per_s": _rate(before, after, "a2a_grpc_events_appended_total"),
            "commits_per_s": _rate(before, after, "a2a_grpc_commit_size_count"),
            "commit_mean_ms": _mean(before, after, "a2a_grpc_commit_duration_seconds", 1000.0),
            "writes_per_commit": _mean(before, after, "a2a_grpc_commit_size"),
            "followers": _count(after, "a2a_grpc_followers"),
            "lease_age_s": _value(after, "a2a_grpc_lease_age_seconds"),
            "purged": _count(after, "a2a_grpc_tasks_purged_total"),
        },
        "push": {
            "claimed": _count(after, "a2a_grpc_push_claimed"),
            "oldest_s": _value(after, "a2a_grpc_push_age_seconds"),
            "attempts_per_s": _rate(before, after, "a2a_grpc_push_duration_seconds_count"),
        },
        "sentinel": {
            "tunnels": _count(after, "a2a_grpc_sentinel_tunnels"),
            "pipes": _count(after, "a2a_grpc_sentinel_pipes"),
        },
    }


def _methods(before: Reading, after: Reading) -> dict[str, float]:
    """Return the calls a second of each method that was called between the readings, the most called first."""
    was, now = (one.by(f"{DURATION}_count", "rpc_method") for one in (before, after))
    rates = {name.rpartition("/")[2]: _per_s(before, after, count - was.get(name, 0.0)) for name, count in now.items()}
    return _few({name: rate for name, rate in rates.items() if not rate <= 0}, by_size=True)


def _counts(after: Reading, name: str, label: str) -> dict[str, float]:
    """Return a whole number for each value of a label."""
    return {key: _whole(count) for key, count in _few(after.by(name, label)).items()}


def _few(found: dict[str, float], *, by_size: bool = False) -> dict[str, float]:
    """Return the largest values, in their order or the largest first, and the sum of the others."""
    if len(found) <= MAX_SHOWN and not by_size:
        return found
    largest = dict(
        heapq.nlargest(MAX_SHOWN, found.items(), key=lambda item: -math.inf if math.isnan(item[1]) else item[1])
    )
    others = [value for name, value in found.items() if name not in largest]
    shown = largest if by_size else {name: value for name, value in found.items() if name in largest}
    return {**shown, OTHERS: _finite(sum(others))} if others else shown


def _finite(value: float, digits: int | None = None) -> float:
    """Return a number, rounded. Return NaN if it is not finite, or too large to be true."""
    if not abs(value) <= LARGEST:
        return math.nan
    return value if digits is None else round(value, digits)


def _whole(value: float) -> float:
    """Return a number as an integer; NaN if it is not finite."""
    value = _finite(value)
    return value if math.isnan(value) else int(value)


def _rate(before: Reading, after: Reading, name: str) -> float | None:
    grown = _grown(before, after, name)
    return None if grown is None else _per_s(before, after, grown)


def _per_s(before: Reading, after: Reading, grown: float) -> float:
    return max(_finite(grown / max(after.at_s - before.at_s, 1e-9), 1), 0.0)  # in this order, NaN stays


def _grown(before: Reading, after: Reading, name: str) -> float | None:
    """Return by how much a counter has grown. A server that was started again counts from 0."""
    now = after.total(name)
    if now is None:
        return None
    was = before.total(name) or 0.0
    return now if now < was else now - was


def _mean(before: Reading, after: Reading, name: str, factor: float = 1.0) -> float | None:
    """Return the mean of what a histogram has counted between the readings."""
    count, total = _grown(before, after, f"{name}_count"), _grown(before, after, f"{name}_sum")
    return _finite(total / count * factor, 2) if count and total is not None else None


def _count(after: Reading, name: str) -> float | None:
    value = after.total(name)
    return None if value is None else _whole(value)


def _value(after: Reading, name: str) -> float | None:
    value = after.total(name)
    return None if value is None else _finite(value, 1)
