"""Whether a program wants traces or metrics, and where they go.

A program says so by setting a provider of OpenTelemetry, as `opentelemetry-instrument` does, before it starts a server
or makes the first call of a client. This package sets no provider.
"""

import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

NAME = "a2a_grpc"
"""The name of this package as the source of spans and metrics."""

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the semantic conventions whose names are used."""


def find_tracer() -> Any:
    """Return the tracer of the program. Return None if the program wants no traces."""
    return _found("trace", "OTEL_PYTHON_TRACER_PROVIDER", "tracer")


def find_meter() -> Any:
    """Return the meter of the program. Return None if the program wants no metrics."""
    return _found("metrics", "OTEL_PYTHON_METER_PROVIDER", "meter")


def meter_of(provider: Any) -> Any:
    """Return the meter of a provider.

    Args:
        provider: A provider of meters.
    """
    return provider.get_meter(NAME, _version(), schema_url=SCHEMA)


def _found(module: str, variable: str, kind: str) -> Any:
    """Return the tracer or meter of the provider that was set; None if none was set, or if it records nothing."""
    # Nobody can have set a provider while the module is not imported. The import takes 20 ms.
    if f"opentelemetry.{module}" not in sys.modules and variable not in os.environ:
        return None
    try:
        api = import_module(f"opentelemetry.{module}")
    except ImportError:
        return None
    provider = getattr(api, f"get_{kind}_provider")()
    if _records_nothing(provider):
        return None
    make = getattr(provider, f"get_{kind}")
    found = make(NAME, _version(), schema_url=SCHEMA)
    return None if _records_nothing(found) else found


def _records_nothing(thing: object) -> bool:
    """Return True for what the API gives in place of a provider, and for what a disabled SDK gives."""
    return type(thing).__name__.lstrip("_").startswith(("Proxy", "NoOp"))


def _version() -> str:
    try:
        return version("a2a-grpc")
    except PackageNotFoundError:
        return ""
