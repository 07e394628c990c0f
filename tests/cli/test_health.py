"""`a2a-grpc health`: what grpc.health.v1 says, once or as it changes."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc import Agent, Turn
from a2a_grpc.cli.health import HEALTH
from a2a_grpc.wire import SERVICE_NAME
from tests.cli.terminal import Done, run, run_all, running
from tests.cli.test_doctor import HANGS, healthy, stock_server
from tests.cli.test_ping import serving_health
from tests.client.peers import peering
from tests.harness import Served, request, scripted_agent, serving
from tests.ports import free_address
from tests.proxy import Proxy

UNREACHABLE, TIMEOUT, PROTOCOL, INTERRUPTED = 3, 5, 6, 130


async def test_a_server_that_serves_is_told_by_word_and_by_exit_code(served: Served) -> None:
    address = served.server.grpc_address
    whole, agent, as_json = await run_all(
        ("health", address),
        ("health", address, "--service", SERVICE_NAME),
        ("health", address, "-o", "json"),
    )
    assert whole == Done(0, f"SERVING {address}\n", "")
    assert agent == Done(0, f"SERVING {SERVICE_NAME}\n", "")
    assert (as_json.code, as_json.err) == (0, "")
    assert json.loads(as_json.out) == {"status": "SERVING"}


async def test_a_server_that_drains_is_not_serving_and_whoever_watches_sees_the_change_until_ctrl_c() -> None:
    agent, released = Agent("Busy", "Works until it is released."), asyncio.Event()

    @agent.skill()
    async def work(turn: Turn) -> None:
        await released.wait()

    async with serving(agent, drain_grace_s=600.0) as served, AsyncExitStack() as stack:
        address = served.server.grpc_address
        await served.send(request(immediately=True))
        watching = await stack.enter_async_context(running("health", address, "--watch"))
        await watching.out.until(f"SERVING {address}\n")
        stopping = asyncio.create_task(served.server.stop())
        try:
            await watching.out.until(f"NOT_SERVING {address}\n")
            once, as_json = await run_all(
                ("health", address), ("health", address, "--service", SERVICE_NAME, "-o", "json")
            )
            watching.interrupt()
            watched = await watching.finished()
        finally:
            released.set()
            await stopping
    assert once == Done(UNREACHABLE, f"NOT_SERVING {address}\n", "")
    assert (as_json.code, json.loads(as_json.out)) == (UNREACHABLE, {"status": "NOT_SERVING"})
    assert watched == Done(INTERRUPTED, f"SERVING {address}\nNOT_SERVING {address}\n", "")


async def test_a_service_that_is_unknown_is_told_as_such(served: Served) -> None:
    told = await run("health", served.server.grpc_address, "--service", "agents.Other")
    assert told == Done(UNREACHABLE, "", "the server knows no service 'agents.Other'\n")


async def test_a_server_without_health_is_told_as_such() -> None:
    async with serving(scripted_agent(), health=False) as ours, peering() as foreign:
        told = await run_all(
            ("health", ours.server.grpc_address),
            ("health", foreign.address, "-o", "json"),
        )
    assert told == [Done(PROTOCOL, "", "the server does not serve grpc.health.v1\n")] * 2


async def test_where_nobody_is_it_says_so() -> None:
    address = free_address()
    said = f"Error: nothing listens at {address}; check the port, and that the agent is running\n"
    assert await run("health", address) == Done(UNREACHABLE, "", said)


async def test_a_server_that_does_not_answer_is_waited_for_as_long_as_is_said_and_named() -> None:
    async with stock_server(healthy(slow=HANGS)) as address:
        by_option, by_variable = await asyncio.gather(
            run("health", address, "--service", "slow", "--timeout", "1"),
            run("health", address, "--service", "slow", env={"A2A_GRPC_TIMEOUT_S": "1"}),
        )
    for told in (by_option, by_variable):
        assert (told.code, told.out) == (TIMEOUT, "")
        [line] = told.err.splitlines()
        assert line.startswith("Error: ")
        assert "within 1 s" in line
    assert address in by_variable.err


async def test_the_doctor_says_what_did_not_answer_within_how_many_seconds() -> None:
    async with stock_server(healthy(a2a=HANGS)) as address:
        told = await run("doctor", address, "--connect-timeout-s", "2")
    assert told.code == TIMEOUT
    assert f"{address} did not answer the health check within 2 s" in told.out


async def test_a_watched_server_that_goes_away_ends_the_watching_and_is_told_as_gone(served: Served) -> None:
    async with Proxy(served.server.grpc_address) as way, running("health", way.address, "--watch", "-o", "json") as it:
        await it.out.until('{"status": "SERVING"}\n')
        way.close()
        told = await it.finished()
    assert told.code == UNREACHABLE
    assert told.err == f"Error: nothing listens at {way.address}; check the port, and that the agent is running\n"


class Odd(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Repeats each status. The last status has a number that health checks do not know."""

    async def Watch(self, request: Any, context: Any) -> Any:
        for status in (1, 1, 2, 2, 2, 1, 42, 42):
            yield health_pb2.HealthCheckResponse(status=status)


async def test_a_status_that_a_server_repeats_is_shown_once() -> None:
    async with serving_health(Odd()) as address:
        told = await run("health", address, "--watch")
    shown = ["SERVING", "NOT_SERVING", "SERVING", "UNKNOWN(42)"]
    assert told == Done(UNREACHABLE, "".join(f"{name} {address}\n" for name in shown), "")


def unreadable(server: Any) -> None:
    """Add a health service whose answers are no messages."""

    async def check(request: bytes, context: Any) -> bytes:
        return b"\xff\xff"

    async def watch(request: bytes, context: Any) -> Any:
        yield b"\xff\xff"

    methods: Any = {
        "Check": grpc.unary_unary_rpc_method_handler(check),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(HEALTH, methods),))


async def test_an_answer_that_cannot_be_parsed_is_told_in_plain_words() -> None:
    async with stock_server(unreadable) as address:
        once, watched, pinged, examined = await run_all(
            ("health", address),
            ("health", address, "--watch"),
            ("ping", address, "-c", "2", "-i", "0"),
            ("doctor", address),
        )
    said = "Error: the agent's response to {} cannot be read: it could not be parsed\n"
    assert once == pinged == Done(PROTOCOL, "", said.format("Check"))
    assert watched == Done(PROTOCOL, "", said.format("Watch"))
    assert examined.code == PROTOCOL
    assert "health     the agent's response to Check cannot be read: it could not be parsed" in examined.out
