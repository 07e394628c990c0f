"""Create tasks for messages, and start their first runs."""

import asyncio
from contextlib import ExitStack
from functools import partial
from typing import Any

from a2a_grpc import lifecycle
from a2a_grpc.agent import Skill
from a2a_grpc.agent.choice import SKILL
from a2a_grpc.engine.events import now_us, set_status, written
from a2a_grpc.engine.queued_turn import Origin, QueuedTurn
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.runs import Runs
from a2a_grpc.engine.send_call import AcceptedTurn, SendCall
from a2a_grpc.engine.states import State
from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.ids import new_id
from a2a_grpc.log import Follower
from a2a_grpc.offload import breathe
from a2a_grpc.protocol import CREATED
from a2a_grpc.store import Create, Head, Record, Snapshot, StoreFull, TaskKey, Written, over, when_over
from a2a_grpc.wire import Task, task_element


class NewTasks:
    """Creates tasks.

    Guarantees:

    - A task that is over a limit is not created.
    - The run of a task starts as soon as the task is stored, even if the caller has gone.
    """

    def __init__(self, resources: Resources, runs: Runs, accepting: set[asyncio.Future[Any]]) -> None:
        """Take the set `accepting`. It holds the creation of each task that is being written to the store."""
        self._resources = resources
        self._runs = runs
        self._accepting = accepting

    async def create(self, send: SendCall, skill: Skill) -> AcceptedTurn:
        """Create a task for a message, and start its run. The errors are those of `Engine.accept`."""
        resources, scope = self._resources, send.scope
        resources.check_room(scope)  # before a large message is copied and serialised
        message, size = send.request.message, send.size
        task_id, context_id = new_id(), message.context_id or new_id()
        message.task_id, message.context_id = task_id, context_id
        key = TaskKey(*scope, task_id)
        at_us = now_us()
        task = Task()
        task.id, task.context_id = task_id, context_id
        set_status(task.status, lifecycle.SUBMITTED, at_us)
        task.history.append(message)
        await breathe(size)
        noted = task.metadata.fields
        noted[CREATED].string_value = written(at_us)
        if len(resources.agent.skills) > 1:
            noted[SKILL].string_value = skill.id
        serialized = task.SerializeToString()
        await breathe(size)
        record = Record(1, task_element(serialized), lifecycle.SUBMITTED, 1, at_us)
        if record.size > resources.settings.max_task_bytes:
            raise ResourceExhaustedError(
                f"a task of {record.size} bytes is over the limit of {resources.settings.max_task_bytes} bytes "
                "(--max-task-bytes); send large content as parts with a url"
            )
        resources.check_room(scope)  # once more after the last await, so that it holds when the run starts
        resources.waiting.check()
        observed = resources.observer.begins(task_id, context_id, skill.id)
        first = QueuedTurn(
            *(1, skill, send.request, send.principal, resources.keeps_messages),
            observed=observed,
            origin=Origin.drawn(at_us),
        )
        pending = first.pending() if first.is_kept else None
        pushes = send.pushes(key) if send.pushes is not None else ()
        create = Create(key, record, context_id, resources.replica.id, send.binding(key.id), pending, pushes)
        records: Follower | None = None
        if send.waits or send.streams:
            records = resources.log.follow(key, 1, record.state, is_new=True, folds=send.waits)
        try:
            if records is not None:
                records.__enter__()  # before the first event of the run
            created = resources.log.write(create)
            when_over(created, partial(self._start, create, first, serialized))
            if not created.done():
                await self._created(key, created)
            created.result()
        except BaseException as error:
            if records is not None:
                records.__exit__(None, None, None)
            if isinstance(error, StoreFull):
                raise ResourceExhaustedError(str(error), retry_after_s=10.0) from error
            raise
        return AcceptedTurn(key, 1, Snapshot(1, serialized, record.state, 1), records, task if send.waits else None)

    async def _created(self, key: TaskKey, created: Written) -> None:
        """Wait until a task is created or refused, and its run is there."""
        held = ExitStack()
        lock = self._resources.locks.holding(key)
        await lock.acquire()  # the lock is free, as the task is new, so this does not wait
        held.callback(lock.release)
        held.enter_context(self._resources.slots.reserving(key.scope))
        self._accepting.add(created)
        created.add_done_callback(self._accepting.discard)
        created.add_done_callback(lambda _: held.close())
        await over(created)

    def _start(self, create: Create, first: QueuedTurn, serialized: bytes, created: Written) -> None:
        """Start the run of a task, if the task was created."""
        if created.exception() is not None:
            if first.observed is not None:
                first.observed.moved(State.OVER, create.record.state)
            return
        key, record, context_id, replica, *_ = create
        head = Head(1, record.state, 1, created.result(), context_id, record.size, 1, replica=replica)
        self._runs.start(first, self._resources.writer(key, head), serialized)
