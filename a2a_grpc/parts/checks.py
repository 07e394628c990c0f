"""Checks of content that has arrived: whether it is JSON, and what the protocol allows."""

import math
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple, cast

from google.protobuf.struct_pb2 import Struct, Value

from a2a_grpc.parts.json_values import MAX_DEPTH, children
from a2a_grpc.plain import dotted
from a2a_grpc.wire import Artifact, Message

VALUES_PER_STEP = 250
"""JSON values between two pauses of `json_steps`. They take less than a millisecond."""


def check_content(source: Message | Artifact) -> None:
    """Raise ValueError for content that the protocol does not allow, such as no parts, an empty part, or NaN."""
    if not source.parts:
        raise ValueError("there are no parts; the protocol wants at least one")
    structs: list[tuple[str, Value | Struct]] = []
    if source.HasField("metadata"):
        structs.append(("metadata", source.metadata))
    for place, piece in enumerate(source.parts):
        match piece.WhichOneof("content"):
            case None:
                raise ValueError(f"parts[{place}] has no content")
            case "data":
                structs.append((f"parts[{place}].data", piece.data))
        if piece.HasField("metadata"):
            structs.append((f"parts[{place}].metadata", piece.metadata))
    for name, json in structs:
        if problem := json_problem(json, name):
            raise ValueError(f"{problem.path}: {problem.text}")


class Budget:
    """How many JSON values may still be looked at."""

    def __init__(self, limit: float = math.inf) -> None:
        self.limit = self.left = limit

    @property
    def is_spent(self) -> bool:
        return self.left < 0


class Problem(NamedTuple):
    """The reason why a value is not JSON, and the path to the wrong part of it."""

    path: str
    text: str


def json_problem(root: Value | Struct, name: str) -> Problem | None:
    """Return why a value is not JSON: NaN or infinity, no kind, too deep. `name` begins the path."""
    steps = json_steps(root, name, Budget())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Problem | None", end.value)


def json_steps(root: Value | Struct, name: str, budget: Budget) -> Generator[None, None, Problem | None]:
    """Do what `json_problem` does within a budget, with a pause after each `VALUES_PER_STEP` values."""
    open_values: list[Iterator[Value | Struct]] = [iter((root,))]  # at each depth what is left to look at
    taken = [0]  # at each depth how many were looked at
    looked_at = 0
    while open_values:
        looked_at += 1
        if looked_at % VALUES_PER_STEP == 0:
            yield
        if (node := next(open_values[-1], None)) is None:
            open_values.pop()
            taken.pop()
            continue
        taken[-1] += 1
        problem = f"is nested deeper than {MAX_DEPTH}" if len(open_values) > MAX_DEPTH + 1 else ""
        if isinstance(node, Value):
            match node.WhichOneof("kind"):
                case None:
                    problem = problem or "contains a value without a kind"
                case "number_value" if not math.isfinite(node.number_value):
                    problem = problem or f"contains {node.number_value}, which is not a JSON number"
                case "null_value" if node.null_value:
                    problem = problem or f"contains the null {int(node.null_value)}; there is only 0"
        if problem:
            return Problem(dotted((name, *_path_to(root, taken))), problem)
        inner = children(node)
        budget.left -= len(inner)  # counted before it is walked
        if budget.is_spent:
            return Problem(name, f"has more than {budget.limit} values")
        if inner:
            open_values.append(iter(inner))
            taken.append(0)
    return None


def _path_to(root: Value | Struct, taken: Sequence[int]) -> Iterator[str | int]:
    """Yield the keys and places that lead from the outermost value to the one that was looked at last."""
    node = root
    for count in taken[1:]:
        key: str | int = count - 1
        if isinstance(node, Struct) or node.WhichOneof("kind") == "struct_value":
            key = list(node.fields if isinstance(node, Struct) else node.struct_value.fields)[count - 1]
        yield key
        node = list(children(node))[count - 1]
