"""The observer of runs, which makes traces and metrics of them. The engine itself makes neither."""

from typing import Protocol


class RunObserver(Protocol):
    """Observes one run."""

    @property
    def trace(self) -> str:
        """The text that is stored with the message of the run, so that a later run for the message can be linked to
        this one; empty if there is none."""

    @property
    def trace_id(self) -> str:
        """The id of the trace that the run belongs to; empty if there is none."""

    def moved(self, state: str, task_state: int) -> None:
        """Take note of the state of the run, also of the first one. PLAYING is reported in the handler's Python task.

        Args:
            state: The name of the state, from `states`.
            task_state: The state of the task.
        """

    def answered(self, trace: str) -> None:
        """Take note of the answer with which the handler goes on.

        Args:
            trace: The text that was stored with the message of the answer.
        """

    def raised(self, error: BaseException) -> None:
        """Take note of the exception with which the handler has failed.

        Args:
            error: The exception.
        """


class Observer(Protocol):
    """Observes the runs of one engine."""

    def accepts(self) -> str:
        """Return a text that is stored with the message of the current call; empty if there is none."""

    def trace_id(self) -> str:
        """Return the id of the trace of the current call; empty if there is none."""

    def begins(
        self, task_id: str, context_id: str, skill: str, *, attempt: int = 1, trace: str | None = None, former: str = ""
    ) -> RunObserver:
        """Return the observer of a run that begins, or waits for its place.

        Args:
            task_id: The task.
            context_id: The conversation of the task.
            skill: The skill.
            attempt: The number of times that the run was begun.
            trace: The text that was stored with the message; None for the message of the current call.
            former: The text that was stored with the message of the run before, if this run repeats it.
        """


class _Unobserved:
    trace = trace_id = ""

    def moved(self, state: str, task_state: int) -> None:
        pass

    def answered(self, trace: str) -> None:
        pass

    def raised(self, error: BaseException) -> None:
        pass


class NullObserver:
    """Observes nothing."""

    def __init__(self) -> None:
        self._run = _Unobserved()

    def accepts(self) -> str:
        """Return ""."""
        return ""

    def trace_id(self) -> str:
        """Return ""."""
        return ""

    def begins(
        self, task_id: str, context_id: str, skill: str, *, attempt: int = 1, trace: str | None = None, former: str = ""
    ) -> RunObserver:
        """Return an observer that does nothing."""
        return self._run
