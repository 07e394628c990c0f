"""What a handler returns or yields, as artifacts."""

import uuid
from collections.abc import Sequence
from typing import TypeAlias, cast

from a2a_grpc.agent.outcome import Outcome
from a2a_grpc.parts import Contents, parts
from a2a_grpc.wire import Artifact

Output: TypeAlias = Contents | Artifact | Outcome | Sequence[Artifact]
"""All that a handler may return, or yield piece by piece (an Outcome can only be returned or raised)."""


def artifact(content: Contents, *, artifact_id: str = "", name: str = "", description: str = "") -> Artifact:
    """An artifact with this content; without an id it gets one."""
    return Artifact(
        artifact_id=artifact_id or str(uuid.uuid4()), name=name, description=description, parts=parts(content)
    )


def complete(given: Artifact) -> Artifact:
    """The artifact itself, with an id if it has none."""
    if not given.artifact_id:
        given.artifact_id = str(uuid.uuid4())
    return given


def artifacts(output: Contents | Artifact | Sequence[Artifact], *, name: str) -> list[Artifact]:
    """The artifacts for a returned value: none for None, each of a list of artifacts, else one called `name`."""
    match output:
        case None:
            return []
        case Artifact():
            return [output]
        case [*items] if items and all(isinstance(item, Artifact) for item in items):
            return [item for item in items if isinstance(item, Artifact)]
    return [artifact(cast("Contents", output), name=name)]
