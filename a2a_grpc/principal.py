"""Who calls."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one operation: identity from the transport, tenant from the request.

    Tasks belong to (tenant, subject); nobody else's request finds them. Until authentication is configured every caller
    is the anonymous subject `""`.
    """

    subject: str = ""
    tenant: str = ""
    scopes: frozenset[str] = frozenset()
