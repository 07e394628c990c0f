"""Explain the failures of calls, with what the client knows of its agent."""

import asyncio

import grpc
import grpc.aio

from a2a_grpc.client.connection import closed
from a2a_grpc.client.contact import Contact
from a2a_grpc.client.errors import ConnectionLostError
from a2a_grpc.client.identity import Identity
from a2a_grpc.client.origin import page_of
from a2a_grpc.client.responses import too_many_bytes
from a2a_grpc.client.security import asked_by
from a2a_grpc.client.status import explain_size, lost, to_error
from a2a_grpc.errors import A2AError, ResourceExhaustedError, UnauthenticatedError, UnimplementedError
from a2a_grpc.protocol import PROTOCOL_VERSION

TOO_LARGE = "CLIENT: Received message larger than max"
"""What gRPC says of a response over `max_response_bytes`."""


class Failures:
    """Makes the errors of failed calls, and notes for the contact whether the agent was reached."""

    def __init__(self, contact: Contact, identity: Identity) -> None:
        self._contact = contact
        self._connection = contact.connection
        self._identity = identity

    def error_of(self, failure: grpc.aio.AioRpcError, *, is_late: bool = False) -> A2AError:
        """Return the error for a failed call; remember whether the agent, or a proxy before the agent, was reached.

        `is_late`: the deadline of the call may have passed.
        """
        error = to_error(failure, is_late=is_late)
        if isinstance(error, ConnectionLostError):
            return self._contact.lost(error)
        self._contact.was_reached = True
        explain_size(error)
        if isinstance(error, ResourceExhaustedError) and not error.reason and TOO_LARGE in error.message:
            return too_many_bytes(error.message)
        if isinstance(error, UnimplementedError) and not error.reason and page_of(failure.details() or "") is None:
            error.say(
                f"'{self._connection.target}' speaks gRPC, but is no A2A {PROTOCOL_VERSION} agent: {error.message}"
            )
        link = self._connection.link
        is_anonymous = isinstance(error, UnauthenticatedError) and not self._identity.is_given
        if is_anonymous and link is not None and link.card is not None and (asked := asked_by(link.card)):
            error.say(f"{error.message.rstrip('.')}; the card asks for {asked}")
        return error

    def error_of_cancel(self) -> Exception:
        """Return why a call was canceled that no caller canceled: the client was closed, or the peer canceled it."""
        return closed() if self._connection.is_closed else self._contact.lost(lost(grpc.StatusCode.CANCELLED))


def is_canceled() -> bool:
    """Return True if the current Python task was canceled. A CANCELLED status of the peer can look the same."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
