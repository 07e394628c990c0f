"""`a2a-grpc ping`: how long a round trip takes, and how many got lost."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.cli.terminal import Done, run, run_all, running
from tests.cli.test_doctor import stock_server
from tests.client.peers import peering
from tests.harness import Served
from tests.ports import free_address
from tests.proxy import Proxy

UNREACHABLE, TIMEOUT, INTERRUPTED = 3, 5, 130

FIGURES = ["min_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms"]
SUMMARY = re.compile(
    r"(\d+) calls?, (\d+) lost; ms: min ([\d.]+), p50 ([\d.]+), p90 ([\d.]+), p99 ([\d.]+), max ([\d.]+)"
)


def summary(line: str) -> tuple[int, int]:
    """How many calls there were and how many of them got lost; its figures are in order."""
    found = SUMMARY.fullmatch(line)
    assert found is not None, line
    calls, lost, *figures = found.groups()
    in_order([float(figure) for figure in figures])
    return int(calls), int(lost)


def in_order(figures: list[float]) -> None:
    assert figures[0] > 0
    assert figures == sorted(figures)


def of_json(done: Done) -> dict[str, float]:
    """The one object that is printed as JSON, its figures in order."""
    [line] = done.out.splitlines()
    found: dict[str, float] = json.loads(line)
    assert list(found) == ["calls", "lost", *FIGURES]
    in_order([found[name] for name in FIGURES])
    return found


async def test_each_round_trip_is_a_line_and_the_last_one_sums_them_up_in_order(served: Served) -> None:
    address = served.server.grpc_address
    few, one, as_json = await run_all(
        ("ping", address, "-c", "3", "-i", "0.05"),
        ("ping", "--agent", address, "--count=1"),
        ("ping", address, "--count=100", "--interval=0", "-o", "json"),
    )
    assert [done.code for done in (few, one, as_json)] == [0, 0, 0]
    assert [done.err for done in (few, one, as_json)] == ["", "", ""]
    first, *lines, last = few.out.splitlines()
    assert re.fullmatch(rf"{re.escape(address)}: connected in [\d.]+ ms", first)
    assert [re.sub(r"\d+\.\d\d", "N", line) for line in lines] == ["1: N ms", "2: N ms", "3: N ms"]
    assert summary(last) == (3, 0)
    assert summary(one.out.splitlines()[-1]) == (1, 0)
    assert (of_json(as_json)["calls"], of_json(as_json)["lost"]) == (100, 0)


async def test_the_slowest_and_the_fastest_line_are_the_ends_of_the_distribution(served: Served) -> None:
    done = await run("ping", served.server.grpc_address, "-c", "5", "-i", "0")
    _, *lines, last = done.out.splitlines()
    times = sorted(float(line.split()[1]) for line in lines)
    found = SUMMARY.fullmatch(last)
    assert found is not None
    assert float(found[3]) == pytest.approx(times[0], abs=0.011)
    assert float(found[4]) == pytest.approx(times[2], abs=0.011)
    assert float(found[7]) == pytest.approx(times[4], abs=0.011)


async def test_a_ping_needs_no_health_service_as_any_answer_has_made_the_round_trip() -> None:
    async with peering() as peer:
        done = await run("ping", peer.address, "-c", "2", "-i", "0")
    assert (done.code, done.err) == (0, "")
    assert summary(done.out.splitlines()[-1]) == (2, 0)


# -- lost


def serving_health(servicer: Any) -> AbstractAsyncContextManager[str]:
    """A server with this health service: its address."""
    return stock_server(lambda server: health_pb2_grpc.add_HealthServicer_to_server(servicer, server))


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers so many checks; then `gone` is set, and nothing is answered any more."""

    def __init__(self, answers: int) -> None:
        self._left = answers
        self.gone = asyncio.Event()

    async def Check(self, request: Any, context: Any) -> Any:
        if not self._left:
            self.gone.set()
            await asyncio.Event().wait()
        self._left -= 1
        return health_pb2.HealthCheckResponse(status="SERVING")


@asynccontextmanager
async def leaving_after(answers: int) -> AsyncIterator[str]:
    """The address of a server whose machine goes away at the call after so many answers."""
    health = Health(answers)

    async def leave(way: Proxy) -> None:
        await health.gone.wait()
        way.close()

    async with serving_health(health) as address, Proxy(address) as way:
        leaving = asyncio.create_task(leave(way))
        try:
            yield way.address
        finally:
            leaving.cancel()


async def test_calls_that_get_lost_are_told_counted_and_an_exit_code() -> None:
    """The first answer is the one that the connection is made with."""
    async with leaving_after(3) as address, leaving_after(3) as other:
        done, as_json = await run_all(
            ("ping", address, "-c", "4", "-i", "0"), ("ping", other, "-c", "4", "-i", "0", "-o", "json")
        )
    assert done.code == as_json.code == UNREACHABLE
    _, *lines, last = done.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["1", "2"]
    assert summary(last) == (4, 2)
    said = "nothing listens at {}; check the port, and that the agent is running"
    assert done.err.splitlines() == [f"3: {said.format(address)}", f"4: {said.format(address)}"]
    assert as_json.err.splitlines() == [f"3: {said.format(other)}", f"4: {said.format(other)}"]
    assert (of_json(as_json)["calls"], of_json(as_json)["lost"]) == (4, 2)


async def test_where_every_call_gets_lost_that_is_summed_up_too() -> None:
    async with leaving_after(1) as address, leaving_after(1) as other:
        done, as_json = await run_all(
            ("ping", address, "-c", "2", "-i", "0"), ("ping", other, "-c", "2", "-i", "0", "-o", "json")
        )
    assert done.code == as_json.code == UNREACHABLE
    assert len(done.err.splitlines()) == len(as_json.err.splitlines()) == 2
    assert done.out.splitlines()[-1].startswith("2 calls, 2 lost")
    found = json.loads(as_json.out)
    assert (found["calls"], found["lost"]) == (2, 2)


async def test_where_nobody_is_there_is_nothing_to_sum_up() -> None:
    address = free_address()
    said = f"Error: nothing listens at {address}; check the port, and that the agent is running\n"
    assert await run("ping", address) == Done(UNREACHABLE, "", said)


class Hanging(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    async def Check(self, request: Any, context: Any) -> Any:
        await asyncio.Event().wait()


async def test_a_server_that_does_not_answer_is_named_with_the_time_it_had() -> None:
    async with serving_health(Hanging()) as address:
        done = await run("ping", address, env={"A2A_GRPC_TIMEOUT_S": "1"})
    assert (done.code, done.out) == (TIMEOUT, "")
    [line] = done.err.splitlines()
    assert address in line
    assert "within 1 s" in line


async def test_ctrl_c_sums_up_what_there_was(served: Served) -> None:
    async with running("ping", served.server.grpc_address, "-c", "100000", "-i", "0.01") as pinging:
        await pinging.out.until("\n3: ")
        pinging.interrupt()
        done = await pinging.finished()
    assert (done.code, done.err) == (INTERRUPTED, "")
    calls, lost = summary(done.out.splitlines()[-1])
    assert 3 <= calls < 100000
    assert lost == 0


async def test_a_count_or_an_interval_that_cannot_be_is_refused() -> None:
    told = await run_all(("ping", "--count=0"), ("ping", "--interval=nan"))
    for done in told:
        assert (done.code, done.out) == (2, "")
        assert "; give a " in done.err
        assert "Traceback" not in done.err
