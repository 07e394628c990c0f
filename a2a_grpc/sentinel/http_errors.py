"""Errors over HTTP: a JSON object with a code and a message (ARD 0.91, appendix B)."""

import logging
import math
from collections.abc import Iterable, Mapping

import grpc
from aiohttp import web
from aiohttp.typedefs import Handler

from a2a_grpc.errors import A2AError, UnauthenticatedError

logger = logging.getLogger("a2a_grpc.sentinel")

STATUSES: Mapping[grpc.StatusCode, tuple[int, str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, "INVALID_ARGUMENT"),
    grpc.StatusCode.UNAUTHENTICATED: (401, "UNAUTHENTICATED"),
    grpc.StatusCode.PERMISSION_DENIED: (403, "PERMISSION_DENIED"),
    grpc.StatusCode.NOT_FOUND: (404, "NOT_FOUND"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "RATE_LIMIT_EXCEEDED"),
    grpc.StatusCode.UNIMPLEMENTED: (501, "NOT_IMPLEMENTED"),
    grpc.StatusCode.UNAVAILABLE: (503, "UNAVAILABLE"),
}
CODES = dict(STATUSES.values())
NOT_ATTACHED = "no agent is attached at this address that you may call"
"""The message is the same for an address without agent and for one that the caller may not call."""


def refusal(error: A2AError, challenges: Iterable[str] = ()) -> web.Response:
    """Return the response for an error.

    Args:
        error: The error.
        challenges: The values of `WWW-Authenticate`, if the caller has shown no valid credentials.
    """
    status, code = STATUSES.get(error.code, (500, "INTERNAL_ERROR"))
    response = said(status, code, error.message)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, UnauthenticatedError):
        for challenge in challenges:
            response.headers.add("WWW-Authenticate", challenge)
    return response


def said(status: int, code: str, message: str) -> web.Response:
    """Return a response with a code and a message, that no cache keeps.

    Args:
        status: The HTTP status.
        code: The code.
        message: The message.
    """
    response = web.json_response({"errorCode": code, "message": message}, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


@web.middleware
async def in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors in JSON, also those that aiohttp finds itself, such as 404 and 413."""
    try:
        return await handler(request)
    except A2AError as error:
        return refusal(error)
    except web.HTTPException as error:
        response = said(error.status, CODES.get(error.status, error.reason.upper().replace(" ", "_")), error.reason)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        logger.exception("a request over HTTP failed")
        return said(500, "INTERNAL_ERROR", "internal error; the log of the sentinel says more")
