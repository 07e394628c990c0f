"""What every call passes first: its version, the request itself, its tenant, the extensions that the card requires."""

from dataclasses import dataclass
from typing import Any, TypeVar

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import PROTOCOL_VERSION, Key
from a2a_grpc.rpc import CallMetadata, Context
from a2a_grpc.rpc.metadata import activate, check_version
from a2a_grpc.server.requests import Checks, parse
from a2a_grpc.store import Scope, TaskKey
from a2a_grpc.wire import AgentCard

Request = TypeVar("Request", bound=Any)


@dataclass(frozen=True, slots=True)
class Call:
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

    def __init__(self, card: AgentCard, checks: Checks, *, lenient_version: bool, only_tenant: str | None) -> None:
        ours = card.supported_interfaces[0]
        self._card = card
        self._checks = checks
        self._lenient_version = lenient_version
        self._only_tenant = only_tenant
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

    def accept(self, kind: type[Request], raw: bytes, context: Context) -> tuple[Call, Request]:
        """The call with its request. Raises VersionNotSupportedError, InvalidRequestError,
        ExtensionSupportRequiredError, in this order (OPEN-26)."""
        metadata = CallMetadata.read(context.invocation_metadata() or ())
        check_version(metadata.version, self._versions, lenient=self._lenient_version)
        request = parse(kind, raw)
        self._checks.tenant(request.tenant)
        if self._only_tenant is not None and request.tenant != self._only_tenant:
            raise InvalidRequestError.of(Violation("tenant", "is not served here"))
        call = Call(Principal(tenant=request.tenant), metadata, activate(metadata.extensions, self._card))
        if call.extensions:
            context.set_trailing_metadata(call.echo)
        return call, request
