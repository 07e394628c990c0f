"""Texts for a language model: the name and the description of a remote agent, and the answer of its task."""

import json
import re
import unicodedata
from collections.abc import Iterable

from a2a_grpc.client.pieces import progress_in
from a2a_grpc.harmless import harmless, one_line
from a2a_grpc.parts import to_python
from a2a_grpc.wire import AgentCard, Artifact, Part, Task

MAX_DESCRIPTION = 1024
"""Characters of a description, the most that the interfaces of language models allow."""


def name_of(name: str) -> str:
    """Return the name of an agent as one that every interface of a model accepts. It begins with a letter or `_`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    cleaned = re.sub(r"[^a-zA-Z0-9_-]+", "_", plain).strip("_-") or "agent"
    return (cleaned if cleaned[0].isalpha() else f"agent_{cleaned}")[:64]


def description_of(card: AgentCard) -> str:
    """Return what a card says of the agent and its skills, cut off where interfaces of models would refuse more."""
    skills = [f"- {one_line(skill.name)}: {one_line(skill.description)}" for skill in card.skills]
    said = "\n".join([harmless(card.description or card.name), *skills]).strip() or "A remote agent."
    return said if len(said) <= MAX_DESCRIPTION else said[: MAX_DESCRIPTION - 1] + "…"


def answer_of(task: Task, *, status: bool = True) -> str:
    """Return the answer of a task as one text.

    Args:
        task: The task.
        status: True to give the message of the status if there is no artifact.
    """
    found = [said for artifact in task.artifacts if (said := _artifact(artifact))]
    if not found and status:
        return shown(task.status.message.parts)
    return "\n".join(found)


def _artifact(artifact: Artifact) -> str:
    return "" if progress_in(artifact) is not None else shown(artifact.parts)


def shown(parts: Iterable[Part]) -> str:
    """Return parts as one text: texts joined, data as JSON, and files by their names."""
    lines: list[str] = []
    text = ""
    for part in parts:
        if part.WhichOneof("content") == "text":
            text += part.text
            continue
        lines += [text, _named(part)]
        text = ""
    return "\n".join(line for line in [*lines, text] if line)


def _named(part: Part) -> str:
    match part.WhichOneof("content"):
        case "data":
            return json.dumps(to_python(part.data), ensure_ascii=False)
        case "url":
            where = part.url
        case _:
            where = f"{len(part.raw)} bytes"
    return f"[file {', '.join(filter(None, [part.filename, part.media_type, where]))}]"
