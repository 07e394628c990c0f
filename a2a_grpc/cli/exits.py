"""The end of a command: exit codes, and one line that says what went wrong and what to do."""

import math
from enum import IntEnum

from a2a_grpc.cli.screen import Screen
from a2a_grpc.client import AgentCardError, TaskNotCompletedError
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import (
    A2AError,
    DeadlineExceededError,
    NoAgentFound,
    PermissionDeniedError,
    PushNotificationNotSupportedError,
    ResourceExhaustedError,
    TaskNotFoundError,
    UnauthenticatedError,
    UnavailableError,
    VersionNotSupportedError,
)
from a2a_grpc.harmless import one_line


class ExitCode(IntEnum):
    """The exit codes of all commands. They do not change, since scripts use them."""

    OK = 0
    AGENT_FAILED = 1
    """The task ended in FAILED, REJECTED or CANCELED, or the registry has no such agent."""
    USAGE = 2
    UNREACHABLE = 3
    AUTH = 4
    TIMEOUT = 5
    PROTOCOL = 6
    """The agent refused the call, or its response breaks the protocol."""
    WAITS_FOR_USER = 7
    """The task waits for its user, because the agent asks for something."""
    OUTPUT = 8
    """Standard output cannot be written."""
    INTERRUPTED = 130


EPILOG = (
    "Exit codes: 0 ok, 1 the agent failed, rejected or canceled the task, or no agent was found, 2 usage, "
    "3 unreachable, 4 not allowed, 5 out of time, 6 refused or against the protocol, 7 the task waits for its user, "
    "8 the output cannot be written, "
    "130 interrupted."
)

HINTS: dict[type[Exception], str] = {
    UnauthenticatedError: "give --token, --api-key or the like, or run 'a2a-grpc login'; 'a2a-grpc doctor' shows more",
    PermissionDeniedError: "these credentials are not enough",
    NoAgentFound: "'a2a-grpc agents list' shows the agents that you may call",
    TaskNotFoundError: "'a2a-grpc list' shows the tasks that this agent has for you",
    VersionNotSupportedError: "'a2a-grpc card' shows the versions that the agent speaks",
    PushNotificationNotSupportedError: "follow the task with 'a2a-grpc subscribe' instead",
}


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code for an error."""
    match error:
        case ConfigurationError():
            return ExitCode.USAGE
        case AgentCardError() if isinstance(error.__cause__, OSError):  # the card's file cannot be read
            return ExitCode.USAGE
        case TaskNotCompletedError() | NoAgentFound():
            return ExitCode.AGENT_FAILED
        case UnauthenticatedError() | PermissionDeniedError():
            return ExitCode.AUTH
        case TimeoutError() | DeadlineExceededError():
            return ExitCode.TIMEOUT
        case UnavailableError():
            return ExitCode.UNREACHABLE
    return ExitCode.PROTOCOL


def hint_for(error: Exception) -> str:
    """Return what to do about an error, or "" if the error says so itself."""
    if isinstance(error, ResourceExhaustedError) and error.retry_after_s:
        return f"try again in {math.ceil(error.retry_after_s)} s"
    return next((text for kind, text in HINTS.items() if type(error) is kind), "")


def say_error(error: Exception) -> None:
    """Print an error in one line on standard error, with a hint if there is one."""
    hint = hint_for(error)
    told = f"{error.reason}: " if type(error) is A2AError and error.reason else ""
    say_failure(told + str(error), hint)


def say_failure(text: str, hint: str = "") -> None:
    """Print one line for what went wrong, with a hint if there is one."""
    Screen.of_stderr().say(("Error:", "bold red"), " ", one_line(text), (f" ({hint})" if hint else "", "dim"))
