"""`a2a-grpc ping`, which measures round trips."""

import asyncio
import json
import statistics
import time
from typing import Annotated

import grpc
import grpc.aio
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.health import HEALTH, check, explained
from a2a_grpc.cli.session import Session, Target
from a2a_grpc.client.status import to_error
from a2a_grpc.errors import A2AError


async def ping(
    session: Session,
    target: Target = None,
    count: Annotated[int, typer.Option("-c", "--count", min=1, help="Number of calls.")] = 10,
    interval: Annotated[float, typer.Option("-i", "--interval", min=0, help="Seconds between two calls.")] = 0.2,
) -> ExitCode:
    """Measure the round trip time of a small call (a health check) on an open connection."""
    if session.as_grpcurl:
        return await session.grpcurl("Check", health_pb2.HealthCheckRequest(), service=HEALTH)
    times_ms: list[float] = []
    async with session.client() as client:
        stub = health_pb2_grpc.HealthStub((await client.link()).channel)
        metadata, timeout_s = await client.metadata(), session.settings.timeout_s

        async def call() -> float:
            began = time.perf_counter()
            try:
                await check(stub, metadata, timeout_s)
            except grpc.aio.AioRpcError as failure:
                if failure.code() not in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND):  # answers, too
                    raise await explained(session, client, to_error(failure), timeout_s) from failure
            return (time.perf_counter() - began) * 1000

        connected_ms = await call()
        if not session.show.as_json:
            session.show.line(f"{session.shown}: connected in {connected_ms:.1f} ms")
        lost = 0
        try:
            for place in range(count):
                await asyncio.sleep(interval if place else 0)
                try:
                    times_ms.append(await call())
                except A2AError as error:
                    lost += 1
                    session.show.note(f"{place + 1}: {error}")
                    continue
                if not session.show.as_json:
                    session.show.line(f"{place + 1}: {times_ms[-1]:.2f} ms")
        finally:
            _sum_up(session, times_ms, lost)
    return ExitCode.UNREACHABLE if lost else ExitCode.OK


def _sum_up(session: Session, times_ms: list[float], lost: int) -> None:
    if not times_ms:
        if lost:
            summary = {"calls": lost, "lost": lost}
            session.show.line(json.dumps(summary) if session.show.as_json else f"{lost} calls, {lost} lost")
        return
    cuts = statistics.quantiles(times_ms, n=100, method="inclusive") if len(times_ms) > 1 else times_ms * 99
    figures_ms = {
        "calls": len(times_ms) + lost,
        "lost": lost,
        "min_ms": min(times_ms),
        "p50_ms": statistics.median(times_ms),
        "p90_ms": cuts[89],
        "p99_ms": cuts[98],
        "max_ms": max(times_ms),
    }
    figures_ms = {key: round(figure, 3) for key, figure in figures_ms.items()}
    if session.show.as_json:
        session.show.line(json.dumps(figures_ms))
        return
    told = ", ".join(f"{key.removesuffix('_ms')} {figure:.2f}" for key, figure in figures_ms.items() if "_ms" in key)
    session.show.line(f"{len(times_ms) + lost} calls, {lost} lost; ms: {told}")
