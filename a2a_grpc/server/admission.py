"""Check each call of a known caller: version, request, tenant, and the extensions that the card requires."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from a2a_grpc.errors import InvalidRequestError, PermissionDeniedError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import PROTOCOL_VERSION, Key
from a2a_grpc.rpc import Caller, CallMetadata, Context, current_caller, invocation_metadata
from a2a_grpc.rpc.metadata import NAMES, activate, check_version
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.parsing import parse, parsing
from a2a_grpc.server.requests import Checks
from a2a_grpc.server.width import LARGE_BYTES, Width
from a2a_grpc.store import Head, Scope, Snapshot, TaskKey
from a2a_grpc.store.views import context_id_of
from a2a_grpc.telemetry import current
from a2a_grpc.wire import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
)

if TYPE_CHECKING:
    from a2a_grpc.telemetry.call import CallSpan

Request = TypeVar("Request", bound=Any)

OF_ONE_TASK = (
    GetTaskRequest,
    CancelTaskRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    DeleteTaskPushNotificationConfigRequest,
)
"""The requests that name a task. Other requests create tasks or list them."""

NO_OWNER = "-"
"""An owner that no caller has."""

KNOWN_CALLERS = 512
"""The number of metadata, tenants and lists of extensions that are remembered, because callers repeat them."""


class Call(NamedTuple):
    """A call that has passed the first checks."""

    caller: Caller
    principal: Principal
    """The caller, within the tenant of the request."""
    owner: str
    """The owner of the tasks that the call can see."""
    metadata: CallMetadata
    extensions: tuple[str, ...]
    span: "CallSpan | None" = None

    def key(self, task_id: str) -> TaskKey:
        """Return the key of a task that the call is about."""
        self.caller.task = task_id
        return TaskKey(self.principal.tenant, self.owner, task_id)

    def reached(self, task_id: str, context_id: str, state: int) -> None:
        """Note the task that the call has led to, and its state, for the span and the logs."""
        self.caller.task = task_id
        if self.span is not None:
            self.span.task_id, self.span.context_id, self.span.state = task_id, context_id, state

    def read(self, task: Head | Snapshot) -> None:
        """Note the task that was read for the answer, for the span."""
        if self.span is not None and self.span.is_recording:
            self.span.context_id = task.context_id if isinstance(task, Head) else context_id_of(task.task)
            self.span.state = task.state

    def saw(self, state: int) -> None:
        """Note the newest state of the task that the caller has got, for the span."""
        if self.span is not None:
            self.span.state = state

    @property
    def scope(self) -> Scope:
        return Scope(self.principal.tenant, self.owner)

    @property
    def echo(self) -> tuple[tuple[str, str], ...]:
        """The activated extensions, as the response names them (EXT-4, OPEN-11)."""
        return ((Key.EXTENSIONS, ",".join(self.extensions)),) if self.extensions else ()


class Admission:
    """Lets calls pass that the served card and the settings allow (CARD-11)."""

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
        self._checked_tenant = lru_cache(KNOWN_CALLERS)(self._check_tenant)
        self._within = lru_cache(KNOWN_CALLERS)(Principal.at)
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
        """Return the call with its request. The checks come in this order (OPEN-26).

        Raises:
            VersionNotSupportedError: The call names a version that is not served here.
            InvalidRequestError: The bytes are no such request, or the tenant is not possible.
            PermissionDeniedError: The credentials of the caller do not cover the tenant.
            ExtensionSupportRequiredError: The card requires an extension that the call does not declare.
        """
        metadata = self._read(tuple([entry for entry in invocation_metadata(context) if entry[0] in NAMES]))
        if len(raw) > LARGE_BYTES:
            await self._pace.run(self._width.steps(kind, raw))
            request = kind()
            await self._pace.run(parsing(request, raw))
        else:
            request = parse(kind, raw)
        span = current.served.get()
        if span is not None:
            span.asked(request)
        caller = current_caller()
        principal, owner = self._covered(caller.principal, request)
        caller.principal = principal
        call = Call(caller, principal, owner, metadata, self._activate(metadata.extensions), span)
        if call.extensions:
            context.set_trailing_metadata(call.echo)
        return call, request

    def _read_anew(self, metadata: tuple[tuple[str, str | bytes], ...]) -> CallMetadata:
        read = CallMetadata.read(metadata)
        check_version(read.version, self._versions, lenient=self._lenient_version)
        return read

    def _covered(self, principal: Principal, request: Any) -> tuple[Principal, str]:
        """Return the caller within the tenant of a request, and the owner of the tasks that the call can see.

        Credentials for a single tenant are for this tenant if the request names none. If the credentials do not cover
        the tenant, a call for one task finds no task. Other calls are refused.
        """
        tenant, tenants = request.tenant, principal.tenants
        if not tenant and tenants is not None and len(tenants) == 1:
            (tenant,) = tenants
        is_served = self._checked_tenant(tenant)
        if principal.is_anonymous and not is_served:
            raise InvalidRequestError.of(Violation("tenant", "is not served here"))
        if is_served and (tenants is None or tenant in tenants):
            if tenant != principal.tenant:
                principal = self._within(principal, tenant)
            return principal, principal.owner
        if isinstance(request, OF_ONE_TASK):
            return self._within(principal, tenant), NO_OWNER
        current_caller().principal = self._within(principal, tenant)  # for the logs of calls
        raise PermissionDeniedError(f"the credentials do not cover the tenant '{tenant}'", metadata={"tenant": tenant})

    def _check_tenant(self, tenant: str) -> bool:
        """Return True if the server serves a tenant. Raise InvalidRequestError if the name of the tenant is not
        possible."""
        self._checks.tenant(tenant)
        return self._only_tenant is None or tenant == self._only_tenant

    def _activate_anew(self, requested: tuple[str, ...]) -> tuple[str, ...]:
        return activate(requested, self._card)
