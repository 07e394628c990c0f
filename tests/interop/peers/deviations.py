"""Deviations of peers from the specification, each of which fails a check. Each run expects all that are listed."""

from dataclasses import dataclass

from tests.interop.peers.checks import CHECKS


@dataclass(frozen=True, slots=True)
class Deviation:
    """A deviation: the number of its note, and a part of the message with which the check fails."""

    note: int
    says: str


NOTES: dict[int, str] = {
    1: "This Java SDK speaks the package `a2a.v1` of a draft of 1.0, with other field numbers. No release on Maven "
    "Central speaks `lf.a2a.v1`. The SDK reads our card. Our server answers its calls with UNIMPLEMENTED, and names "
    "the service that it offers.",
    2: "A message to a task that has ended is refused with INVALID_PARAMS. The specification (§3.1.1) asks for "
    "UNSUPPORTED_OPERATION. Our client goes by the error's reason.",
    3: "A message without parts is accepted. The specification makes `parts` a required field (§5.7).",
    4: "The history has the answer before its question, so its newest message is the question.",
}
"""The notes below the table of docs/interop.md, by number."""

DEVIATIONS: dict[tuple[str, str, str], Deviation] = {
    **{
        ("a2a-java", "a2a-grpc", scenario): Deviation(1, "a2a.v1.A2AService is another version's")
        for scenario in CHECKS
        if scenario not in ("card", "errors")
    },
    ("a2a-java", "a2a-grpc", "errors"): Deviation(1, "'get_unknown': 'UNSUPPORTED_OPERATION'"),
    ("a2a-grpc", "a2a-sdk 1.0 (Python)", "errors"): Deviation(
        2, "other errors: {'send_to_done': 'INVALID_PARAMS INVALID_ARGUMENT'}"
    ),
    ("a2a-grpc", "a2a-go", "errors"): Deviation(2, "other errors: {'send_to_done': 'INVALID_PARAMS INVALID_ARGUMENT'}"),
    ("a2a-grpc", "a2a-go", "turns"): Deviation(4, "['tomorrow', 'Which date?']"),
    ("a2a-grpc", "a2a-js", "errors"): Deviation(3, "other errors: {'no_parts': 'no error'}"),
}
"""By client, server, scenario."""
