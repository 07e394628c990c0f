"""Decide where the failure of a call came from: from the agent, or from what is between the agent and the client.

Every call of the client asks here (`status.to_error`): unary calls, streams before and after their first element,
polling, health checks. The table of what is tried again is in docs/client.md.
"""

import re
from enum import Enum

import grpc


class Origin(Enum):
    """How far a call came that has failed."""

    ANSWERED = "the agent, or a server or proxy before the agent, refused the call for good"
    """The failure is an answer. The same call would get the same answer."""
    LOST = "the call may have reached the agent"
    """A call that changes something may be sent again only if the agent takes repeated calls for one."""
    REFUSED = "a server refused the stream before the agent got the call (RFC 9113 §8.7)"
    """Nothing was begun: any call may be sent again."""
    UNREACHED = "there was no connection"
    """Nothing was sent: any call may be sent again."""

    @property
    def is_unsent(self) -> bool:
        """True if the agent has certainly not begun with the call."""
        return self in (Origin.REFUSED, Origin.UNREACHED)


MADE_UP = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
}
"""Status codes that proxies give, and that gRPC gives to a connection that failed. An agent sends details with them."""

# How gRPC's own texts begin, in all versions: the newer ones wrap the reason why a stream was broken off. The same
# words further on in a text may be an agent's, of a call that the agent made itself.
REMOVED = re.compile(r"Stream removed \((.*)\)", re.DOTALL)
UNREACHED = re.compile("failed to connect to all addresses|DNS resolution failed|errors resolving|empty address list")
"""There was no connection."""
GOAWAY = re.compile(r"(?:Stream removed \()?GOAWAY received; Error code: (\d+)")
"""The stream was above the last one that the other side has taken. The streams below go on."""
RESET = re.compile(r"(?:Stream removed \()?(?:RST_STREAM \()?Received RST_STREAM with error code (\d+)")
"""The other side broke the stream off."""
PAGE = re.compile(r"(?:Stream removed \()?Received http2 header with status: (\d+)")
"""The answer was an HTTP page, as proxies send them."""

REFUSED_STREAM = 7

PASSING_PAGES = {408, 421, 425, 429}
LASTING_PAGES = {501, 505, 511}
"""Statuses of HTTP that differ from their hundred: a 4xx is an answer, a 5xx passes."""

CUT = ("Data frame with END_STREAM flag received", "No status received", "Stream removed", "")
"""What gRPC says of a response that ended without a status: also of a page whose own status gRPC has overlooked."""

OWN_DEADLINE = ("Deadline Exceeded", "Stream removed (Deadline Exceeded)")
"""What gRPC says of a deadline that passed on this side."""

TOO_LARGE = re.compile(r"[Rr]eceived message larger than max|[Ss]ent message larger than max|metadata size exceeds")
"""What gRPC says, on either side, of messages or metadata over a limit: they do not get smaller by being sent again."""

CRASHED = re.compile(
    r"Unexpected <class '|Exception (calling application|iterating responses|servicing handler|(de)?serializing )|"
    r"Unknown error type: |Application error processing RPC|Exception was thrown by handler|Server method handler threw"
)
"""How the text of an exception in a server's own code begins, as the gRPC libraries and the official SDK write it."""

RESETS = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip
"""Names of the error codes (RFC 9113 §7)."""


def origin_of(code: grpc.StatusCode, text: str, *, has_details: bool, is_late: bool = True) -> Origin:
    """Return how far a call came that ended with this status.

    `has_details`: the status came with `google.rpc` details, which agents send and proxies do not. `is_late`: the
    call had a deadline, and the deadline may have passed.
    """
    if has_details:
        return Origin.ANSWERED
    if code is grpc.StatusCode.UNAVAILABLE:
        if UNREACHED.match(text):
            return Origin.UNREACHED
        if GOAWAY.match(text):
            return Origin.REFUSED
    if found := RESET.match(text):
        return Origin.REFUSED if int(found[1]) == REFUSED_STREAM else Origin.LOST
    if (status := page_of(text)) is not None:
        return Origin.LOST if is_transient(status) else Origin.ANSWERED
    if code not in MADE_UP or TOO_LARGE.search(text) or CRASHED.match(text):
        return Origin.ANSWERED
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and is_late and text in OWN_DEADLINE:
        return Origin.ANSWERED
    return Origin.LOST


def page_of(text: str) -> int | None:
    """Return the HTTP status of a page that came in place of an answer; None for any other failure."""
    found = PAGE.match(text)
    return int(found[1]) if found else None


def is_transient(status: int) -> bool:
    """Return True for an HTTP status that the same request may not get again."""
    if 300 <= status < 500:
        return status in PASSING_PAGES
    return status not in LASTING_PAGES


def in_words(code: grpc.StatusCode, text: str) -> str:
    """Return what a status that no agent gave says, in the same words for every version of gRPC."""
    if found := RESET.match(text):
        number = int(found[1])
        return f"the stream was reset ({RESETS[number] if number < len(RESETS) else number})"
    if found := GOAWAY.match(text):
        number = int(found[1])
        return f"the server ended the connection (GOAWAY, {RESETS[number] if number < len(RESETS) else number})"
    if (status := page_of(text)) is not None:
        return f"a proxy answered with HTTP {status}"
    inner = REMOVED.fullmatch(text)
    reason = inner[1] if inner else text
    if code is grpc.StatusCode.UNKNOWN and reason in CUT:
        return "the response ended without a status"
    if code is grpc.StatusCode.CANCELLED and not reason:
        return "the agent, or a proxy before the agent, canceled the call"
    return f"{reason} ({code.name})" if reason else f"{code.name} without a text"
