"""Artifacts from the values that a handler returns or yields."""

from collections.abc import Sequence
from typing import TypeAlias, cast

from a2a_grpc.agent.outcome import Outcome
from a2a_grpc.parts import Contents, put
from a2a_grpc.wire import Artifact

Output: TypeAlias = Contents | Artifact | Outcome | Sequence[Artifact]
"""A value that a handler may return, or yield piece by piece. An Outcome can only be returned or raised."""


def artifact(content: Contents, *, artifact_id: str, name: str = "", description: str = "") -> Artifact:
    """Return an artifact with this content."""
    return put(content, Artifact(artifact_id=artifact_id, name=name, description=description))


def is_artifacts(output: Output) -> bool:
    """Return True for an artifact, or a list that holds artifacts only."""
    return isinstance(output, Artifact) or (
        isinstance(output, (list, tuple)) and bool(output) and all(isinstance(item, Artifact) for item in output)
    )


def artifacts(output: Output, *, name: str) -> list[Artifact]:
    """Return the artifacts for a value that a handler returned.

    There is none for None, and each of a list of artifacts. Any other value makes one artifact, with this name and
    without an id.
    """
    if output is None:
        return []
    if is_artifacts(output):
        return [output] if isinstance(output, Artifact) else list(cast("Sequence[Artifact]", output))
    return [put(cast("Contents", output), Artifact(name=name))]
