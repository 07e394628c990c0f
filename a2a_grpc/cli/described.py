"""Times, messages and files in a few words."""

import json
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from a2a_grpc.parts import text_of, to_python
from a2a_grpc.wire import Artifact, Part

CLOCKS_DIFFER_S = 60
"""A time that is at most so many seconds ahead counts as now, since the agent's clock may differ."""


def moment(timestamp: Timestamp) -> str:
    """Return a time as text, of the same width whether or not it is one."""
    try:
        return timestamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return "(no valid time)    "


def age(timestamp: Timestamp, now_s: float) -> str:
    """Return how long ago a time was, in the largest unit that fits: `45s`, `12m`, `3h`, `6d`.

    Return `-` if there is no time, or if it is in the future."""
    passed_s = int(now_s - timestamp.seconds)
    if not timestamp.seconds or passed_s < -CLOCKS_DIFFER_S:
        return "-"
    for unit, length_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if passed_s >= length_s:
            return f"{passed_s // length_s}{unit}"
    return f"{max(passed_s, 0)}s"


def said_in(parts: Sequence[Part], *, with_data: bool = False) -> str:
    """Return the text of a message, then its files, a line each. Data is shown if there is nothing else and it is
    wanted."""
    files = [describe_file(part) for part in parts if part.WhichOneof("content") in ("raw", "url")]
    said = "\n".join(filter(None, (text_of(parts), *files)))
    if said or not with_data:
        return said
    return ", ".join(json_of_data(part) for part in parts if part.HasField("data"))


def json_of_data(part: Part, *, is_narrow: bool = False) -> str:
    """Return the data of a part as JSON, with sorted names: a part keeps no order.

    Args:
        part: The part.
        is_narrow: True if the output can show ASCII only.
    """
    return json.dumps(to_python(part.data), ensure_ascii=is_narrow, sort_keys=True)


def describe_file(part: Part, artifact: Artifact | None = None) -> str:
    """Return the name, the type, and the size or address of a file, in one line."""
    name = part.filename or (artifact.name if artifact else "") or "file"
    where = part.url if part.WhichOneof("content") == "url" else f"{len(part.raw)} bytes"
    return f"[{name}{f', {part.media_type}' if part.media_type else ''}, {where}]"
