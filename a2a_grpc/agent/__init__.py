"""Writing an agent: `Agent` declares it, a handler gets a `Turn`, and outcomes end a turn."""

from a2a_grpc.agent.agent import Agent, Skill
from a2a_grpc.agent.card import build_card
from a2a_grpc.agent.handler import INSTEAD, check_agent, is_executor
from a2a_grpc.agent.outcome import AuthRequired, Completed, Failed, InputRequired, Outcome, Rejected
from a2a_grpc.agent.output import Output
from a2a_grpc.agent.threads import Threads
from a2a_grpc.agent.turn import Answer, Stage, Turn

__all__ = [
    "INSTEAD",
    "Agent",
    "Answer",
    "AuthRequired",
    "Completed",
    "Failed",
    "InputRequired",
    "Outcome",
    "Output",
    "Rejected",
    "Skill",
    "Stage",
    "Threads",
    "Turn",
    "build_card",
    "check_agent",
    "is_executor",
]
