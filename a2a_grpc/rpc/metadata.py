"""Read the metadata of a call: version, extensions, the place to resume at, the key of an idempotent send."""

from collections.abc import Iterable
from typing import NamedTuple

from a2a_grpc.errors import (
    ExtensionSupportRequiredError,
    InvalidRequestError,
    VersionNotSupportedError,
    Violation,
)
from a2a_grpc.protocol import ALL_ARTIFACTS, NO_ARTIFACTS, Key
from a2a_grpc.text import MAX_CHARS, flaw
from a2a_grpc.wire import AgentCard

UNSTATED_VERSION = "0.3"
"""The version of a call without `a2a-version` (VER-3)."""

NAMES = frozenset(
    {
        Key.VERSION,
        Key.EXTENSIONS,
        Key.IDEMPOTENCY,
        Key.AFTER,
        Key.CANCEL_ON_DISCONNECT,
        Key.ARTIFACTS,
        Key.TOKEN,
    }
)
"""The entries that are read. All others are for the agent."""
SINGLE = NAMES - {Key.EXTENSIONS, Key.TOKEN}
"""The entries that have one value. If such an entry is repeated, all its values must be equal."""


class CallMetadata(NamedTuple):
    """The A2A parameters of one call (spec §3.2.6, §10.2)."""

    version: str = ""
    extensions: tuple[str, ...] = ()
    idempotency_key: str = ""
    after: int | None = None
    cancel_on_disconnect: bool | None = None
    artifacts: bool = True
    """False if the tasks that the call is given hold no artifacts."""
    token: str = ""
    """The token of a callback."""

    @classmethod
    def read(cls, metadata: Iterable[tuple[str, str | bytes]]) -> "CallMetadata":
        """Read metadata. Repeated and comma-separated entries mean the same (META-3). White space does not count.

        Raises:
            InvalidRequestError: Entries contradict each other (META-7), or a value is not possible.
        """
        version = ""
        extensions: list[str] = []
        key, after, cancel, artifacts, token = "", None, None, True, ""
        known: dict[str, str] = {}
        for name, value in metadata:
            if name in SINGLE:
                given = _text(value).strip()
                if known.setdefault(name, given) != given:
                    raise _refuse(name, f"is given twice, as '{known[name][:32]}' and as '{given[:32]}'")
            match name:
                case Key.VERSION:
                    version = given
                case Key.EXTENSIONS:
                    extensions += [uri for item in _text(value).split(",") if (uri := item.strip())]
                case Key.IDEMPOTENCY:
                    key = _text(value).strip()
                    if not 0 < len(key) <= MAX_CHARS:
                        raise _refuse(Key.IDEMPOTENCY, f"must have 1 to {MAX_CHARS} characters")
                    if found := flaw(key):
                        raise _refuse(Key.IDEMPOTENCY, found)
                case Key.AFTER:
                    text = _text(value).strip()
                    if not (text.isascii() and text.isdecimal() and len(text) < 16):
                        raise _refuse(Key.AFTER, f"is '{text[:32]}'; it must be the seq of an event, 0 or more")
                    after = int(text)
                case Key.CANCEL_ON_DISCONNECT:
                    if value not in ("true", "false"):
                        raise _refuse(Key.CANCEL_ON_DISCONNECT, "must be 'true' or 'false'")
                    cancel = value == "true"
                case Key.ARTIFACTS:
                    if value not in (NO_ARTIFACTS, ALL_ARTIFACTS):
                        raise _refuse(Key.ARTIFACTS, f"must be '{NO_ARTIFACTS}' or '{ALL_ARTIFACTS}'")
                    artifacts = value == ALL_ARTIFACTS
                case Key.TOKEN:
                    token = _text(value).strip()
        return cls(version, tuple(dict.fromkeys(extensions)), key, after, cancel, artifacts, token)


def check_version(version: str, supported: Iterable[str], *, lenient: bool) -> None:
    """Raise VersionNotSupportedError if Major.Minor of `version` is not supported (VER-2, VER-4).

    Args:
        version: The version that the call names. "" counts as 0.3 (VER-3).
        supported: The supported versions.
        lenient: True if a call may name no version (VER-10).
    """
    if not version and lenient:
        return
    known = tuple(supported)
    numbers = version.split(".")
    major_minor = ".".join(numbers[:2])
    if (
        all(number.isascii() and number.isdecimal() for number in numbers)
        and len(numbers) <= 3
        and major_minor in known
    ):
        return
    said = (
        f"version '{version[:32]}' of A2A"
        if version
        else f"a call without '{Key.VERSION}' (which means {UNSTATED_VERSION})"
    )
    raise VersionNotSupportedError(
        f"{said} is not supported here; send the metadata '{Key.VERSION}: {known[0]}'",
        metadata={
            "requested_version": version[:32] or UNSTATED_VERSION,
            "supported_versions": ",".join(known),
        },
    )


def activate(requested: Iterable[str], card: AgentCard) -> tuple[str, ...]:
    """Return the requested extensions that the card offers. Ignore others (EXT-2).

    Raises:
        ExtensionSupportRequiredError: The card requires an extension that the call does not declare (EXT-3).
    """
    wanted = set(requested)
    offered = card.capabilities.extensions
    missing = [extension.uri for extension in offered if extension.required and extension.uri not in wanted]
    if missing:
        raise ExtensionSupportRequiredError(
            f"this agent requires {', '.join(missing)}; list it in the metadata '{Key.EXTENSIONS}'",
            metadata={"required_extensions": ",".join(missing)},
        )
    return tuple(extension.uri for extension in offered if extension.uri in wanted)


def _refuse(field: str, description: str) -> InvalidRequestError:
    return InvalidRequestError.of(Violation(field, description))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
