"""The metrics as Prometheus reads them, made from the instruments of OpenTelemetry by its own exporter."""

from typing import Any

from a2a_grpc.config import ConfigurationError
from a2a_grpc.telemetry.provider import meter_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Scrape:
    """What a server shows at `/metrics`.

    If the program has set a provider of metrics, its instruments are shown in addition to what the program does with
    them. Otherwise the server has a provider of its own.

    Raises:
        ConfigurationError: The exporter is not installed.

    Attributes:
        meter: The meter whose instruments are shown.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import metrics
            from opentelemetry.exporter.prometheus import PrometheusMetricReader
            from opentelemetry.sdk.metrics import MeterProvider
            from prometheus_client import CollectorRegistry
        except ImportError:
            raise ConfigurationError(
                'metrics needs opentelemetry-exporter-prometheus: pip install "a2a-grpc[prometheus]"'
            ) from None
        self._registry = CollectorRegistry()
        self._reader: Any = PrometheusMetricReader(registry=self._registry, scope_info_enabled=False)
        given = metrics.get_meter_provider()
        self._is_own = not isinstance(given, MeterProvider)
        if self._is_own:
            self._provider: Any = MeterProvider(metric_readers=[self._reader])
        else:
            self._provider = given
            self._provider.add_metric_reader(self._reader)
        self.meter: Any = meter_of(self._provider)

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self._registry))

    def close(self) -> None:
        """Show nothing any more."""
        if self._is_own:
            self._provider.shutdown()
        else:
            self._provider.remove_metric_reader(self._reader)
