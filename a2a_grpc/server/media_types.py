"""The media types that an agent accepts, as its card says."""

from collections.abc import Iterable
from functools import lru_cache

from a2a_grpc.errors import ContentTypeNotSupportedError, Violation
from a2a_grpc.wire import AgentCard, Part

MEANT = {"text": "text/plain", "data": "application/json"}
"""The media type of a part that declares none, by the kind of its content."""

KNOWN_MEDIA_TYPES = 128
"""The number of media types for which it is remembered whether the agent accepts them."""


class MediaTypes:
    """The media types that the skills of a card accept."""

    def __init__(self, card: AgentCard) -> None:
        modes = [*card.default_input_modes, *(mode for skill in card.skills for mode in skill.input_modes)]
        self._accepted = frozenset(mode.partition(";")[0].strip().lower() for mode in modes)
        self.accept = lru_cache(KNOWN_MEDIA_TYPES)(self._accept)

    def check(self, parts: Iterable[Part]) -> None:
        """Raise ContentTypeNotSupportedError if a part of a message has a type that is not accepted (SEND-8)."""
        for place, part in enumerate(parts):
            kind = part.WhichOneof("content") or ""
            if not self.accept(part.media_type, kind):
                media_type = _media_type(part.media_type, kind)
                accepted = ", ".join(sorted(self._accepted))
                raise ContentTypeNotSupportedError(
                    f"message.parts[{place}]: media type '{media_type[:100]}' is not supported; there are {accepted}",
                    metadata={"media_type": media_type[:100]},
                    violations=[Violation(f"message.parts[{place}].media_type", f"must be one of {accepted}")],
                )

    def _accept(self, declared: str, kind: str) -> bool:
        media_type = _media_type(declared, kind)
        family = media_type.partition("/")[0]
        return bool(self._accepted & {media_type, f"{family}/*", "*/*", "*"})


def _media_type(declared: str, kind: str) -> str:
    """Return the declared type without parameters, in lower case, or the type for the kind of the content (OPEN-19)."""
    if declared:
        return declared.partition(";")[0].strip().lower()
    return MEANT.get(kind, "application/octet-stream")
