"""The metrics of this package as a table, and their instruments."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

from a2a_grpc.telemetry import names

Kind: TypeAlias = Literal["histogram", "counter", "gauge"]

COUNTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""The bounds of the buckets of numbers of things."""

LONG_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""The bounds of the buckets of the durations of work, in seconds."""


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: The name.
        kind: "histogram", "counter" for a number that only grows, or "gauge" for one that is read when it is asked for.
        unit: The unit, as UCUM writes it.
        text: The description of the metric, in one sentence.
        labels: The names of the labels. Each has a bounded number of values.
        bounds: The bounds of the buckets of a histogram.
    """

    name: str
    kind: Kind
    unit: str
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = names.DURATIONS_S


CALL_KIND = "a2a_grpc.call.kind"
"""Whether a call is unary or a stream."""
FOLLOWER = "a2a_grpc.follower.state"
"""Whether a follower is behind."""
REASON = "a2a_grpc.auth.reason"
"""Why a call was refused."""

CALL = (names.SYSTEM, names.METHOD, names.STATUS_CODE, names.ERROR_TYPE)

SERVER_DURATION = Metric("rpc.server.call.duration", "histogram", "s", "How long a served call took.", CALL)
CLIENT_DURATION = Metric("rpc.client.call.duration", "histogram", "s", "How long a call took, with its retries.", CALL)

QUEUE_DURATION = Metric(
    "a2a_grpc.run.queue.duration", "histogram", "s", "How long a run waited for its place.", (), LONG_S
)
RUN_DURATION = Metric(
    "a2a_grpc.run.duration",
    "histogram",
    "s",
    "How long a handler worked, until it ended or asked its user.",
    (names.TASK_STATE,),
    LONG_S,
)
RUNS = Metric("a2a_grpc.runs", "gauge", "{run}", "The runs at this server, by what they do.", (names.RUN_STATE,))
TAKEOVERS = Metric(
    "a2a_grpc.run.takeovers", "counter", "{run}", "Runs that were begun again because their server was lost."
)

OPEN_CALLS = Metric("a2a_grpc.calls.open", "gauge", "{call}", "The calls that are being served.", (CALL_KIND,))
REFUSALS = Metric(
    "a2a_grpc.auth.refusals", "counter", "{call}", "Calls that were refused because of their credentials.", (REASON,)
)
EVENTS = Metric("a2a_grpc.events.appended", "counter", "{event}", "Events that were stored.")
COMMIT_SIZE = Metric("a2a_grpc.commit.size", "histogram", "{write}", "Writes that one commit has stored.", (), COUNTS)
COMMIT_DURATION = Metric("a2a_grpc.commit.duration", "histogram", "s", "How long a commit of a database took.")
FOLLOWERS = Metric(
    "a2a_grpc.followers",
    "gauge",
    "{follower}",
    "The readers that follow tasks: those that have taken all events, and those that are behind.",
    (FOLLOWER,),
)
LEASE_AGE = Metric("a2a_grpc.lease.age", "gauge", "s", "The time since the lease of this server was renewed.")
PURGED = Metric("a2a_grpc.tasks.purged", "counter", "{task}", "Tasks and idempotency keys that were deleted for age.")
OUTBOX_DEPTH = Metric("a2a_grpc.push.claimed", "gauge", "{config}", "The push configs that this server delivers.")
OUTBOX_AGE = Metric("a2a_grpc.push.age", "gauge", "s", "How long the oldest delivery at work has been claimed.")
DELIVERIES = Metric(
    "a2a_grpc.push.duration",
    "histogram",
    "s",
    "How long an attempt to deliver took.",
    (names.DESTINATION, names.VERDICT),
)
TUNNELS = Metric("a2a_grpc.sentinel.tunnels", "gauge", "{agent}", "The agents that are attached.")
PIPES = Metric("a2a_grpc.sentinel.pipes", "gauge", "{pipe}", "The pipes of attached agents.")

METRICS = (
    SERVER_DURATION,
    CLIENT_DURATION,
    OPEN_CALLS,
    REFUSALS,
    RUNS,
    QUEUE_DURATION,
    RUN_DURATION,
    TAKEOVERS,
    EVENTS,
    COMMIT_SIZE,
    COMMIT_DURATION,
    FOLLOWERS,
    LEASE_AGE,
    PURGED,
    OUTBOX_DEPTH,
    OUTBOX_AGE,
    DELIVERIES,
    TUNNELS,
    PIPES,
)
"""All metrics, for the documentation."""

Values: TypeAlias = Iterable[tuple[float, Mapping[str, str]]]
"""Values of a metric, each with its labels."""

Read: TypeAlias = Callable[[], Values]

READERS = "a2a_grpc_readers"
"""The attribute of an instrument with the functions that are read for it: one for each server of the process."""


class Instruments:
    """Makes the instruments of a meter, for one server.

    Args:
        meter: The meter. Several servers of a process may have the same one.
    """

    def __init__(self, meter: Any) -> None:
        self._meter = meter
        self._observed: list[tuple[Metric, list[Read], Read]] = []

    def histogram(self, metric: Metric) -> Any:
        """Return the instrument of a histogram.

        Args:
            metric: The metric.
        """
        return self._meter.create_histogram(
            metric.name, metric.unit, metric.text, explicit_bucket_boundaries_advisory=metric.bounds
        )

    def counter(self, metric: Metric) -> Any:
        """Return the instrument of a counter.

        Args:
            metric: The metric.
        """
        return self._meter.create_counter(metric.name, metric.unit, metric.text)

    def observe(self, metric: Metric, read: Read) -> None:
        """Read a counter or a gauge each time that the metrics are collected, until `close`.

        Args:
            metric: The metric.
            read: Returns the values. It is called in another thread, so it must not change anything.
        """
        from opentelemetry.metrics import Observation

        make = (
            self._meter.create_observable_counter if metric.kind == "counter" else self._meter.create_observable_gauge
        )
        readers: list[Read] = []

        def collect(options: object) -> Iterable[Any]:
            return [Observation(value, dict(labels)) for labels, value in _merged(metric, readers).items()]

        # A meter makes an instrument once. For the second server it returns that of the first one.
        instrument = make(metric.name, [collect], metric.unit, metric.text)
        found: list[Read] = vars(instrument).setdefault(READERS, readers)
        found.append(read)
        self._observed.append((metric, found, read))

    def watch_calls(self, unary: Callable[[], int], streams: Callable[[], int], refused: Mapping[str, int]) -> None:
        """Read the open calls and the refused callers of a server or a sentinel.

        Args:
            unary: Returns the number of open unary calls.
            streams: Returns the number of open streams.
            refused: The number of refused calls, by reason.
        """
        self.observe(OPEN_CALLS, lambda: [(unary(), {CALL_KIND: "unary"}), (streams(), {CALL_KIND: "stream"})])
        self.observe(REFUSALS, lambda: [(count, {REASON: reason}) for reason, count in tuple(refused.items())])

    def close(self) -> None:
        """Read nothing of this server any more. Its counters keep their last values, because a counter never falls."""
        for metric, readers, read in self._observed:
            if metric.kind == "counter":
                readers[readers.index(read)] = partial(tuple, tuple(read()))
            else:
                readers.remove(read)
        self._observed.clear()


def followers(current: int, behind: int) -> Values:
    """Return the values of `FOLLOWERS`.

    Args:
        current: The number of followers that have taken all records.
        behind: The number of the others.
    """
    return [(current, {FOLLOWER: "current"}), (behind, {FOLLOWER: "behind"})]


def _merged(metric: Metric, readers: Iterable[Read]) -> dict[tuple[tuple[str, str], ...], float]:
    """Return the values of all servers by their labels: for ages the largest one, otherwise the sum."""
    found: dict[tuple[tuple[str, str], ...], float] = {}
    for read in tuple(readers):
        for value, labels in read():
            key = tuple(labels.items())
            before = found.get(key)
            if before is not None:
                value = max(before, value) if metric.unit == "s" else before + value
            found[key] = value
    return found
