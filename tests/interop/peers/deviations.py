"""Where peers differ from the specification, and so from what the checks expect; each is looked for in every run."""

from dataclasses import dataclass

from tests.interop.peers.checks import CHECKS


@dataclass(frozen=True, slots=True)
class Deviation:
    """A note, and what the check says that fails for it: if it says something else, that is not what was noted."""

    note: int
    says: str


NOTES: dict[int, str] = {
    1: "This Java SDK speaks the package `a2a.v1` of a draft of 1.0, with other field numbers; no release on Maven "
    "Central speaks `lf.a2a.v1`. It reads our card; our server answers its calls with UNIMPLEMENTED, and names the "
    "service that it has.",
    2: "A message to an ended task is refused with INVALID_PARAMS, not UNSUPPORTED_OPERATION (SEND-7). Our client "
    "goes by the reason.",
    3: "A message without parts is accepted (VAL-3).",
    4: "The history has the answer before its question (HIST-5), and so the question as its newest message.",
}
"""What docs/interop.md says of each."""

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
