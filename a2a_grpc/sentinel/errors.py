"""The errors that only a sentinel gives."""

from a2a_grpc.errors import InvalidRequestError, UnavailableError

RETRY_S = 0.5
"""Seconds after which a caller tries again: an agent that has lost its sentinel is back within three seconds."""


class AgentGoneError(UnavailableError):
    """The agent is gone, and its calls with it; resume when the agent is back.

    The connection to the agent was lost during the call, or could not be opened.
    """

    reason = "AGENT_GONE"

    def __init__(self) -> None:
        super().__init__("the agent is gone; resume when it is back", retry_after_s=RETRY_S)


class AgentUnreachableError(UnavailableError):
    """The sentinel cannot connect to the agent of a plain route.

    The message does not say where the agent is.
    """

    reason = "AGENT_UNREACHABLE"

    def __init__(self) -> None:
        super().__init__("the sentinel cannot connect to this agent", retry_after_s=RETRY_S)


class NotAttachedError(UnavailableError):
    """No agent is attached at this address that the caller may call.

    The message is the same for an address that was never attached, for one whose agent is away, and for one that the
    caller may not call. So a caller cannot learn which agents exist.
    """

    reason = "AGENT_NOT_ATTACHED"

    def __init__(self) -> None:
        super().__init__("no agent is attached at this address that you may call", retry_after_s=RETRY_S)


class BadCardError(InvalidRequestError):
    """The sentinel cannot serve the card of the agent.

    The card is too large, is no agent card, or names another tenant than that of the agent.
    """

    reason = "BAD_CARD"


class SentinelUnreachedError(NotAttachedError):
    """Another sentinel cannot be reached. Nothing was sent, so the call is passed on to the next one."""
