"""A message that is a turn of a task, with what its run needs."""

from typing import NamedTuple

from a2a_grpc.agent import Agent, Failed, Skill, Turn
from a2a_grpc.engine.replay import Replay
from a2a_grpc.principal import Principal
from a2a_grpc.store import Pending, TaskKey
from a2a_grpc.wire import SendMessageRequest


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

    @classmethod
    def of(cls, pending: Pending, key: TaskKey, agent: Agent, *, is_kept: bool, attempt: int = 1) -> "QueuedTurn":
        """Return the turn of a stored message. If the agent has no such skill any more, its run ends in FAILED."""
        return cls(
            pending.turn,
            agent.skills.get(pending.skill) or _gone(pending.skill),
            SendMessageRequest.FromString(pending.request),
            Principal.from_json(pending.caller, tenant=key.tenant),
            is_kept,
            attempt,
        )

    def pending(self) -> Pending:
        """Return what of the turn is stored."""
        return Pending(self.turn, self.skill.id, self.request.SerializeToString(), self.principal.to_json())


def _gone(skill_id: str) -> Skill:
    async def refuse(turn: Turn) -> None:
        raise Failed(f"this agent does not have the skill '{skill_id}' any more")

    return Skill(skill_id, skill_id, "", (), (), (), (), "task", None, refuse, is_generator=False)
