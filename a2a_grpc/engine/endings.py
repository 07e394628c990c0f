"""End tasks that have no run here: by a cancel, an expiry, or after their replica was lost."""

import asyncio
from contextlib import suppress

from a2a_grpc import lifecycle
from a2a_grpc.agent import Outcome
from a2a_grpc.backoff import Backoff
from a2a_grpc.engine.farewell import Farewell, farewell_of
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.turn_end import write_outcome
from a2a_grpc.store import Head, StaleAppend, StoreUnavailable, TaskKey
from a2a_grpc.unclosed import Unclosed

FAREWELL_S = 10.0
"""Beyond the grace: how long a handler may take to get to where it waited, and to cancel another agent's task."""


class Canceled(Outcome):
    """The outcome of a turn that was stopped."""

    state = lifecycle.CANCELED


class Endings:
    """Writes the ends of tasks.

    Guarantees:

    - A task is claimed before it is ended, so that one of several replicas ends it.
    - If the handler of the task waits for the answer to another agent's question, it is run once more, so that it
      cancels the other agent's task.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def finish(self, key: TaskKey, outcome: Outcome, *, force: bool = False) -> None:
        """End a task that has no run. With `force`, also take it from the replica that holds it.

        A task that has ended stays as it is, and one of another replica without `force`.
        """
        while True:
            head = await self._resources.claim(key, force=force)
            if head is None:
                return
            with suppress(StaleAppend):  # another writer was faster, so read the row again
                await self.end(key, head, outcome)
                return

    async def finish_when_possible(self, key: TaskKey, outcome: Outcome) -> None:
        """End a task as soon as the store answers. A cancel also takes it from the replica that holds it."""
        backoff = Backoff(0.2, 5.0)
        while True:
            with suppress(StoreUnavailable):
                await self.finish(key, outcome, force=isinstance(outcome, Canceled))
                return
            if self._resources.is_draining:
                return  # this replica's lease ends, and others end the task
            await asyncio.sleep(backoff.next_s())

    async def end(self, key: TaskKey, head: Head, outcome: Outcome) -> None:
        """Write the end of a task that has no run, under the claim of its row. Raise StaleAppend, StoreUnavailable."""
        farewell = await farewell_of(self._resources, key, head)
        await write_outcome(self._resources.writer(key, head), outcome)
        if farewell is not None:
            self._resources.background.spawn(self._say(farewell), f"a2a-grpc:farewell:{key.id}")

    async def _say(self, farewell: Farewell) -> None:
        """Give the handler of a task that has ended the time that a canceled one has, and that a call takes."""
        work = asyncio.create_task(Unclosed(farewell.say()), name=f"a2a-grpc:leave:{farewell.key.id}")
        try:
            await asyncio.wait([work], timeout=self._resources.settings.cancel_grace_s + FAREWELL_S)
        finally:
            work.cancel()
