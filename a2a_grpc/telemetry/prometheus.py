"""The metrics as Prometheus reads them, made from the instruments of OpenTelemetry by its own exporter."""

import time
from typing import Any

from a2a_grpc.config import ConfigurationError
from a2a_grpc.telemetry.provider import meter_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REST_SHARE = 10
"""A text is given again for this many times the time that it took to make, which is some hundredths of a second. So a
flood of requests does not hold the event loop."""


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
        self._text = b""
        self._made_again_at = 0.0

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format, or the last ones if they were made a moment ago."""
        from prometheus_client import generate_latest

        if (begun := time.monotonic()) >= self._made_again_at:
            self._text = bytes(generate_latest(self._registry))
            made = time.monotonic()
            self._made_again_at = made + REST_SHARE * (made - begun)
        return self._text

    def close(self) -> None:
        """Show nothing any more."""
        if self._is_own:
            self._provider.shutdown()
        else:
            self._provider.remove_metric_reader(self._reader)
