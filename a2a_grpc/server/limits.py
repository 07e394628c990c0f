"""Check that the settings of a server fit each other, so that accepted tasks can be sent."""

from a2a_grpc.config import ConfigurationError
from a2a_grpc.engine import EngineSettings
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.server.settings import ServerSettings

FRAMING_BYTES = 4096
"""Bytes of a response in addition to its task, and bytes that the end of a task adds to a task at its limit."""


def check_limits_fit(server: ServerSettings, engine: EngineSettings, transport: TransportSettings) -> None:
    """Raise ConfigurationError if the limits do not fit each other. The error names both settings with their values.

    Limits do not fit if a task could grow so that no caller can read it. They do not fit either if one check accepts a
    request that a later check refuses. Requests and events that are too large for a task are refused when they come. So
    a limit of events above that of tasks is an error only if it is not the default.
    """
    if transport.max_send_bytes < (needed := engine.max_task_bytes + FRAMING_BYTES):
        raise ConfigurationError(
            f"--max-send-bytes is {transport.max_send_bytes} and --max-task-bytes is {engine.max_task_bytes}: a task "
            f"could grow that no response can hold; --max-send-bytes must be at least {needed}, or lower "
            "--max-task-bytes"
        )
    if engine.max_task_bytes < engine.max_event_bytes != EngineSettings().max_event_bytes:
        raise ConfigurationError(
            f"--max-event-bytes is {engine.max_event_bytes} and --max-task-bytes is {engine.max_task_bytes}: an event "
            "could be allowed that no task can hold; raise --max-task-bytes, or lower --max-event-bytes"
        )
    if server.max_bytes_in_flight < transport.max_receive_bytes:
        raise ConfigurationError(
            f"--max-bytes-in-flight is {server.max_bytes_in_flight} and --max-receive-bytes is "
            f"{transport.max_receive_bytes}: a request could be allowed that is always refused; --max-bytes-in-flight "
            f"must be at least {transport.max_receive_bytes}"
        )
