"""What a terminal shows while an agent works: a spinner, or a bar for the progress that the agent reports."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from a2a_grpc.cli.screen import Screen

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress


class ProgressBar:
    """A spinner until something else is shown, and a bar once there is progress to show."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._bar: Progress | None = None
        self._sign: Live | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show the spinner while the block runs."""
        from rich.live import Live  # imported here, since most runs do not need them
        from rich.spinner import Spinner

        waiting = Spinner("dots", Text("waiting for the agent", "dim"), style="status.spinner")
        # Otherwise Rich reads text for redirected streams as colours and links.
        with Live(waiting, console=self._screen, transient=True, redirect_stdout=False, redirect_stderr=False) as sign:
            self._sign = sign
            yield

    def show(self, name: str, done: float) -> None:
        """Show how much of the work is done, from 0 to 1, in place of the spinner."""
        if self._bar is None:
            # imported here, since most runs have no bar
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

            if self._sign is not None:
                self._sign.stop()
            words = TextColumn("{task.description}", markup=False)
            self._bar = Progress(
                words,
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                console=self._screen,
                transient=True,
                redirect_stdout=False,  # standard output is for the agent's answer
                redirect_stderr=False,
            )
            self._bar.start()
            self._bar.add_task(name, total=1.0)
        self._bar.update(self._bar.task_ids[0], completed=done, description=name)

    def end(self) -> None:
        """Remove the bar, if there is one."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
