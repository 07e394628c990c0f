"""Checks of handlers and agents at the place where a program declares them."""

import inspect
from typing import Any

INSTEAD = (
    "is an AgentExecutor of the official SDK, and no handler; run it with Agent.of_executor(executor, card=card), or "
    "declare a coroutine function: @agent.skill() async def answer(turn: Turn), which reads turn.text and returns its "
    "result"
)


def handler_of(target: Any) -> Any:
    """Return the function of a skill: the target itself, or its `execute`. Raise TypeError if the function cannot be
    called with a turn alone, or is not asynchronous."""
    if is_executor(target):
        raise TypeError(f"{_name(target)} {INSTEAD}")
    if inspect.isclass(target):
        target = target()
    handler = target if inspect.isroutine(target) else getattr(target, "execute", target)
    label = getattr(handler, "__qualname__", repr(handler))
    if not (inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)):
        raise TypeError(f"{label} must be `async def`: a coroutine function or an async generator function")
    signature = inspect.signature(handler)
    try:
        signature.bind(None)
    except TypeError:
        wrong = INSTEAD if "event_queue" in signature.parameters else "must take one argument, the turn"
        raise TypeError(f"{label}{signature} {wrong}") from None
    return handler


def check_called(function: Any) -> None:
    """Raise TypeError for a function for callbacks that is not asynchronous, or takes other arguments."""
    name = getattr(function, "__qualname__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} must be `async def`: a coroutine function that takes the callback")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise TypeError(f"{name}{inspect.signature(function)} must take one argument, the callback") from None


def check_agent(agent: object, kind: type) -> None:
    """Raise TypeError for an agent that is not of this kind, `Agent`."""
    if is_executor(agent):
        raise TypeError(f"{_name(agent)} {INSTEAD}")
    if not isinstance(agent, kind):
        raise TypeError(f"{agent!r} is not an Agent; make one with Agent(name, description)")


def is_executor(target: object) -> bool:
    """Return True for an AgentExecutor of the official SDK: a class, an instance, or a method of one."""
    target = getattr(target, "__self__", target)
    kind = target if inspect.isclass(target) else type(target)
    return any(base.__name__ == "AgentExecutor" and base.__module__.split(".")[0] == "a2a" for base in kind.__mro__)


def _name(target: object) -> str:
    return str(getattr(target, "__qualname__", type(target).__qualname__))
