"""Accept messages: for a new task, for a task that exists, or for an answer without a task."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed, Skill
from a2a_grpc.agent.choice import SKILL
from a2a_grpc.engine.events import check_limits, now_us, status_event
from a2a_grpc.engine.new_tasks import NewTasks
from a2a_grpc.engine.priority import check_priority
from a2a_grpc.engine.queued_turn import Origin, QueuedTurn
from a2a_grpc.engine.replay import kept_of
from a2a_grpc.engine.reply import reply
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.runs import Runs
from a2a_grpc.engine.send_call import AcceptedTurn, SendCall
from a2a_grpc.engine.takeover import TakeOver
from a2a_grpc.errors import (
    InvalidRequestError,
    ResourceExhaustedError,
    TaskNotFoundError,
    UnsupportedOperationError,
    Violation,
)
from a2a_grpc.offload import breathe
from a2a_grpc.store import CORE, AlreadyBound, Binding, Head, QueueFull, StaleAppend, TaskKey
from a2a_grpc.uncancelled import look_at_error
from a2a_grpc.wire import Message, Task

JOINED_WITHIN_S = 20.0
"""How long a message waits, before it is refused, for a replica that was out of touch with its store."""
TAKEN_WITHIN_S = 1.0
"""How long an accepted answer to a question at another replica is waited for, so that the caller sees it taken."""


class Intake:
    """Accepts messages.

    Guarantees:

    - A message is stored before it is accepted. It is accepted once for each idempotency key.
    - A message that is over a limit is refused before anything is changed.
    - If the caller goes away, the message is accepted as a whole or not at all.
    """

    def __init__(self, resources: Resources, runs: Runs, takeover: TakeOver) -> None:
        self._resources = resources
        self._runs = runs
        self._takeover = takeover
        self._accepting: set[asyncio.Future[Any]] = set()
        self._new_tasks = NewTasks(resources, runs, self._accepting)

    async def finish(self, grace_s: float) -> None:
        """Wait for the messages that are being accepted, at most for the grace."""
        if self._accepting:
            await asyncio.wait(self._accepting, timeout=grace_s)

    async def accept(self, send: SendCall) -> AcceptedTurn | Message:
        """See `Engine.accept`."""
        resources = self._resources
        check_priority(send.request, send.principal, resources.settings.high_priority_scope)
        if not resources.replica.is_joined and not resources.is_draining:
            await resources.replica.joined(JOINED_WITHIN_S)
        if send.idempotency_key and (before := await self._accepted_before(send)) is not None:
            return before
        try:
            if send.request.message.task_id:
                return await self._continue(send)
            skill = await resources.agent.choose(send.request, principal=send.principal)
            if skill.answers == "message":
                return await self._reply(send, skill)
            return await self._new_tasks.create(send, skill)
        except (AlreadyBound, UnsupportedOperationError):
            # A call with the same key may have been accepted since it was looked for, and the task have ended with it.
            if not send.idempotency_key or (before := await self._accepted_before(send)) is None:
                raise
            return before

    async def _continue(self, send: SendCall) -> AcceptedTurn:
        """Accept a message for a task that exists. A task accepts one message at a time."""
        message = send.request.message
        key = TaskKey(*send.scope, message.task_id)
        await self._admit(key, message)
        task = Task.FromString((await self._resources.log.snapshot(key, CORE)).task)
        skill = await self._resources.agent.choose(send.request, previous=_skill_of(task), principal=send.principal)
        if skill.answers == "message":
            raise InvalidRequestError.of(
                Violation(f"message.metadata.{SKILL}", f"'{skill.id}' answers with a message; it continues no task")
            )
        enqueuing = asyncio.create_task(self._enqueue(send, skill, key))  # it goes on if the caller is canceled
        self._accepting.add(enqueuing)
        enqueuing.add_done_callback(self._accepting.discard)
        enqueuing.add_done_callback(look_at_error)
        return await asyncio.shield(enqueuing)

    async def _enqueue(self, send: SendCall, skill: Skill, key: TaskKey) -> AcceptedTurn:
        """Store a message with those that wait for the task. Then start its turn, or wake the holder of the task."""
        message, resources, me = send.request.message, self._resources, self._resources.replica.id
        async with AsyncExitStack() as held:
            await held.enter_async_context(resources.locks.holding(key))
            head = await self._admit(key, message)  # once more, as the task may have ended meanwhile
            message.context_id = head.context_id
            self._check_size(key, head, message)
            await breathe(send.size)
            if head.replica:
                resources.check_open()
            else:
                resources.check_room(key.scope)
                held.enter_context(resources.slots.reserving(key.scope))
            accepted = AcceptedTurn(key, 0, await self._resources.log.snapshot(key))
            trace = resources.observer.accepts()
            first = QueuedTurn(
                *(0, skill, send.request, send.principal, resources.keeps_messages),
                trace=trace,
                origin=Origin.drawn(now_us()),
            )
            try:
                stored = await self._resources.log.store.enqueue(
                    key,
                    first.pending(),
                    replica=me,
                    limit=resources.settings.max_queued_turns,
                    bind=send.binding(key.id),
                )
            except StaleAppend:  # the task has ended meanwhile
                await self._admit(key, message)
                raise
            except QueueFull as full:
                raise ResourceExhaustedError(
                    f"task '{key.id}' has {full.waiting} messages waiting, which is the limit", retry_after_s=1.0
                ) from full
            if stored is None:
                raise TaskNotFoundError.of(key.id)
            accepted = accepted._replace(turn=stored.last_turn)
            is_here = stored.replica == me == resources.replica.id and not stored.is_lost
            with suppress(StaleAppend):  # another replica has the task, with the message, or has ended it
                if is_here and await self._give(key, stored, first._replace(turn=accepted.turn)):
                    return await self._as_taken(accepted)
        if stored.is_lost or is_here:
            await self._takeover.recover(key)
        else:
            self._resources.log.bus.wake(stored.replica)
        if stored.state in lifecycle.INTERRUPTED:
            await self._see_taken(accepted)
            return await self._as_taken(accepted)
        return accepted

    async def _give(self, key: TaskKey, head: Head, first: QueuedTurn) -> bool:
        """Give a message that is stored to the run of the task here, or start a run. Return False if there is no run,
        and the message is not the next turn of the task.

        A run that is started begins with one record, which has the message and the move to WORKING.

        A task that waits in `ask` gets its run again, with the message as the answer; any other a new turn.
        """
        active = self._runs.get(key)
        if active is not None and active.run.writer.epoch == head.epoch:  # any other has just ended
            await self._runs.hand_over(active)
            return True
        if head.state not in lifecycle.INTERRUPTED or first.turn != head.turn + 1:
            return False
        stored = await self._resources.log.store.pending(key)
        if kept_of(stored, head.turn) is not None:
            await self._takeover.answer(key, head, stored)
            return True
        writer = self._resources.writer(key, head)
        self._runs.start(first, writer, await first.begin(writer))
        return True

    async def _see_taken(self, accepted: AcceptedTurn) -> None:
        """Wait a moment for another replica to take an answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKEN_WITHIN_S):
                with self._resources.log.follow(accepted.key, accepted.snapshot.seq) as records:
                    async for record in records:
                        if record.turn >= accepted.turn:
                            return

    async def _as_taken(self, accepted: AcceptedTurn) -> AcceptedTurn:
        """Return an accepted turn with the task as it is now."""
        return accepted._replace(snapshot=await self._resources.log.snapshot(accepted.key))

    def _check_size(self, key: TaskKey, head: Head, message: Message) -> None:
        """Raise ResourceExhaustedError if the message is too much for its task."""
        event = status_event(key, head.context_id, lifecycle.WORKING, now_us())
        try:
            check_limits(self._resources.settings, head.seq, head.size, event.ByteSize(), message.ByteSize())
        except Failed as over_limit:
            raise ResourceExhaustedError(str(over_limit.content)) from over_limit

    async def _admit(self, key: TaskKey, message: Message) -> Head:
        """Return the row of the task. Raise the error if the task does not take the message.

        The task has to exist (SEND-6), in the context of the message (IDS-8), and must not have ended (SEND-7).
        """
        head = await self._resources.log.head(key)
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

    async def _reply(self, send: SendCall, skill: Skill) -> Message:
        """Answer a message with a message. Calls with the same idempotency key run one after the other."""
        self._resources.check_room(send.scope)
        if not send.idempotency_key:
            return await reply(skill, send, self._resources)
        name = (send.scope, send.idempotency_key)
        async with self._resources.locks.holding(name):
            if bound := await self._resources.log.store.bound(*name):
                raise AlreadyBound(bound)
            self._resources.check_room(send.scope)  # again, as other runs may have begun meanwhile
            message = await reply(skill, send, self._resources)
            await self._resources.log.store.bind(*name, Binding(send.fingerprint, reply=message.SerializeToString()))
            return message

    async def _accepted_before(self, send: SendCall) -> AcceptedTurn | Message | None:
        """Return the outcome of the first call with the same idempotency key; None if the key is new.

        Raise InvalidRequestError if the request differs.
        """
        if not send.fingerprint:
            await send.sign()
        binding = await self._resources.log.store.bound(send.scope, send.idempotency_key)
        if binding is None:
            return None
        if binding.fingerprint != send.fingerprint:
            raise InvalidRequestError.of(
                Violation("idempotency-key", f"'{send.idempotency_key}' was used with a different request")
            )
        if binding.reply:
            return Message.FromString(binding.reply)
        key = TaskKey(*send.scope, binding.task_id)
        return AcceptedTurn(key, binding.turn, await self._resources.log.snapshot(key))


def _skill_of(task: Task) -> str:
    return task.metadata.fields[SKILL].string_value if SKILL in task.metadata.fields else ""
