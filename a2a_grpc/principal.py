"""The caller of an operation."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

ANONYMOUS = "anonymous"
"""The method of callers that showed no credentials."""
CUSTOM = "custom"
"""The method of callers that an authenticator has named without a method."""

_TEXTS = ("subject", "method", "issuer", "tenant", "actor", "group")
MAX_CHARS = 256
"""The length of an owner that every store can keep; a longer one is kept as its digest."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one operation.

    A task belongs to the tenant and the owner of the caller that created the task. Requests of other callers do not
    find the task (spec §13.1).

    Attributes:
        subject: The identity of the caller among those of its issuer; empty for an anonymous caller.
        method: How the caller was identified, for example "key", "jwt" or "certificate"; by default "custom", or
            "anonymous" for a caller without subject and group.
        issuer: The party that vouches for the subject, for example the URL of an identity provider.
        tenant: The tenant of the request.
        tenants: The tenants whose requests the credentials allow; None for all tenants.
        scopes: The rights of the caller.
        actor: The subject that acts for the caller (RFC 8693, `act`); empty if the caller acts itself.
        claims: Further facts that the credentials hold, as JSON values.
        group: The name of a group that owns the tasks of its members in common; empty if the caller owns its tasks.
        expires_at: The Unix time in seconds until which the credentials are accepted; None if they have no end. A
            stream of the caller ends then.
        owner: The owner of the caller's tasks. Two callers have one owner only if method, issuer and subject are the
            same, or method, issuer and group. Empty for an anonymous caller.
    """

    subject: str = ""
    method: str = ""
    issuer: str = ""
    tenant: str = ""
    tenants: frozenset[str] | None = None
    scopes: frozenset[str] = frozenset()
    actor: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False)
    group: str = ""
    expires_at: float | None = None
    owner: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._check_types()
        if not self.method:
            object.__setattr__(self, "method", CUSTOM if self.subject or self.group else ANONYMOUS)
        object.__setattr__(self, "owner", self._owner())

    def _check_types(self) -> None:
        """Raise TypeError or ValueError for a value that is no identity, or gives the caller more than was meant."""
        for name in _TEXTS:
            if not isinstance(value := getattr(self, name), str):
                raise TypeError(f"{name} of a principal is of the type {type(value).__name__}; it must be a text")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{name} of a principal has half of a surrogate pair, which is no character") from None
        for name in ("tenants", "scopes"):
            value = getattr(self, name)
            if isinstance(value, str):  # each part of the text would count as a tenant or a scope
                raise TypeError(f"{name} of a principal is a text; it must be a set of texts")
            if value is not None and not isinstance(value, frozenset):
                object.__setattr__(self, name, frozenset(value))

        self._check_end()

    def _check_end(self) -> None:
        """Raise TypeError or ValueError for an end that is no point in time."""
        end = self.expires_at
        if end is None:
            return
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise TypeError(f"expires_at of a principal is of the type {type(end).__name__}; it must be a Unix time")
        if not math.isfinite(end):
            raise ValueError(f"expires_at of a principal is {end}; it must be a Unix time, or None for no end")

    def _owner(self) -> str:
        if self.is_anonymous:
            return ""
        identity = [self.method, self.issuer, *(("", self.group) if self.group else (self.subject,))]
        owner = json.dumps(identity, separators=(",", ":"))
        return owner if len(owner) <= MAX_CHARS else "sha256:" + hashlib.sha256(owner.encode()).hexdigest()

    @property
    def is_anonymous(self) -> bool:
        """True for a caller that showed no credentials."""
        return self.method == ANONYMOUS

    @property
    def key(self) -> str:
        """64 hexadecimal digits that stand for the tenant and the owner.

        The key is the same for each call of the caller, and no other caller has it. Use it to build keys of your own,
        for example for sessions or files. It does not tell who the caller is.
        """
        return hashlib.sha256(json.dumps([self.tenant, self.owner]).encode()).hexdigest()

    def at(self, tenant: str) -> "Principal":
        """Return the caller of a request that names a tenant.

        Args:
            tenant: The tenant of the request.
        """
        return self if tenant == self.tenant else replace(self, tenant=tenant)

    def to_json(self) -> str:
        """Return the caller as JSON text, without the tenant of the request and the end of the credentials.

        Stores keep this text; `from_json` reads it.
        """
        if self.is_anonymous:
            return ""
        said: dict[str, Any] = {"method": self.method, "issuer": self.issuer, "subject": self.subject}
        said |= {"actor": self.actor, "group": self.group, "claims": dict(self.claims), "scopes": sorted(self.scopes)}
        said = {name: value for name, value in said.items() if value}
        if self.tenants is not None:
            said["tenants"] = sorted(self.tenants)
        return json.dumps(said)

    @classmethod
    def from_json(cls, text: str, *, tenant: str) -> "Principal":
        """Return the caller that `to_json` has described.

        Args:
            text: What `to_json` returned.
            tenant: The tenant of the caller's task.
        """
        said = json.loads(text) if text else {}
        return cls(tenant=tenant, **said)
