"""The answer to a notification."""

import math
from dataclasses import dataclass
from typing import Self

RETRY_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request.

    Attributes:
        status: The status code.
        reason: What is wrong, for people; empty if nothing is.
        retry_after_s: Seconds after which the same notification may be accepted.
    """

    status: int
    reason: str = ""
    retry_after_s: float | None = None

    @classmethod
    def later(cls, retry_after_s: float | None) -> Self:
        """Return the answer that asks for the same notification later.

        Args:
            retry_after_s: Seconds after which it may be accepted, if this is known.
        """
        return cls(503, "the notification cannot be verified now", retry_after_s or RETRY_AFTER_S)

    @property
    def text(self) -> str | None:
        """The content, or None if the answer has none."""
        return f"{self.reason}\n" if self.reason else None

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers, without those that describe the content."""
        if self.status == 405:
            return (("Allow", "POST"),)
        if self.status == 401:
            return (("WWW-Authenticate", "A2A-Notification"),)
        if self.retry_after_s is not None:
            return (("Retry-After", str(math.ceil(self.retry_after_s))),)
        return ()
