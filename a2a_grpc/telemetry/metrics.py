"""The metrics of this package as a table, and their instruments."""

from collections.abc import Callable, Iterable, Mapping
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
        text: What the metric says, in one sentence.
        labels: The names of the labels. Each has a bounded number of values.
        bounds: The bounds of the buckets of a histogram.
    """

    name: str
    kind: Kind
    unit: str
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = names.DURATIONS_S


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

METRICS = (SERVER_DURATION, CLIENT_DURATION, QUEUE_DURATION, RUN_DURATION, RUNS, TAKEOVERS)
"""All metrics, for the documentation."""

Values: TypeAlias = Iterable[tuple[float, Mapping[str, str]]]
"""Values of a metric, each with its labels."""


class Instruments:
    """Makes the instruments of a meter.

    Args:
        meter: The meter.
    """

    def __init__(self, meter: Any) -> None:
        self._meter = meter

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

    def observe(self, metric: Metric, read: Callable[[], Values]) -> None:
        """Read a counter or a gauge each time that the metrics are collected.

        Args:
            metric: The metric.
            read: Returns the values. It may be called in another thread.
        """
        from opentelemetry.metrics import Observation

        make = {
            "counter": self._meter.create_observable_counter,
            "gauge": self._meter.create_observable_gauge,
        }[metric.kind]

        def collect(options: object) -> Iterable[Any]:
            return [Observation(value, dict(labels)) for value, labels in read()]

        make(metric.name, [collect], metric.unit, metric.text)
