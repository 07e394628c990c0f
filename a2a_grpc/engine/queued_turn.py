"""A message that is a turn of a task, with what its run needs."""

import json
import secrets
from typing import NamedTuple

from a2a_grpc.agent import Agent, Failed, Skill, Threads, Turn, TurnBackend
from a2a_grpc.engine.observer import RunObserver
from a2a_grpc.engine.replay import Replay
from a2a_grpc.engine.writer import Writer
from a2a_grpc.lifecycle import WORKING
from a2a_grpc.principal import Principal
from a2a_grpc.store import Pending, TaskKey
from a2a_grpc.wire import SendMessageRequest, Task

TRACE = "trace"
"""The first key of a stored caller with more. The description of a caller alone has no such key."""


class Origin(NamedTuple):
    """The random seed of a turn and the time at which its message was accepted. Both are stored with the message.

    `turn.random()`, `turn.uuid()` and `turn.now()` are made of them, so they are the same in each run of the turn. No
    caller can guess the seed.
    """

    seed: str
    at_us: int

    @classmethod
    def drawn(cls, at_us: int) -> "Origin":
        """Return the origin of a message that was accepted at a time, in microseconds since 1970 (UTC)."""
        return cls(secrets.token_hex(16), at_us)


class QueuedTurn(NamedTuple):
    """A message that is a turn of a task, with what its run needs."""

    turn: int
    skill: Skill
    request: SendMessageRequest
    principal: Principal
    is_kept: bool = False
    """True if the store keeps it until the run is over, so that another replica can begin the run again."""
    attempt: int = 1
    replay: Replay | None = None
    """What an earlier run for this message has asked."""
    trace: str = ""
    """What the observer has kept with the message."""
    former: str = ""
    """What it has kept with the message of the run that this one repeats."""
    observed: RunObserver | None = None
    """The observer of the run, if it began before the run."""
    origin: Origin | None = None
    """What was drawn when the message was accepted; None for one that an earlier version has stored."""
    is_repeat: bool = False
    """True if a run for this message may have begun before."""

    @classmethod
    def of(cls, pending: Pending, key: TaskKey, agent: Agent, *, is_kept: bool) -> "QueuedTurn":
        """Return the turn of a stored message. If the agent has no such skill any more, its run ends in FAILED."""
        caller, trace, origin = read_caller(pending.caller)
        return cls(
            pending.turn,
            agent.skills.get(pending.skill) or _gone(pending.skill),
            SendMessageRequest.FromString(pending.request),
            Principal.from_json(caller, tenant=key.tenant),
            is_kept,
            trace=trace,
            origin=origin,
        )

    async def begin(self, writer: Writer) -> bytes:
        """Write the message with the move to WORKING. Return the task as the turn finds it."""
        done = self.turn - 1 if self.is_kept else self.turn
        await writer.status(WORKING, incoming=self.request.message, turn=self.turn, done=done)
        return await writer.task()

    def as_turn(self, task: bytes | Task, context_id: str, backend: TurnBackend, threads: Threads) -> Turn:
        """Return the turn as its handler gets it."""
        return Turn(
            skill=self.skill.id,
            request=self.request,
            task=task,
            context_id=context_id,
            principal=self.principal,
            backend=backend,
            threads=threads,
            attempt=self.attempt,
        )

    def pending(self) -> Pending:
        """Return what of the turn is stored."""
        trace = self.observed.trace if self.observed is not None else self.trace
        caller = self.principal.to_json()
        if trace or self.origin is not None:
            caller = json.dumps({TRACE: trace, "caller": caller, **({"origin": self.origin} if self.origin else {})})
        return Pending(self.turn, self.skill.id, self.request.SerializeToString(), caller)


def read_caller(stored: str) -> tuple[str, str, Origin | None]:
    """Return the caller, the trace and the origin that are stored with a message."""
    if not stored.startswith(f'{{"{TRACE}":'):
        return stored, "", None
    said = json.loads(stored)
    return said["caller"], said[TRACE], Origin(*said["origin"]) if "origin" in said else None


def _gone(skill_id: str) -> Skill:
    async def refuse(turn: Turn) -> None:
        raise Failed(f"this agent does not have the skill '{skill_id}' any more")

    return Skill(skill_id, skill_id, "", (), (), (), (), "task", None, refuse, is_generator=False)
