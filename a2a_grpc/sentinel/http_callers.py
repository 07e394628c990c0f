"""Callers over HTTP: headers are credentials as the metadata of a call is, and certificates are those of gRPC."""

import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from a2a_grpc.address import join_address
from a2a_grpc.auth import CallCredentials
from a2a_grpc.auth.callers import Callers
from a2a_grpc.auth.certificates import certificate_of
from a2a_grpc.auth.protocol import Certificate
from a2a_grpc.deadlines import time_limit
from a2a_grpc.errors import A2AError, InternalError, UnauthenticatedError, UnavailableError
from a2a_grpc.principal import Principal
from a2a_grpc.rpc import CallLog
from a2a_grpc.rpc.authentication import IDENTIFY_TIMEOUT_S
from a2a_grpc.sentinel.http_errors import refusal

Serve: TypeAlias = Callable[[web.Request, Principal], Awaitable[web.Response]]
"""Answers the request of a caller."""


class HttpCallers:
    """Identifies the caller of a request, before anything of the request except its head is looked at.

    Args:
        callers: Identifies callers, and limits how often each of them may ask.
        log: The logs of calls, if there are any.
    """

    def __init__(self, callers: Callers, log: CallLog | None) -> None:
        self._callers = callers
        self._log = log

    def caching(self, rule: str) -> dict[str, str]:
        """Return the headers that say which caches may keep an answer.

        Args:
            rule: For how long, such as "max-age=60".
        """
        if self._callers.authenticates:
            return {"Cache-Control": f"private, {rule}", "Vary": "Authorization, X-Api-Key"}
        return {"Cache-Control": f"public, {rule}"}

    def guarded(self, method: str, serve: Serve) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return a handler that identifies the caller, and then answers.

        Args:
            method: The name of the operation, for authenticators and the logs of calls.
            serve: Answers the request of a known caller.
        """

        async def handler(request: web.Request) -> web.Response:
            credentials = _shown(method, request)
            caller: Principal | None = None
            outcome = "INTERNAL"
            began_s = time.monotonic()
            try:
                caller = await self._identified(credentials)
                self._callers.count(caller, credentials)
                response = await serve(request, caller)
                outcome = "OK"
            except A2AError as error:
                outcome = error.code.name
                return refusal(
                    error, self._callers.challenges(error) if isinstance(error, UnauthenticatedError) else ()
                )
            except web.HTTPException as error:
                outcome = f"HTTP {error.status}"
                raise
            finally:
                if self._log is not None:
                    peer, took_s = credentials.peer, time.monotonic() - began_s
                    self._log.record(
                        method=method, principal=caller, task="", outcome=outcome, peer=peer, duration_s=took_s
                    )
            return response

        return handler

    async def _identified(self, credentials: CallCredentials) -> Principal:
        try:
            async with time_limit(IDENTIFY_TIMEOUT_S):
                return await self._callers.identify(credentials, may_ask=True)
        except TimeoutError:
            self._callers.note_timeout(IDENTIFY_TIMEOUT_S)
            raise UnavailableError("the credentials were not checked in time", retry_after_s=1.0) from None
        except A2AError:
            raise
        except Exception:  # an authenticator of other authors may raise anything
            self._callers.note_failure()
            raise InternalError from None


def _shown(method: str, request: web.Request) -> CallCredentials:
    """Return what a request shows of its caller."""
    metadata: dict[str, tuple[str | bytes, ...]] = {}
    for header, value in request.headers.items():
        name = header.lower()
        if not name.endswith("-bin"):  # authenticators may expect bytes under such a name
            metadata[name] = (*metadata.get(name, ()), value)
    certificate = _certificate(request)
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if not peer:
        return CallCredentials(method, metadata, certificate)
    host, port = str(peer[0]).removeprefix("::ffff:"), int(peer[1])
    return CallCredentials(method, metadata, certificate, f"ipv{6 if ':' in host else 4}:{join_address(host, port)}")


def _certificate(request: web.Request) -> Certificate | None:
    """Return the client certificate of the connection, which TLS has verified; None if there is none."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport else None
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return certificate_of({"x509_pem_cert": [ssl.DER_cert_to_PEM_cert(der).encode()]}) if der else None
