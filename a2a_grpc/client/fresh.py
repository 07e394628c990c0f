"""How long an HTTP response stays fresh, by the `max-age` of its Cache-Control (RFC 9111)."""

from typing import Any


def directives(headers: Any) -> dict[str, str]:
    """Return the directives of all Cache-Control headers, in small letters."""
    items = ",".join(headers.getall("Cache-Control", [])).split(",")
    return {name.strip().lower(): argument.strip(' "') for name, _, argument in (item.partition("=") for item in items)}


def lifetime_s(headers: Any) -> float | None:
    """Return the seconds for which a response stays fresh; None if it does not say it."""
    told = directives(headers)
    if "no-cache" in told or "no-store" in told:
        return 0.0
    age = told.get("max-age", "")
    return float(age) if age.isdecimal() else None


def validators_of(headers: Any) -> dict[str, str]:
    """Return the header fields with which a client asks if a response has changed. There are none without an ETag."""
    tag = headers.get("ETag", "")
    return {"If-None-Match": tag} if tag and tag.isascii() and tag.isprintable() else {}
