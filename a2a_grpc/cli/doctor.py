"""`a2a-grpc doctor`, which checks each step of a call to an agent."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from a2a_grpc.cli.exits import ExitCode, exit_code_of, hint_for
from a2a_grpc.cli.health import check, explained, serving_name
from a2a_grpc.cli.services import services_of
from a2a_grpc.cli.session import Session, Target
from a2a_grpc.cli.steps import Skipped, Weak, take, tell
from a2a_grpc.client import Client
from a2a_grpc.client.card import problems_of
from a2a_grpc.client.connection import Link
from a2a_grpc.client.credentials import AUTHORIZATION
from a2a_grpc.client.probe import (
    Handshake,
    ProbeFailure,
    accepts_tls,
    check_alpn,
    connect_tcp,
    connect_unix,
    handshake,
    resolve,
)
from a2a_grpc.client.security import asked_by
from a2a_grpc.client.status import to_error
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import (
    A2AError,
    PermissionDeniedError,
    TaskNotFoundError,
    UnauthenticatedError,
    UnimplementedError,
    VersionNotSupportedError,
)
from a2a_grpc.protocol import PROTOCOL_VERSION
from a2a_grpc.wire import SERVICE_NAME, AgentCard

NO_TASK = "a2a-grpc-doctor"
"""A task id that no agent has."""


@dataclass(slots=True)
class Patient:
    """The facts that the steps find out, for later steps."""

    session: Session
    client: Client
    link: Link
    agreed: Handshake | None = None

    @property
    def timeout_s(self) -> float:
        return self.session.settings.connect_timeout_s

    async def metadata(self) -> list[tuple[str, str]]:
        """Return the metadata of calls. If the credentials cannot be had, leave all of it out: a later step says so."""
        try:
            return await self.client.metadata()
        except (A2AError, ConfigurationError):
            return []


class NotAccepted(UnauthenticatedError):
    """The agent does not accept the credentials of the command; the text says what to do."""


Step = Callable[[Patient], Awaitable[str]]


async def doctor(session: Session, target: Target = None) -> ExitCode:
    """Check DNS, TCP, TLS, ALPN, health, reflection, the card, the credentials and the version, then make a call.

    The command names the first step that fails, and what to do. For the settings of a server of your own, use
    `a2a-grpc serve --check`.
    """
    if session.as_grpcurl:
        raise ConfigurationError("doctor makes many calls; --as-grpcurl is for verbs that make one")
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(session.client(look_ahead=False))
        except A2AError as error:  # the card that names the address cannot be fetched
            tell(session.show, "card", "failed", str(error))
            return exit_code_of(error)
        patient = Patient(session, client, await client.link())

        def say(error: Exception) -> str:
            said = str(error) or f"no answer within {patient.timeout_s:g} s"
            return "; ".join(filter(None, (said, hint_for(error))))

        for name, step in STEPS.items():
            failure = await take(session.show, name, partial(step, patient), weak="missing", say=say)
            if failure is not None:
                return ExitCode.UNREACHABLE if isinstance(failure, ProbeFailure) else exit_code_of(failure)
    if not session.show.as_json:
        session.show.fields((f"All is well with {session.shown}.", "green"))
    return ExitCode.OK


async def _dns(patient: Patient) -> str:
    address = patient.link.address
    if not address.host:
        raise Skipped("a Unix socket has no name to resolve")
    return f"{address.host} is {', '.join(await resolve(address, patient.timeout_s))}"


async def _tcp(patient: Patient) -> str:
    address = patient.link.address
    if not address.host:
        await connect_unix(address)
    else:
        await connect_tcp(address, patient.timeout_s)
    return f"{address} accepts connections"


async def _tls(patient: Patient) -> str:
    address = patient.link.address
    if not patient.link.tls:
        if address.host and await accepts_tls(address, patient.timeout_s):
            raise ProbeFailure(f"{address} speaks TLS, and would be called in plaintext; call grpcs://{address}")
        raise Skipped("plaintext")
    patient.agreed = await handshake(address, patient.session.settings, patient.timeout_s)
    return f"{patient.agreed.version}, the certificate is accepted"


async def _alpn(patient: Patient) -> str:
    if patient.agreed is None:
        raise Skipped("plaintext")
    check_alpn(patient.link.address, patient.agreed)
    return "h2"


async def _health(patient: Patient) -> str:
    stub = health_pb2_grpc.HealthStub(patient.link.channel)
    metadata = await patient.metadata()
    try:
        response = await check(stub, metadata, patient.timeout_s, SERVICE_NAME)
    except grpc.aio.AioRpcError as failure:
        error = to_error(failure)
        if isinstance(error, UnimplementedError):
            raise Weak("grpc.health.v1 is not served; load balancers will miss it") from failure
        if isinstance(error, TaskNotFoundError):
            raise Weak(f"health is served, but does not know {SERVICE_NAME}") from failure
        raise await explained(patient.session, patient.client, error, patient.timeout_s) from failure
    name = serving_name(response)
    if name != "SERVING":
        raise ProbeFailure(
            f"{SERVICE_NAME} is {name}: the server starts or stops, or its task store does not answer; "
            "see the server's log and /readyz, or call another server"
        )
    return f"{SERVICE_NAME} is {name}"


async def _reflection(patient: Patient) -> str:
    try:
        async with asyncio.timeout(patient.timeout_s):
            services = await services_of(patient.link.channel, await patient.metadata())
    except grpc.aio.AioRpcError as failure:
        why = "is not served" if failure.code() is grpc.StatusCode.UNIMPLEMENTED else f"fails: {failure.details()}"
        raise Weak(f"reflection {why}; grpcurl needs the .proto file") from failure
    if SERVICE_NAME not in services:
        raise UnimplementedError(f"the server does not serve {SERVICE_NAME}, but {', '.join(services) or 'nothing'}")
    return f"{len(services)} services, {SERVICE_NAME} among them"


async def _card(patient: Patient) -> str:
    card = await patient.client.public_card()
    if card is None:
        raise Skipped("the target is an address; give the http(s):// URL of its card to have it checked")
    problems = problems_of(card, patient.session.target, card_host="", any_host=True)
    if problems:
        raise Weak("; ".join(problems))
    return f"{card.name} {card.version}, {len(card.skills)} skills"


async def _auth(patient: Patient) -> str:
    """Say what the card asks for and which credentials there are, and find out if the agent accepts them."""
    card, kind = patient.link.card, patient.session.credentials.kind
    if not kind and any(name == AUTHORIZATION for name, _ in patient.session.headers):
        kind = "the header 'authorization'"
    asked = asked_by(card) if card is not None else ""
    said = f"the card asks for {asked or 'nothing'}" if card is not None else "there is no card that says what is asked"
    said += f"; the command has {kind or 'no credentials'}"
    try:
        await patient.client.get(NO_TASK)
    except (UnauthenticatedError, PermissionDeniedError) as error:
        told = error.message.partition("; the card asks for")[0].rstrip(".")
        raise NotAccepted(f"{said}; the agent says: {told}; {_advice(card, kind)}") from error
    except A2AError as error:
        if exit_code_of(error) is not ExitCode.PROTOCOL:
            raise
    return f"{said}; the agent does not refuse the call"


def _advice(card: AgentCard | None, kind: str) -> str:
    """Return what to do if the agent refuses a call."""
    if kind:
        return "check these credentials, or get new ones"
    kinds = {scheme.WhichOneof("scheme") for scheme in card.security_schemes.values()} if card is not None else set()
    ways = {
        "api_key_security_scheme": "--api-key",
        "http_auth_security_scheme": "--token or --token-command",
        "oauth2_security_scheme": "--oauth2-client-id, or run 'a2a-grpc login'",
        "open_id_connect_security_scheme": "--oauth2-client-id, or run 'a2a-grpc login'",
        "mtls_security_scheme": "--client-cert and --client-key",
    }
    fitting = dict.fromkeys(ways[one] for one in ways if one in kinds)
    return f"give {', or '.join(fitting) or '--token, --token-file, --token-command or --api-key'}"


async def _version(patient: Patient) -> str:
    try:
        await patient.client.get(NO_TASK)
    except VersionNotSupportedError as error:
        known = error.metadata.get("supported_versions", "others")
        raise VersionNotSupportedError(f"the agent does not speak A2A {PROTOCOL_VERSION}, but {known}") from error
    except A2AError as error:
        if exit_code_of(error) is not ExitCode.PROTOCOL or isinstance(error, UnimplementedError):
            raise
    return f"A2A {PROTOCOL_VERSION}"


async def _call(patient: Patient) -> str:
    async for task in patient.client.list(page_size=1):
        return f"ListTasks answers; the latest task is {task.id}"
    return "ListTasks answers; there are no tasks yet"


STEPS: dict[str, Step] = {
    "DNS": _dns,
    "TCP": _tcp,
    "TLS": _tls,
    "ALPN": _alpn,
    "health": _health,
    "reflection": _reflection,
    "card": _card,
    "auth": _auth,
    "version": _version,
    "call": _call,
}
