"""Tests of agents and of programs that call agents: real servers on free ports, without waiting and without mocks.

running   a server for an agent, with a connected client
scripted  agents whose answers are given as a list
script    the steps of such a list
clock     time limits that pass without waiting
events    assertions about tasks and their events

Nothing here needs a test framework. The functions work under pytest, with or without a plugin for asyncio, and under
unittest.
"""

from a2a_grpc.testing.clock import Clock
from a2a_grpc.testing.events import assert_events, assert_state, collect, described
from a2a_grpc.testing.running import running
from a2a_grpc.testing.script import Ask, Pause, Pieces, Status
from a2a_grpc.testing.scripted import ScriptedAgent

__all__ = [
    "Ask",
    "Clock",
    "Pause",
    "Pieces",
    "ScriptedAgent",
    "Status",
    "assert_events",
    "assert_state",
    "collect",
    "described",
    "running",
]
