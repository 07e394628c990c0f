"""What `a2a-grpc top` shows: numbers of a server, from two readings of its metrics."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from a2a_grpc.config import ConfigurationError

DURATION = "rpc_server_call_duration_seconds"
KIND, STATE = "a2a_grpc_call_kind", "a2a_grpc_run_state"


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
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append(Sample(dict(sample.labels), float(sample.value)))

    def samples(self, name: str) -> Iterator[Sample]:
        """Yield the values of a metric."""
        yield from self._samples.get(name, ())

    def total(self, name: str, **labels: str) -> float | None:
        """Return the sum of the values of a metric that have these labels; None if there is none."""
        found = [one.value for one in self.samples(name) if labels.items() <= one.labels.items()]
        return sum(found) if found else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums of a metric for each value of a label."""
        found: dict[str, float] = {}
        for labels, value in self.samples(name):
            if label in labels:
                found[labels[label]] = found.get(labels[label], 0.0) + value
        return dict(sorted(found.items()))


def shown(before: Reading, after: Reading) -> dict[str, Any]:
    """Return what is shown: the numbers of the later reading, and rates between the two. None is not known.

    Args:
        before: The earlier reading.
        after: The later one.
    """
    return {
        "interval_s": round(after.at_s - before.at_s, 3),
        "calls": {
            "open": {kind: int(count) for kind, count in after.by("a2a_grpc_calls_open", KIND).items()},
            "per_s": _rate(before, after, f"{DURATION}_count"),
            "mean_ms": _mean(before, after, DURATION, 1000.0),
            "methods": _methods(before, after),
            "refused_per_s": _rate(before, after, "a2a_grpc_auth_refusals_total"),
        },
        "runs": {
            "by_state": {state: int(count) for state, count in after.by("a2a_grpc_runs", STATE).items()},
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
    return dict(sorted(((name, rate) for name, rate in rates.items() if rate > 0), key=lambda item: -item[1]))


def _rate(before: Reading, after: Reading, name: str) -> float | None:
    grown = _grown(before, after, name)
    return None if grown is None else _per_s(before, after, grown)


def _per_s(before: Reading, after: Reading, grown: float) -> float:
    return round(max(0.0, grown) / max(after.at_s - before.at_s, 1e-9), 1)


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
    return round(total / count * factor, 2) if count and total is not None else None


def _count(after: Reading, name: str) -> int | None:
    value = after.total(name)
    return None if value is None else int(value)


def _value(after: Reading, name: str) -> float | None:
    value = after.total(name)
    return None if value is None else round(value, 1)
