"""The access log: a line for each call."""

import logging

from a2a_grpc.loglines.facts import NOTHING
from a2a_grpc.loglines.pseudonyms import pseudonym
from a2a_grpc.principal import Principal

logger = logging.getLogger("a2a_grpc.access")


class AccessLog:
    """Writes a line for each call that ends. It has no content, no credentials, and no name of a caller."""

    def __init__(self) -> None:
        logger.setLevel(logging.INFO)  # whatever the level of the other lines is

    def record(self, *, method: str, status: str, duration_s: float, principal: Principal | None, task: str) -> None:
        """Write the line of one call.

        Args:
            method: The full name of the RPC.
            status: The gRPC status of the call, for example "OK".
            duration_s: The time from the arrival of the call to its end, in seconds.
            principal: The caller; None if it was refused.
            task: The id of the task that the call was about; empty if it was about none.
        """
        logger.info(
            "call method=%s status=%s duration_ms=%.1f principal=%s task=%s",
            *(method, status, duration_s * 1000),
            (pseudonym(principal) if principal is not None else "") or NOTHING,
            task or NOTHING,
        )
