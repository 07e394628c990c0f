"""`a2a-grpc health`, which asks grpc.health.v1."""

from collections.abc import Iterable
from typing import Annotated

import grpc.aio
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.session import Session, Target
from a2a_grpc.client import Client
from a2a_grpc.client.responses import accepted
from a2a_grpc.client.status import to_error
from a2a_grpc.errors import A2AError, DeadlineExceededError, TaskNotFoundError, UnimplementedError

HEALTH = "grpc.health.v1.Health"


async def health(
    session: Session,
    target: Target = None,
    service: Annotated[str, typer.Option("--service", help="Service to ask for. Default: the whole server.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show changes until Ctrl-C.")] = False,
) -> ExitCode:
    """Ask a server for its health. The exit code is 0 if the server is SERVING, else 3."""
    request = health_pb2.HealthCheckRequest(service=service)
    if session.as_grpcurl:
        return await session.grpcurl("Watch" if watch else "Check", request, service=HEALTH)
    async with session.client() as client:
        stub = health_pb2_grpc.HealthStub((await client.link()).channel)
        metadata = await client.metadata()
        try:
            if not watch:
                return _show(session, service, await check(stub, metadata, session.settings.timeout_s, service))
            code, shown = ExitCode.OK, None
            async for answer in stub.Watch(request, metadata=metadata):
                response = accepted("Watch", answer)
                if response.status != shown:  # servers may repeat a status
                    code, shown = _show(session, service, response), response.status
            return code
        except grpc.aio.AioRpcError as failure:
            error = to_error(failure)
            if isinstance(error, TaskNotFoundError):
                session.show.note(f"the server knows no service '{service}'")
                return ExitCode.UNREACHABLE
            if isinstance(error, UnimplementedError):
                session.show.note("the server does not serve grpc.health.v1")
                return ExitCode.PROTOCOL
            raise await explained(session, client, error, session.settings.timeout_s) from failure


async def check(
    stub: health_pb2_grpc.HealthStub, metadata: Iterable[tuple[str, str]], timeout_s: float, service: str = ""
) -> health_pb2.HealthCheckResponse:
    """Return the health of a service. Raise AioRpcError, or InvalidAgentResponseError if it cannot be parsed."""
    request = health_pb2.HealthCheckRequest(service=service)
    response: health_pb2.HealthCheckResponse = accepted(
        "Check", await stub.Check(request, metadata=tuple(metadata), timeout=timeout_s)
    )
    return response


async def explained(session: Session, client: Client, error: A2AError, timeout_s: float) -> A2AError:
    """Return the error of a health check, with the name of the server and the time that it had."""
    if isinstance(error, DeadlineExceededError) and not error.reason:
        error.say(f"{session.shown} did not answer the health check within {timeout_s:g} s")
    return await client.explained(error)


def serving_name(response: health_pb2.HealthCheckResponse) -> str:
    """Return `SERVING`, or another name of a status; `UNKNOWN(42)` for a number that health checks do not know."""
    value = health_pb2.HealthCheckResponse.ServingStatus.DESCRIPTOR.values_by_number.get(response.status)
    return value.name if value else f"UNKNOWN({response.status})"


def _show(session: Session, service: str, response: health_pb2.HealthCheckResponse) -> ExitCode:
    name = serving_name(response)
    if session.show.as_json:
        session.show.json(response)
    else:
        style = "green" if name == "SERVING" else "bold red"
        session.show.fields((name, style), " ", service or session.shown)
    return ExitCode.OK if name == "SERVING" else ExitCode.UNREACHABLE
