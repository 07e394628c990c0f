"""Find out who makes a call, before any handler runs and any request is read."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio

from a2a_grpc.auth import CallCredentials
from a2a_grpc.auth.callers import NOBODY, Callers
from a2a_grpc.auth.protocol import EXPIRED, Certificate
from a2a_grpc.deadlines import Deadlines
from a2a_grpc.errors import A2AError, InternalError, UnauthenticatedError, UnavailableError
from a2a_grpc.loglines import about
from a2a_grpc.principal import Principal
from a2a_grpc.rpc.behaviors import Handler, behavior_of, with_behavior
from a2a_grpc.rpc.call_log import CallLog
from a2a_grpc.rpc.expiry import Expiry
from a2a_grpc.rpc.status import CODES
from a2a_grpc.rpc.traffic import calling_peer

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
End: TypeAlias = "Callable[[Context, A2AError], Awaitable[None]]"
"""Ends a call with an error."""
Metadata: TypeAlias = "tuple[tuple[str, str | bytes], ...]"


@dataclass(slots=True)
class Caller:
    """The caller of the current call, and what the logs of calls say of the call."""

    principal: Principal = NOBODY
    is_known: bool = False
    """True once the credentials of the caller are accepted."""
    task: str = ""
    """The id of the task that the call is about."""
    has_expired: bool = False
    """True once the call is ended because the credentials of its caller have ended."""


IDENTIFY_TIMEOUT_S = 20.0
"""Seconds that authenticators have to find out who calls."""

LOOK_S = 1.0
"""Seconds between two looks at calls that wait for authenticators."""

_caller: ContextVar[Caller | None] = ContextVar("a2a_grpc caller of the call", default=None)


def current_caller() -> Caller:
    """Return the caller of the call that the current task serves. Return an anonymous one if calls are not
    authenticated."""
    return _caller.get() or Caller()


class Authentication:
    """Find out who calls, and let only known callers pass to the handlers.

    Guarantees:

    - A handler that `guarded` returns asks for no request, and calls no other handler, before the caller is known.
    - A stream ends with UNAUTHENTICATED when the credentials of its caller end, also if the clock is set forward.
    - Each call that ends has a line in the logs of calls, if there are any.
    """

    def __init__(
        self,
        callers: Callers,
        end: End,
        metadata: Callable[[Context], Metadata],
        *,
        certificate: Callable[[Context], Certificate | None] = lambda context: None,
        log: CallLog | None = None,
    ) -> None:
        self._callers = callers
        self._end = end
        self._metadata = metadata
        self._certificate = certificate
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._asking: Deadlines[asyncio.Task[Any]] = Deadlines(self._end_late, look_s=LOOK_S)
        """The calls whose authenticators are being asked."""
        self._late: set[asyncio.Task[Any]] = set()
        self._expiry = Expiry()

    @property
    def is_needed(self) -> bool:
        """True if calls have to be authenticated, or written to a log."""
        return self._callers.is_needed or self._log is not None

    def guarded(self, method: str, handler: Handler) -> Handler:
        """Return a handler that finds out who calls, and then does what `handler` does.

        Args:
            method: The full name of the RPC.
            handler: The handler to call for known callers.
        """
        behavior = behavior_of(handler)
        is_stream = handler.response_streaming

        # A plain function: grpc.aio inspects the handler at each call, and any other callable takes longer.
        async def serve(requests: Any, context: Context) -> Any:
            caller = Caller()
            _caller.set(caller)
            about.set(caller)
            began_s = time.monotonic()
            try:
                credentials = self._shown(method, context)
                if not await self._admit(caller, credentials, context):
                    return None
                result = behavior(requests, context)
                if not is_stream:
                    return await result
                if caller.principal.expires_at is not None:
                    return await self._until_expiry(caller, credentials, context, result)
                return await (_written(result, context) if hasattr(result, "__aiter__") else result)
            finally:
                if self._log is not None:
                    self._note(self._log, caller, method, context, time.monotonic() - began_s)

        return with_behavior(handler, serve)

    def _shown(self, method: str, context: Context) -> CallCredentials:
        entries = self._metadata(context)
        metadata: dict[str, tuple[str | bytes, ...]] = {name: (value,) for name, value in entries}
        if len(metadata) != len(entries):  # a name comes several times
            metadata = {}
            for name, value in entries:
                metadata[name] = (*metadata.get(name, ()), value)
        return CallCredentials(method, metadata, self._certificate(context), calling_peer.get() or context.peer())

    async def _admit(self, caller: Caller, credentials: CallCredentials, context: Context) -> bool:
        """Find out who calls. Return False if the call was refused, and has ended."""
        try:
            caller.principal = await self._identified(credentials)
            caller.is_known = True
            self._callers.count(caller.principal, credentials)
        except A2AError as error:
            await self._refuse(context, error)
            return False
        except (Exception, asyncio.CancelledError):  # an authenticator of other authors may raise anything
            if (task := asyncio.current_task(self._loop)) is not None and task.cancelling():
                raise  # the client is gone
            self._callers.note_failure()
            await self._end(context, InternalError())
            return False
        return True

    async def _identified(self, credentials: CallCredentials) -> Principal:
        """Ask the authenticators. Raise UnavailableError if they do not answer in time."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._asking.add(task, IDENTIFY_TIMEOUT_S)
        try:
            return await self._callers.identify(credentials)
        except asyncio.CancelledError:
            if task not in self._late or task.uncancel():
                raise
            self._callers.note_timeout(IDENTIFY_TIMEOUT_S)
            raise UnavailableError("the credentials were not checked in time", retry_after_s=1.0) from None
        finally:
            self._asking.remove(task)
            self._late.discard(task)

    def _end_late(self, task: "asyncio.Task[Any]") -> None:
        """End a call whose authenticators have not answered in time."""
        self._late.add(task)
        task.cancel()

    async def _refuse(self, context: Context, error: A2AError) -> None:
        if isinstance(error, UnauthenticatedError):
            challenges = self._callers.challenges(error)
            context.set_trailing_metadata(tuple(("www-authenticate", challenge) for challenge in challenges))
        await self._end(context, error)

    async def _until_expiry(self, caller: Caller, credentials: CallCredentials, context: Context, result: Any) -> None:
        """Serve a stream until its end, or until the credentials of its caller end."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        assert caller.principal.expires_at is not None

        def expire() -> None:
            caller.has_expired = True
            task.cancel()

        self._expiry.add(task, caller.principal.expires_at, expire)
        try:
            await (_written(result, context) if hasattr(result, "__aiter__") else result)
        except asyncio.CancelledError:
            if not caller.has_expired or task.uncancel():
                raise  # the client is gone
            said = "expired during a stream"
            await self._refuse(context, self._callers.refusal(credentials, said, EXPIRED, is_counted=False))
        finally:
            self._expiry.remove(task)

    def _note(self, log: CallLog, caller: Caller, method: str, context: Context, duration_s: float) -> None:
        """Write the lines of a call that ends, perhaps with the exception that is on its way."""
        code: Any = context.code()
        if isinstance(code, int):
            code = CODES.get(code)
        is_canceled = isinstance(sys.exception(), asyncio.CancelledError)
        outcome = "CANCELLED" if is_canceled else code.name if code else "OK"
        principal = caller.principal if caller.is_known else None
        peer = context.peer()
        log.record(
            method=method, principal=principal, task=caller.task, outcome=outcome, peer=peer, duration_s=duration_s
        )


async def _written(elements: Any, context: Context) -> None:
    """Write the elements of a handler that yields them."""
    async for element in elements:
        await context.write(element)
