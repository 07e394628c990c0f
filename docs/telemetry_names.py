"""The page of the names of spans and metrics, made from the tables of the package."""

from collections.abc import Iterable

from a2a_grpc.telemetry.metrics import METRICS
from a2a_grpc.telemetry.spans import ATTRIBUTES, SPANS

START = """\
# Names of spans and metrics

This page lists what the package reports to OpenTelemetry. [Traces and metrics](telemetry.md) says how to turn it on.

## Spans

| Name | Kind | What it is about | Attributes |
|---|---|---|---|
"""


def names_page() -> str:
    """Return the text of the page."""
    spans = _rows([span.name, f"`{span.kind}`", span.text, _coded(span.attributes)] for span in SPANS)
    attributes = _rows([f"`{name}`", text] for name, text in ATTRIBUTES.items())
    metrics = _rows(
        [f"`{metric.name}`", metric.kind, metric.unit, metric.text, _coded(metric.labels)] for metric in METRICS
    )
    return (
        f"{START}{spans}\n## Attributes\n\n| Attribute | What it says |\n|---|---|\n{attributes}"
        f"\n## Metrics\n\n| Metric | Kind | Unit | What it says | Labels |\n|---|---|---|---|---|\n{metrics}"
    )


def _coded(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _rows(rows: Iterable[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
