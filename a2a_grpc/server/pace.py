"""Long work on the event loop, a step at a time."""

import asyncio
from collections.abc import Iterator


class Pace:
    """Runs work that comes in steps.

    Guarantees:

    - Between two steps the event loop goes round, so that other calls are served.
    - Only one step is done in a round, of all work together. Works take turns: a short one does not wait for a long
      one to end.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, steps: Iterator[None]) -> None:
        """Do all steps. Raises what they raise."""
        while True:
            async with self._turn:
                try:
                    next(steps)
                except StopIteration:
                    return
                await asyncio.sleep(0)
