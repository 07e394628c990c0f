"""The traces and metrics of a sentinel, if the program wants any."""

from a2a_grpc.auth.callers import Callers
from a2a_grpc.rpc import Calls
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.telemetry.metrics import PIPES, TUNNELS, Instruments
from a2a_grpc.telemetry.opened import served_calls
from a2a_grpc.telemetry.prometheus import Scrape
from a2a_grpc.telemetry.provider import find_meter, find_tracer


class SentinelTelemetry:
    """What a sentinel reports.

    Args:
        calls: The calls in progress.
        routes: The agents.
        callers: The callers.
        serves_metrics: True if the metrics are shown at `/metrics`.

    Raises:
        ConfigurationError: The package for `/metrics` is not installed.

    Attributes:
        scrape: The reader of the metrics for `/metrics`; None if `/metrics` is off.
        spans: Begins the spans of calls; None if the program wants neither traces nor metrics.
    """

    def __init__(self, calls: Calls, routes: Routes, callers: Callers, *, serves_metrics: bool = False) -> None:
        self.scrape = Scrape() if serves_metrics else None
        meter = self.scrape.meter if self.scrape is not None else find_meter()
        self._instruments = instruments = Instruments(meter) if meter is not None else None
        self.spans = served_calls(find_tracer(), instruments, passes_on=True)
        if instruments is None:
            return
        instruments.watch_calls(lambda: calls.unary, lambda: calls.streams, callers.refused)
        instruments.observe(TUNNELS, lambda: [(routes.count, {})])
        instruments.observe(PIPES, lambda: [(sum(tunnel.pipes for tunnel in routes.all()), {})])

    def close(self) -> None:
        """Report nothing any more."""
        if self._instruments is not None:
            self._instruments.close()
        if self.scrape is not None:
            self.scrape.close()
