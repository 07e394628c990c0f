"""Steps of a check, each with a line of output."""

from collections.abc import Awaitable, Callable, Iterable

from a2a_grpc.cli.show import Show
from a2a_grpc.client.probe import ProbeFailure
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.errors import A2AError

STYLES = {"ok": "green", "failed": "bold red", "missing": "yellow", "warning": "yellow"}

Step = tuple[str, Callable[[], Awaitable[str]]]
"""The name of a step, and a function that returns what is well."""


class Skipped(Exception):
    """A step that does not apply; the text says why."""


class Weak(Exception):
    """A step that failed, although calls or the server work without it; the text says what is missing."""


def tell(show: Show, step: str, outcome: str, text: str) -> None:
    """Print the line of a step.

    Args:
        show: The output.
        step: The name of the step.
        outcome: "ok", "skipped", "missing", "warning" or "failed".
        text: The result of the step, for the user.
    """
    text = show.masked(text)
    if show.as_json:
        return show.json_value({"step": step, "outcome": outcome, "text": text})
    return show.fields((f"{outcome:8}", STYLES.get(outcome, "dim")), f"{step:11}", text)


async def take(
    show: Show,
    name: str,
    work: Callable[[], Awaitable[str]],
    *,
    weak: str = "warning",
    say: Callable[[Exception], str] = str,
) -> Exception | None:
    """Take a step, and print its line. Return the error if the step has failed.

    `weak` is the outcome of a step that raises Weak. `say` returns the text for an error.
    """
    try:
        tell(show, name, "ok", await work())
    except Skipped as reason:
        tell(show, name, "skipped", str(reason))
    except Weak as missing:
        tell(show, name, weak, str(missing))
    except (ConfigurationError, StoreUnavailable, A2AError, ProbeFailure, OSError) as error:
        tell(show, name, "failed", say(error))
        return error
    return None


async def take_all(show: Show, steps: Iterable[Step]) -> bool:
    """Take all steps. Return True if none has failed."""
    failures = [await take(show, name, work) for name, work in steps]
    return not any(failures)
