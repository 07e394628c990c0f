"""Thousands of schedules of replicas under faults: every history keeps the rules.

make test ARGS="tests/simulation -m long"                          1,000 of them
SIMULATION_SEEDS=20000 make test ARGS="tests/simulation -m long"   more of them
SIMULATION_SEED=123 make test ARGS=tests/simulation                one of them again
"""

import os
import subprocess
import sys
from dataclasses import fields
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from google.protobuf.message import Message as ProtobufMessage

from tests.covers import covers
from tests.harness import ROOT
from tests.simulation.checker import violations
from tests.simulation.history import Attempt, Follow, History, Taken
from tests.simulation.player import ANSWERED, GIVEN
from tests.simulation.world import simulate

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "1000"))
ONE = os.environ.get("SIMULATION_SEED")
QUICK, PART = 60, 200
PARTS = [
    range(QUICK),
    *(
        pytest.param(range(first, min(first + PART, SEEDS)), marks=pytest.mark.long)
        for first in range(QUICK, SEEDS, PART)
    ),
]


@cache
def simulated(seed: int) -> History:
    """Two tests read the histories of the first seeds."""
    return simulate(seed)


@covers("G1", "G2", "G4", "G5", "G6", "G10", "PUSH-4", "PUSH-11")
@pytest.mark.parametrize("seeds", [range(int(ONE), int(ONE) + 1)] if ONE else PARTS, ids=str)
def test_every_history_keeps_the_rules(seeds: range) -> None:
    for seed in seeds:
        found = violations(simulated(seed) if seed < QUICK else simulate(seed))
        if found:
            again = f"SIMULATION_SEED={seed} make test ARGS=tests/simulation"
            pytest.fail("\n".join([f"seed {seed} violates the rules; again with: {again}", *found]), pytrace=False)


@pytest.mark.skipif(ONE is not None, reason="one seed is asked for")
def test_the_simulations_see_what_they_are_about() -> None:
    """Faults happen, and what they hit: otherwise the rules would hold for want of anything to hold for."""
    histories = [simulated(seed) for seed in range(QUICK)]
    assert sum(len(history.troubles) for history in histories) > 5
    assert sum(len(history.cancels) for history in histories) > 20
    assert sum(len(history.refusals) for history in histories) > 5
    assert sum(history.settles for history in histories) > 50
    assert sum(len(history.follows) for history in histories) > 100
    assert sum(follow.is_complete for history in histories for follow in history.follows) > 100
    assert any(step.attempt > 1 for history in histories for step in history.steps)
    assert any(step.note.startswith(ANSWERED) for history in histories for step in history.steps)
    given = [step for history in histories for step in history.steps if step.note.startswith(GIVEN)]
    assert any(step.note != f"{GIVEN}{step.run}" for step in given), "a run gets a result of an earlier one"
    arrivals = [attempt for history in histories for attempt in history.arrivals]
    assert sum(attempt.is_accepted for attempt in arrivals) > 200
    assert sum(not attempt.is_accepted for attempt in arrivals) > 10
    holders = [
        {(event.task, event.config, event.replica) for event in history.deliveries if isinstance(event, Taken)}
        for history in histories
    ]
    assert any(len(found) > len({name[:2] for name in found}) for found in holders), "a config changes its holder"
    assert any(send.turn > 2 for history in histories for send in history.sends)


@pytest.mark.long
@pytest.mark.skipif(ONE is not None, reason="one seed is asked for")
def test_a_seed_gives_the_same_history_in_every_process() -> None:
    script = (
        "from tests.simulation.test_simulation import digest\n"
        "from tests.simulation.world import simulate\n"
        "print(*(digest(simulate(seed)) for seed in range(12)))"
    )
    given = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True,
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]  # fmt: skip
    assert given[0] == given[1]
    assert given[0] == [digest(simulate(seed)) for seed in range(12)]


def digest(history: History) -> str:
    """The same for equal histories."""
    return sha256(repr(plain(history)).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A history whose serialised messages are told by what bytes they have: the order of a map's entries is
    protobuf's."""
    match value:
        case bytes():
            return bytes(sorted(value))
        case ProtobufMessage():
            return bytes(sorted(value.SerializeToString()))
        case History() | Follow() | Attempt():
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
    return value
