"""Accepts messages and makes them turns of tasks, or replies.

A run costs one background task. A task that waits for its user costs none, nor does one that has ended.
"""

import asyncio
import uuid
from types import TracebackType
from typing import Self

from a2a_grpc import lifecycle
from a2a_grpc.agent import Agent, Failed, Skill
from a2a_grpc.agent.agent import SKILL
from a2a_grpc.engine.incoming import Incoming, Opened, ended_before, is_over
from a2a_grpc.engine.reply import reply
from a2a_grpc.engine.run import Canceled, Queued
from a2a_grpc.engine.runs import Active, Runs
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.sweep import sweep_forever
from a2a_grpc.engine.writer import Writer, now_us, timestamp
from a2a_grpc.errors import (
    InvalidRequestError,
    ResourceExhaustedError,
    TaskNotCancelableError,
    UnsupportedOperationError,
    Violation,
)
from a2a_grpc.log import Log
from a2a_grpc.parts import Json
from a2a_grpc.store import AlreadyBound, Binding, Head, Record, Snapshot, StaleAppend, StoreFull, TaskKey
from a2a_grpc.wire import Message, Task, TaskStatus, task_element


class Engine:
    """Runs one agent over one log.

    Guarantees:

    - One run at a time per task; messages that arrive meanwhile become its next turns, in order, up to a bound.
    - A task's life is not a stream's life: what a caller does with its call does not touch the task.
    - `cancel` returns within its grace whatever the agent does.
    - Limits refuse before anything is changed; what was accepted is not lost.
    """

    def __init__(self, agent: Agent, log: Log, settings: EngineSettings | None = None) -> None:
        self.agent = agent
        self.log = log
        self.settings = settings or EngineSettings()
        self._runs = Runs(log, self.settings)
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sweeper = self._runs.spawn(sweep_forever(self.log.store, self.settings), "a2a-grpc:sweep")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(0.0)

    @property
    def is_draining(self) -> bool:
        return self._runs.is_draining

    @property
    def is_healthy(self) -> bool:
        """Whether the background work that must go on does."""
        return self._sweeper is not None and not self._sweeper.done()

    async def drain(self, grace_s: float) -> None:
        """Takes no new message, lets runs finish within the grace, fails the rest with the reason."""
        await self._runs.drain(grace_s)

    async def open(self, incoming: Incoming) -> Opened | Message:
        """Accepts a message: the turn it became, or the reply of an agent that answers with a message.

        Raises, before anything is changed: InvalidRequestError, TaskNotFoundError, UnsupportedOperationError for a task
        that has ended, ResourceExhaustedError over a limit, UnavailableError while draining.
        """
        if incoming.idempotency_key:
            bound = await self.log.store.bound(incoming.scope, incoming.idempotency_key)
            if bound is not None:
                return await self._opened_before(incoming, bound)
        try:
            if incoming.request.message.task_id:
                return await self._continue(incoming)
            skill = await self.agent.choose(incoming.request)
            if skill.answers == "message":
                return await self._reply(incoming, skill)
            return await self._begin(incoming, skill)
        except AlreadyBound as raced:
            return await self._opened_before(incoming, raced.binding)

    async def settled(self, opened: Opened) -> Snapshot:
        """Waits until the turn is over, as the task has ended or waits for somebody (SEND-2): the task as it was then.

        Raises UnsupportedOperationError if the task ended in an earlier turn, so that nobody looked at this message.
        """
        key, turn, found = opened.key, opened.turn, opened.snapshot
        if not is_over(found.state, found.turn, turn):
            async with self.log.follow(key, found.seq) as records:
                async for record in records:
                    if is_over(record.state, record.turn, turn):
                        break
            found = await self.log.snapshot_at(key, found, record.seq)
        if found.turn < turn:
            raise ended_before(key, found.state)
        return found

    async def cancel(self, key: TaskKey, metadata: dict[str, Json] | None = None) -> Snapshot:
        """Stops a task and gives it back, CANCELED; within the grace, whatever the agent does.

        A canceled task is given back as it is. Raises TaskNotFoundError, TaskNotCancelableError.
        """
        head = await self.log.head(key)
        if head.state not in lifecycle.TERMINAL:
            async with self._runs.locks.holding(key):  # a message that is being accepted has its run, or has not begun
                active = self._runs.get(key)
                if active is None:
                    await self._runs.finish(key, Canceled())
            if active is not None:
                await asyncio.shield(self._runs.stop(key, active, Canceled(), metadata))
            head = await self.log.head(key)
        if head.state != lifecycle.CANCELED:
            raise TaskNotCancelableError(
                f"task '{key.id}' is {lifecycle.state_name(head.state)}; it cannot be canceled any more",
                metadata={"task_id": key.id},
            )
        return await self.log.snapshot(key)

    # -- the ways a message can go

    async def _begin(self, incoming: Incoming, skill: Skill) -> Opened:
        """A message that asks for a new task."""
        self._runs.check_room()
        message = incoming.request.message
        message.context_id = message.context_id or str(uuid.uuid4())
        message.task_id = str(uuid.uuid4())
        key = TaskKey(*incoming.scope, message.task_id)
        at_us = now_us()
        task = Task(
            id=message.task_id,
            context_id=message.context_id,
            status=TaskStatus(state=lifecycle.SUBMITTED, timestamp=timestamp(at_us)),
            history=[message],
        )
        if len(self.agent.skills) > 1:
            task.metadata[SKILL] = skill.id
        serialized = task.SerializeToString()
        record = Record(1, task_element(serialized), lifecycle.SUBMITTED, 1, at_us)
        bind = incoming.binding(key.id, 1)
        try:
            epoch = await self.log.store.create(key, record, context_id=task.context_id, bind=bind)
        except StoreFull as full:
            raise ResourceExhaustedError(str(full), retry_after_s=10.0) from full
        opened = Opened(key, 1, Snapshot(1, serialized, record.state, 1))
        head = Head(1, record.state, 1, epoch, task.context_id, record.size)
        self._runs.start(Queued(1, skill, incoming.request, incoming.principal), key, head, task)
        return opened

    async def _continue(self, incoming: Incoming) -> Opened:
        """A message to a task that is there. Such messages are accepted one at a time."""
        message = incoming.request.message
        key = TaskKey(*incoming.scope, message.task_id)
        await self._admit(key, message)
        task = Task.FromString((await self.log.snapshot(key)).task)
        skill = await self.agent.choose(incoming.request, previous=_skill_of(task))
        if skill.answers == "message":
            raise InvalidRequestError.of(
                Violation(f"message.metadata.{SKILL}", f"'{skill.id}' answers with a message; it continues no task")
            )
        while True:
            try:
                async with self._runs.locks.holding(key):
                    head = await self._admit(key, message)  # once more: it may have ended meanwhile
                    message.context_id = head.context_id
                    active = self._runs.get(key)
                    if active is None:
                        return await self._resume(incoming, skill, key, head)
                    return await self._join(incoming, skill, key, active)
            except StaleAppend:
                continue  # somebody was faster; look again
            except Failed as over_limit:
                raise ResourceExhaustedError(str(over_limit.content)) from over_limit

    async def _admit(self, key: TaskKey, message: Message) -> Head:
        """The task's row, if it takes this message: it exists (SEND-6), in this context (IDS-8), not ended (SEND-7)."""
        head = await self.log.head(key)
        if message.context_id not in ("", head.context_id):
            raise InvalidRequestError.of(
                Violation("message.context_id", f"is not the context of task '{key.id}'; leave it empty")
            )
        if head.state in lifecycle.TERMINAL:
            raise UnsupportedOperationError(
                f"task '{key.id}' is {lifecycle.state_name(head.state)}; it accepts no further messages",
                metadata={"task_id": key.id},
            )
        return head

    async def _resume(self, incoming: Incoming, skill: Skill, key: TaskKey, head: Head) -> Opened:
        """A message to a task that waits for it: the message and the move to WORKING are one record."""
        self._runs.check_room()
        epoch = await self.log.store.claim(key)
        if epoch is None:
            raise StaleAppend
        turn = head.turn + 1
        writer = Writer(self.log, self.settings, key, head._replace(epoch=epoch), artifacts=set())
        bind = incoming.binding(key.id, turn)
        await writer.status(lifecycle.WORKING, incoming=incoming.request.message, turn=turn, bind=bind)
        snapshot = await self.log.snapshot(key)
        queued = Queued(turn, skill, incoming.request, incoming.principal)
        self._runs.start(queued, key, await self.log.head(key), Task.FromString(snapshot.task))
        return Opened(key, turn, snapshot)

    async def _join(self, incoming: Incoming, skill: Skill, key: TaskKey, active: Active) -> Opened:
        """A message to a task whose run is there: the answer to its question, or the next turn."""
        turn = active.last_turn + 1
        bind = incoming.binding(key.id, turn)
        snapshot = await self.log.snapshot(key)
        if not active.run.is_waiting:
            self._runs.check_inbox(key, active)
            if bind is not None:
                await self.log.store.bind(incoming.scope, *bind)
                bind = None
        if not active.run.is_waiting:  # meanwhile it may have begun to wait
            self._runs.enqueue(active, Queued(turn, skill, incoming.request, incoming.principal))
            return Opened(key, turn, snapshot)
        active.last_turn = turn
        await active.run.answer(incoming.request, turn=turn, bind=bind)
        return Opened(key, turn, await self.log.snapshot(key))

    async def _reply(self, incoming: Incoming, skill: Skill) -> Message:
        """A message that is answered with a message. Calls with one idempotency key go one after the other."""
        self._runs.check_room()
        if not incoming.idempotency_key:
            return await self._play_reply(incoming, skill)
        name = (incoming.scope, incoming.idempotency_key)
        async with self._runs.locks.holding(name):
            if bound := await self.log.store.bound(*name):
                raise AlreadyBound(bound)
            message = await self._play_reply(incoming, skill)
            await self.log.store.bind(*name, Binding(incoming.fingerprint, reply=message.SerializeToString()))
            return message

    async def _play_reply(self, incoming: Incoming, skill: Skill) -> Message:
        return await reply(
            skill,
            incoming.request,
            context_id=incoming.request.message.context_id or str(uuid.uuid4()),
            principal=incoming.principal,
            slots=self._runs.slots,
            threads=self._runs.threads,
        )

    async def _opened_before(self, incoming: Incoming, binding: Binding) -> Opened | Message:
        """What the first call with this idempotency key led to."""
        if binding.fingerprint != incoming.fingerprint:
            raise InvalidRequestError.of(
                Violation("idempotency-key", f"'{incoming.idempotency_key}' was used with a different request")
            )
        if binding.reply:
            return Message.FromString(binding.reply)
        key = TaskKey(*incoming.scope, binding.task_id)
        return Opened(key, binding.turn, await self.log.snapshot(key))


def _skill_of(task: Task) -> str:
    return task.metadata.fields[SKILL].string_value if SKILL in task.metadata.fields else ""
