"""Do long work on the event loop in steps."""

import asyncio
from collections.abc import Iterator


class Pace:
    """Runs work that comes in steps.

    Guarantees:

    - Other calls are served between two steps.
    - In one round of the event loop only one step of all work is done. Works take turns, so that a short one does not
      wait for a long one to end.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, steps: Iterator[None]) -> None:
        """Do all steps. Raise the exception of a step."""
        while True:
            async with self._turn:
                try:
                    next(steps)
                except StopIteration:
                    return
                await asyncio.sleep(0)
