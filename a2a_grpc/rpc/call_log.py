"""The log of calls: the audit log and the access log, or one of them."""

from typing import Self

from a2a_grpc.auth import AuthSettings
from a2a_grpc.auth.audit import AuditLog
from a2a_grpc.loglines import AccessLog, pseudonym
from a2a_grpc.principal import Principal


class CallLog:
    """Writes the lines of each call that ends.

    Args:
        audit: The audit log, if there is one.
        access: The access log, if there is one.
    """

    def __init__(self, audit: AuditLog | None = None, access: AccessLog | None = None) -> None:
        self._audit = audit
        self._access = access

    @classmethod
    def opened(cls, settings: AuthSettings) -> Self | None:
        """Return the logs that settings ask for; None if they ask for none.

        Raises:
            ConfigurationError: The file of the audit log cannot be written.
        """
        if not settings.audit_log and not settings.access_log:
            return None
        audit = AuditLog(settings.audit_log) if settings.audit_log else None
        return cls(audit, AccessLog() if settings.access_log else None)

    def record(
        self, *, method: str, principal: Principal | None, task: str, outcome: str, peer: str, duration_s: float
    ) -> None:
        """Write the lines of one call.

        Args:
            method: The full name of the RPC.
            principal: The caller; None if it was refused.
            task: The id of the task that the call was about; empty if it was about none.
            outcome: The gRPC status of the call, for example "OK".
            peer: The address of the caller, as gRPC names it.
            duration_s: The time from the beginning of the handler to its end, in seconds, without the wait for a turn.
        """
        if self._audit is not None:
            short = pseudonym(principal) if principal is not None else ""
            self._audit.record(
                method=method, principal=principal, task=task, outcome=outcome, peer=peer, pseudonym=short
            )
        if self._access is not None:
            self._access.record(method=method, status=outcome, duration_s=duration_s, principal=principal, task=task)

    def close(self) -> None:
        """Write what waits, and close the file."""
        if self._audit is not None:
            self._audit.close()
