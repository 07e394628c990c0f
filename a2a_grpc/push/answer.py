"""What follows from the answer of a receiver."""

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

from a2a_grpc.push.delivery import Outcome, Verdict

MAX_RETRY_AFTER_S = 86400.0
"""The longest time, in seconds, that a receiver can ask to wait."""

ASKS_TO_WAIT = (429, 503)


def outcome_of(status: int, retry_after: str | None, now: float) -> Outcome:
    """Return the outcome of an attempt that the receiver answered.

    Args:
        status: The status code of the answer.
        retry_after: The header `Retry-After`, if the answer has one.
        now: The Unix time in seconds.
    """
    reason = f"the receiver answered {status}"
    if 200 <= status < 300:
        return Outcome(Verdict.DELIVERED, reason)
    if status == 410:
        return Outcome(Verdict.GONE, reason)
    if status in (401, 403):
        return Outcome(Verdict.UNAUTHORIZED, reason)
    if 300 <= status < 400:
        return Outcome(Verdict.RETRY, f"{reason}; redirects are not followed")
    wait_s = retry_after_s(retry_after, now) if status in ASKS_TO_WAIT and retry_after else None
    return Outcome(Verdict.RETRY, reason, retry_after_s=wait_s)


def retry_after_s(text: str, now: float) -> float | None:
    """Return the seconds that a header `Retry-After` asks to wait, at most a day. Return None if it cannot be read.

    Args:
        text: The header: seconds, or a date of HTTP.
        now: The Unix time in seconds.
    """
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:16]), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text[:64])
        if moment.tzinfo is None:  # dates of HTTP are in UTC
            moment = moment.replace(tzinfo=UTC)
        wait_s = moment.timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S) if math.isfinite(wait_s) else None
