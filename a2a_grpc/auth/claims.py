"""From the claims of a verified token to the caller that they name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from a2a_grpc.auth.protocol import EXPIRED, Refused
from a2a_grpc.principal import Principal
from a2a_grpc.text import flaw

METHOD = "jwt"
MAX_TIME_S = 253_402_300_799
"""The end of the year 9999. A larger time is a mistake, such as milliseconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the claims of a token must be, and which of them name tenants, scopes and owner. `Jwt` describes each."""

    issuer: str
    audiences: frozenset[str]
    leeway_s: float
    required: tuple[str, ...]
    tenant_claim: str | None
    scopes_claim: str
    owner_claim: str | None


def principal_of(claims: Mapping[str, Any], rules: Rules, now: float) -> Principal:
    """Return the caller that the claims of a verified token name.

    Args:
        claims: The claims of a token of the issuer.
        rules: What the claims must be.
        now: The Unix time in seconds.

    Raises:
        Refused: A claim is missing or malformed, or the token is not for this agent or not for this time.
    """
    for name in rules.required:
        if claims.get(name) is None:
            raise Refused(f"claim {name} missing")
    expires_at = _check_times(claims, rules.leeway_s, now)
    if rules.audiences.isdisjoint(_texts(claims, "aud")):
        raise Refused("audience")
    return Principal(
        subject=_name(claims, "sub"),
        method=METHOD,
        issuer=rules.issuer,
        tenants=_tenants(claims, rules.tenant_claim),
        scopes=_scopes(claims, rules.scopes_claim),
        actor=_actor(claims),
        claims=MappingProxyType(dict(claims)),
        group=_group(claims, rules.owner_claim),
        expires_at=expires_at,
    )


def _check_times(claims: Mapping[str, Any], leeway_s: float, now: float) -> float | None:
    """Return the time until which the token is accepted, leeway included, or None if it does not expire."""
    expires_at = _time(claims, "exp")
    if expires_at is not None:
        expires_at += leeway_s
        if now >= expires_at:
            raise Refused("expired", EXPIRED)
    for name in ("nbf", "iat"):
        begins_at = _time(claims, name)
        if begins_at is not None and now < begins_at - leeway_s:
            raise Refused(f"claim {name} ahead")
    return expires_at


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= MAX_TIME_S:  # nor NaN
        raise Refused(f"claim {name}")
    return float(value)


def _name(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim that is a name which every store can keep."""
    value = claims.get(name)
    if not isinstance(value, str) or not value or flaw(value):
        raise Refused(f"claim {name}")
    return value


def _group(claims: Mapping[str, Any], name: str | None) -> str:
    return "" if name is None or claims.get(name) is None else _name(claims, name)


def _tenants(claims: Mapping[str, Any], name: str | None) -> frozenset[str] | None:
    if name is None:
        return None
    return frozenset(_kept(name, _texts(claims, name))) if claims.get(name) is not None else frozenset({""})


def _scopes(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """Return the scopes of a token: a text with spaces (RFC 9068) or a list, in the configured claim or in `scp`."""
    for each in (name, "scp"):
        if claims.get(each) is not None:
            scopes = [scope for text in _texts(claims, each) for scope in text.split(" ") if scope]
            return frozenset(_kept(each, scopes))
    return frozenset()


def _actor(claims: Mapping[str, Any]) -> str:
    actor = claims.get("act")
    if actor is None:
        return ""
    if not isinstance(actor, dict):
        raise Refused("claim act")
    return _name(actor, "sub")


def _texts(claims: Mapping[str, Any], name: str) -> Sequence[str]:
    """Return the texts of a claim that is one text or a list of texts; none if the token does not have the claim."""
    value = claims.get(name)
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused(f"claim {name}")
    return texts


def _kept(name: str, texts: Sequence[str]) -> Sequence[str]:
    """Return the texts of a claim. Raise Refused if a store cannot keep one of them."""
    if any(flaw(text) for text in texts):
        raise Refused(f"claim {name}")
    return texts
