"""Lists of tasks, a line each."""

import time
from collections.abc import AsyncIterator

from a2a_grpc.cli.described import age, moment
from a2a_grpc.cli.show import STYLES, Show
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import text_of
from a2a_grpc.wire import Task

HEAD = f"{'TASK':36}  {'STATE':14}  {'CHANGED (UTC)':19}  {'AGE':>4}  SAYS"


async def show_rows(show: Show, tasks: AsyncIterator[Task], limit: int) -> tuple[int, bool]:
    """Print tasks, as many as the limit allows. Return how many were printed, and whether these are all."""
    shown = 0
    async for task in tasks:
        if shown == limit:
            return shown, False
        if show.as_json:
            show.json(task)
        else:
            if not shown:
                _show_head(show)
            _show_row(show, task)
        shown += 1
    return shown, True


def _show_head(show: Show) -> None:
    """Print the header. On a pipe it goes to standard error, since the answer has tasks only."""
    if show.out.is_terminal:
        show.fields((HEAD, "dim"))
    else:
        show.note(HEAD)


def _show_row(show: Show, task: Task) -> None:
    said = text_of(task.status.message).strip().splitlines()
    state = (f"{state_name(task.status.state):14}", STYLES.get(task.status.state, ""))
    changed = task.status.timestamp
    when = f"  {moment(changed)}  {age(changed, time.time()):>4}  "
    show.fields(f"{task.id:36}", "  ", state, when, said[0] if said else "")
