"""How long an HTTP response stays fresh, and what is sent back to ask if it has changed (RFC 9111)."""

import time
from email.utils import parsedate_to_datetime
from typing import Any


def is_plain(text: str) -> bool:
    """Return True for a header's value that can be sent back."""
    return bool(text) and text.isascii() and text.isprintable()


def directives(headers: Any) -> dict[str, str]:
    """Return the directives of all Cache-Control headers, in small letters."""
    items = ",".join(headers.getall("Cache-Control", [])).split(",")
    return {name.strip().lower(): argument.strip(' "') for name, _, argument in (item.partition("=") for item in items)}


def lifetime_s(headers: Any) -> float | None:
    """Return the seconds for which a response stays fresh; None if it does not say it.

    These are `max-age` less `Age`, or `Expires` less `Date`.
    """
    told = directives(headers)
    if "no-cache" in told or "no-store" in told:
        return 0.0
    if (age := told.get("max-age", "")).isdecimal():
        spent = headers.get("Age", "0")
        return max(0.0, float(age) - (float(spent) if spent.isdecimal() else 0.0))
    if "Expires" in headers:
        try:
            expires = parsedate_to_datetime(headers["Expires"])
            begun = parsedate_to_datetime(headers["Date"]).timestamp() if "Date" in headers else time.time()
            return max(0.0, expires.timestamp() - begun)
        except (ValueError, TypeError, OverflowError, OSError):
            return 0.0  # an Expires that is no date means: already expired
    return None
