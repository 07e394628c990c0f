"""Run code of other authors so that a GeneratorExit that it awaits is an error like any other."""

from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Unclosed(Coroutine[Any, Any, T]):
    """A coroutine for `asyncio.create_task` that is not closed by what it awaits.

    A task throws the exception of a future into its coroutine. If the exception is a GeneratorExit, Python closes every
    coroutine of the chain, and a closed coroutine cannot await anything. So it could not store the end of a task.
    Therefore the chain gets a RuntimeError instead, as Python itself does for StopIteration.
    """

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the coroutine, such as its name and its frame, for tracebacks and debuggers."""
        return getattr(self._coroutine, name)

    def send(self, value: Any) -> Any:
        """Let the coroutine go on."""
        return self._coroutine.send(value)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()

    def throw(self, error: Any, *details: Any) -> Any:
        """Throw what a future has failed with."""
        if isinstance(error, GeneratorExit):
            raised = RuntimeError("what was awaited raised GeneratorExit")
            raised.__cause__ = error
            return self._coroutine.throw(raised)
        return self._coroutine.throw(error, *details)

    def __await__(self) -> NoReturn:
        raise TypeError("this is for asyncio.create_task: a coroutine that awaits it would be closed itself")
