"""The traces and metrics of a server, if the program or the settings want any."""

from typing import TYPE_CHECKING

from a2a_grpc.agent import Agent
from a2a_grpc.auth.callers import Callers
from a2a_grpc.engine import Engine
from a2a_grpc.log import Log
from a2a_grpc.rpc import Calls
from a2a_grpc.telemetry import metrics, names
from a2a_grpc.telemetry.metrics import Instruments
from a2a_grpc.telemetry.opened import delivery_spans, run_spans, served_calls
from a2a_grpc.telemetry.prometheus import Scrape
from a2a_grpc.telemetry.provider import find_meter, find_tracer

if TYPE_CHECKING:
    from a2a_grpc.push.sender import Sender


class ServerTelemetry:
    """What a server reports.

    Args:
        agent: The agent.
        serves_metrics: True if the metrics are shown at `/metrics`.

    Raises:
        ConfigurationError: The package for `/metrics` is not installed.

    Attributes:
        scrape: The reader of the metrics for `/metrics`; None if `/metrics` is off.
        calls: Makes the spans of calls; None if neither traces nor metrics are wanted.
        runs: Observes runs; None likewise.
        deliveries: Makes the spans of deliveries of push notifications; None likewise.
    """

    def __init__(self, agent: Agent, *, serves_metrics: bool = False) -> None:
        self.scrape = Scrape() if serves_metrics else None
        self._tracer = find_tracer()
        meter = self.scrape.meter if self.scrape is not None else find_meter()
        self._instruments = Instruments(meter) if meter is not None else None
        named = {names.AGENT_NAME: agent.name, names.AGENT_VERSION: agent.version}
        self.calls = served_calls(self._tracer, self._instruments, named)
        self.runs = run_spans(self._tracer, self._instruments)
        self.deliveries = delivery_spans(self._tracer, self._instruments, self.runs)

    @property
    def is_traced(self) -> bool:
        """True if the server makes spans."""
        return self._tracer is not None

    def watch(self, calls: Calls, callers: Callers, engine: Engine, log: Log, sender: "Sender | None") -> None:
        """Report the numbers of the parts of the server, each time that they are asked for.

        Args:
            calls: The calls in progress.
            callers: The callers.
            engine: The engine.
            log: The log of tasks.
            sender: The deliveries; None if push notifications are not offered.
        """
        if (made := self._instruments) is None:
            return
        made.watch_calls(lambda: calls.unary, lambda: calls.streams, callers.refused)
        made.observe(metrics.EVENTS, lambda: [(log.appended, {})])
        made.observe(metrics.FOLLOWERS, lambda: metrics.followers(*log.followers))
        made.observe(metrics.LEASE_AGE, lambda: [(engine.replica.lease_age_s, {})])
        made.observe(metrics.PURGED, lambda: [(engine.removed, {})])
        if sender is not None:
            made.observe(metrics.OUTBOX_DEPTH, lambda: [(len(sender), {})])
            made.observe(metrics.OUTBOX_AGE, lambda: [(sender.oldest_s, {})])
        if hasattr(log.store, "observe_commits"):  # stores of databases
            sizes, durations = made.histogram(metrics.COMMIT_SIZE), made.histogram(metrics.COMMIT_DURATION)

            def committed(writes: int, duration_s: float) -> None:
                sizes.record(writes)
                durations.record(duration_s)

            log.store.observe_commits(committed)

    def close(self) -> None:
        """Report nothing any more."""
        if self._instruments is not None:
            self._instruments.close()
        if self.scrape is not None:
            self.scrape.close()
