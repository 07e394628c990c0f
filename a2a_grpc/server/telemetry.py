"""The traces and metrics of a server, if the program wants any."""

from a2a_grpc.agent import Agent
from a2a_grpc.telemetry import names
from a2a_grpc.telemetry.opened import delivery_spans, run_spans, served_calls
from a2a_grpc.telemetry.provider import find_meter, find_tracer


class ServerTelemetry:
    """What a server reports.

    Args:
        agent: The agent.

    Attributes:
        calls: Makes the spans of calls; None if the program wants neither traces nor metrics.
        runs: Observes runs; None likewise.
        deliveries: Makes the spans of deliveries of push notifications; None likewise.
    """

    def __init__(self, agent: Agent) -> None:
        self._tracer, self._meter = find_tracer(), find_meter()
        named = {names.AGENT_NAME: agent.name, names.AGENT_VERSION: agent.version}
        self.calls = served_calls(self._tracer, self._meter, named)
        self.runs = run_spans(self._tracer, self._meter, named)
        self.deliveries = delivery_spans(self._tracer, self._meter, self.runs)

    @property
    def is_traced(self) -> bool:
        """True if the server makes spans."""
        return self._tracer is not None
