"""What every call passes first: its version, the request itself, its tenant, the extensions that the card requires."""

from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import PROTOCOL_VERSION, Key
from a2a_grpc.rpc import CallMetadata, Context, invocation_metadata
from a2a_grpc.rpc.metadata import NAMES, activate, check_version
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.requests import Checks, parse, parsing
from a2a_grpc.server.width import LARGE_BYTES, Width
from a2a_grpc.store import Scope, TaskKey
from a2a_grpc.wire import AgentCard

Request = TypeVar("Request", bound=Any)


KNOWN_CALLERS = 512
"""Metadata, tenants and lists of extensions that are remembered: callers say the same again and again."""


class Call(NamedTuple):
    """One call, past its first checks."""

    principal: Principal
    metadata: CallMetadata
    extensions: tuple[str, ...]

    def key(self, task_id: str) -> TaskKey:
        return TaskKey(self.principal.tenant, self.principal.subject, task_id)

    @property
    def scope(self) -> Scope:
        return Scope(self.principal.tenant, self.principal.subject)

    @property
    def echo(self) -> tuple[tuple[str, str], ...]:
        """The activated extensions, as the response names them (EXT-4, OPEN-11)."""
        return ((Key.EXTENSIONS, ",".join(self.extensions)),) if self.extensions else ()


class Gate:
    """Lets calls in that the card and the settings allow; which those are is read from the served card (CARD-11)."""

    def __init__(
        self,
        card: AgentCard,
        checks: Checks,
        width: Width,
        pace: Pace,
        *,
        lenient_version: bool,
        only_tenant: str | None,
    ) -> None:
        ours = card.supported_interfaces[0]
        self._card = card
        self._checks = checks
        self._width = width
        self._pace = pace
        self._lenient_version = lenient_version
        self._only_tenant = only_tenant
        self._read = lru_cache(KNOWN_CALLERS)(self._read_anew)
        self._principal = lru_cache(KNOWN_CALLERS)(self._principal_anew)
        self._activate = lru_cache(KNOWN_CALLERS)(self._activate_anew)
        self._versions = tuple(
            dict.fromkeys(
                [PROTOCOL_VERSION]
                + [
                    interface.protocol_version
                    for interface in card.supported_interfaces
                    if (interface.protocol_binding, interface.url) == (ours.protocol_binding, ours.url)
                ]
            )
        )

    async def accept(self, kind: type[Request], raw: bytes, context: Context) -> tuple[Call, Request]:
        """The call with its request. Raises VersionNotSupportedError, InvalidRequestError,
        ExtensionSupportRequiredError, in this order (OPEN-26)."""
        metadata = self._read(tuple([entry for entry in invocation_metadata(context) if entry[0] in NAMES]))
        if len(raw) > LARGE_BYTES:
            await self._pace.run(self._width.steps(kind, raw))
            request = kind()
            await self._pace.run(parsing(request, raw))
        else:
            request = parse(kind, raw)
        principal = self._principal(request.tenant)
        call = Call(principal, metadata, self._activate(metadata.extensions))
        if call.extensions:
            context.set_trailing_metadata(call.echo)
        return call, request

    def _read_anew(self, metadata: tuple[tuple[str, str | bytes], ...]) -> CallMetadata:
        read = CallMetadata.read(metadata)
        check_version(read.version, self._versions, lenient=self._lenient_version)
        return read

    def _principal_anew(self, tenant: str) -> Principal:
        self._checks.tenant(tenant)
        if self._only_tenant is not None and tenant != self._only_tenant:
            raise InvalidRequestError.of(Violation("tenant", "is not served here"))
        return Principal(tenant=tenant)

    def _activate_anew(self, requested: tuple[str, ...]) -> tuple[str, ...]:
        return activate(requested, self._card)
