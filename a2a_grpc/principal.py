"""The caller of an operation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one operation.

    A task belongs to the tenant and the subject of the caller that created it. Requests of other callers do not find it
    (spec §13.1). This package does not check yet who calls, so every caller has the subject "".

    Attributes:
        subject: The identity of the caller; empty for an anonymous caller.
        tenant: The tenant that the request names; empty if it names none.
        scopes: The rights of the caller; empty as long as callers are anonymous.
    """

    subject: str = ""
    tenant: str = ""
    scopes: frozenset[str] = frozenset()
