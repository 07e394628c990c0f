"""Writing an agent: `Agent` declares it, a handler gets a `Turn`, and outcomes end a turn.

agent    the declaration of an agent
skill    a skill, and its function
choice   the skill that a message is for
card     the agent card
handler  checks of handlers and agents
turn     one incoming message
answer   the answer of a user to a question
backend  what a turn needs of the engine
outcome  the end of a turn in another way than by a result
output   artifacts from what a handler returns or yields
talk     one question to a user at a time
callback    callbacks in the metadata of messages
callbacks   the tokens and the function of an agent for callbacks
threads  blocking work in threads
steps    the steps of a turn, whose results are stored
packed   values that a task keeps, as bytes
"""

from a2a_grpc.agent.agent import DEFAULT_MODES, Agent
from a2a_grpc.agent.answer import Answer
from a2a_grpc.agent.backend import TurnBackend
from a2a_grpc.agent.callback import CallbackTask
from a2a_grpc.agent.callbacks import Callback, Callbacks
from a2a_grpc.agent.card import build_card, check_card
from a2a_grpc.agent.handler import INSTEAD, check_agent, is_executor
from a2a_grpc.agent.outcome import AuthRequired, Completed, Failed, InputRequired, Outcome, Rejected
from a2a_grpc.agent.output import Output
from a2a_grpc.agent.packed import Kept
from a2a_grpc.agent.skill import Skill
from a2a_grpc.agent.steps import step_of
from a2a_grpc.agent.threads import Threads
from a2a_grpc.agent.turn import Turn

__all__ = [
    "DEFAULT_MODES",
    "INSTEAD",
    "Agent",
    "Answer",
    "AuthRequired",
    "Callback",
    "CallbackTask",
    "Callbacks",
    "Completed",
    "Failed",
    "InputRequired",
    "Kept",
    "Outcome",
    "Output",
    "Rejected",
    "Skill",
    "Threads",
    "Turn",
    "TurnBackend",
    "build_card",
    "check_agent",
    "check_card",
    "is_executor",
    "step_of",
]
