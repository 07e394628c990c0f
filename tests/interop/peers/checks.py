"""What a client peer must have seen, scenario by scenario: see README.md for what each one does.

`Seen.exact` is set where the server is ours: then the elements of a stream are known one by one. Other servers may
send more of them, or fewer; what they add up to is the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict

from a2a_grpc import Artifact, Message, Task, text_of
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING, Fold, payload_of, state_name
from a2a_grpc.parts import to_dict
from a2a_grpc.wire import ROLE_AGENT, ROLE_USER, AgentCard, StreamResponse, TaskStatus

AT_WORK = (SUBMITTED, WORKING)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client printed for a scenario."""

    values: Any
    exact: bool
    tenant: str = ""
    """The tenant that the card names."""
    extensions: Sequence[str] = ()
    """Those that the card offers."""
    is_at_sentinel: bool = False
    """Whether tenants are addresses of agents."""

    def task(self, name: str) -> Task:
        return task_of(self.values[name])

    def stream(self, name: str) -> list[StreamResponse]:
        return [ParseDict(element, StreamResponse(), ignore_unknown_fields=True) for element in self.values[name]]

    def reply(self, name: str) -> Task:
        return task_of(self.values[name]["task"])


def task_of(value: Any) -> Task:
    return ParseDict(value, Task(), ignore_unknown_fields=True)


def shape(elements: Sequence[StreamResponse]) -> list[str]:
    """Each element in a few words: its kind, then its state, or the text of its artifact."""
    shown = []
    for element in elements:
        kind, event = element.WhichOneof("payload"), payload_of(element)
        status: TaskStatus | None = getattr(event, "status", None)
        if status is not None:
            shown.append(f"{kind} {state_name(status.state)}")
        else:
            shown.append(f"{kind} {text_of(event.artifact)}")  # type: ignore[union-attr]
    return shown


def folded(elements: Sequence[StreamResponse]) -> Task:
    folding = Fold(Task())
    for element in elements:
        folding.apply(element)
    return folding.task


def texts(artifacts: Sequence[Artifact]) -> list[str]:
    return [text_of(artifact) for artifact in artifacts]


def differs(error: Any, reason: str, code: str) -> str:
    """How an error differs from the one of this reason and status code, as far as the SDK shows them; "" if not."""
    if not error["type"]:
        return "no error"
    shown = error.get("reason") or NAMES.get(error["type"], error["type"])
    if shown == "INVALID_REQUEST":  # the specification names no reason for this one (ERR-15)
        shown = "INVALID_PARAMS"
    return "" if (shown, error.get("code", code)) == (reason, code) else f"{shown} {error.get('code', '')}".rstrip()


def check_error(error: Any, reason: str, code: str) -> None:
    assert differs(error, reason, code) == ""


def check_message(message: Message, text: str) -> None:
    assert (text_of(message), message.role) == (text, ROLE_AGENT)


# -- scenarios


def card(seen: Seen) -> None:
    found = ParseDict(seen.values, AgentCard(), ignore_unknown_fields=True)
    (interface,) = found.supported_interfaces
    assert found.name
    assert found.capabilities.streaming
    assert (interface.protocol_binding, interface.protocol_version) == ("GRPC", "1.0")
    assert interface.tenant == seen.tenant
    assert [extension.uri for extension in found.capabilities.extensions] == list(seen.extensions)


def send(seen: Seen) -> None:
    task = seen.task("task")
    assert task.status.state == COMPLETED
    assert [(artifact.artifact_id, text_of(artifact)) for artifact in task.artifacts] == [("a-1", "done")]
    assert task.history[0].role == ROLE_USER


def message(seen: Seen) -> None:
    found = ParseDict(seen.values["message"], Message(), ignore_unknown_fields=True)
    check_message(found, "Good morning")
    assert found.message_id
    assert found.context_id
    assert not found.task_id


def start(seen: Seen) -> None:
    first, later = seen.task("first"), seen.task("later")
    at_once = AT_WORK if seen.exact else (*AT_WORK, INPUT_REQUIRED)  # a server may read what became of it meanwhile
    assert first.status.state in at_once
    assert (later.id, later.context_id, later.status.state) == (first.id, first.context_id, INPUT_REQUIRED)
    check_message(later.status.message, "Which date?")
    assert texts(later.artifacts) == ["draft"]


def stream(seen: Seen) -> None:
    elements, stored = seen.stream("elements"), seen.task("stored")
    if seen.exact:
        assert shape(elements) == [
            "task SUBMITTED",
            "status_update WORKING",
            "status_update WORKING",
            "artifact_update chunk 0 ",
            "artifact_update chunk 1 ",
            "artifact_update chunk 2 ",
            "status_update COMPLETED",
        ]
        check_message(elements[2].status_update.status.message, "half way")
        assert [element.artifact_update.append for element in elements[3:6]] == [False, True, True]
    assert elements[0].WhichOneof("payload") == "task"
    updates = [element.artifact_update for element in elements if element.HasField("artifact_update")]
    assert [update.last_chunk for update in updates] == [False, False, True]
    task = folded(elements)
    assert (task.id, task.context_id) == (stored.id, stored.context_id)
    assert texts(task.artifacts) == texts(stored.artifacts) == ["chunk 0 chunk 1 chunk 2 "]
    assert task.status.state == stored.status.state == COMPLETED
    check_message(stored.status.message, "all done")


def turns(seen: Seen) -> None:
    first, second = seen.stream("first"), seen.stream("second")
    stored, newest = seen.task("stored"), seen.task("newest")
    if seen.exact:
        assert shape(first) == ["task SUBMITTED", "status_update WORKING", "status_update INPUT_REQUIRED"]
        assert shape(second) == ["task WORKING", "artifact_update booked", "status_update COMPLETED"]
    asked = folded(first)
    assert asked.status.state == INPUT_REQUIRED
    check_message(asked.status.message, "Which date?")
    assert folded(second).status.state == stored.status.state == COMPLETED
    assert (stored.id, texts(stored.artifacts)) == (asked.id, ["booked"])
    said = [(message.role, text_of(message)) for message in stored.history]
    assert said[0][0] == ROLE_USER
    assert said[1:] == [(ROLE_AGENT, "Which date?"), (ROLE_USER, "tomorrow")], [text for _, text in said[1:]]
    assert list(newest.history) == list(stored.history[-1:])


def subscribe(seen: Seen) -> None:
    watched, answered = seen.stream("watched"), seen.reply("answered")
    if seen.exact:
        assert shape(watched) == [
            "task INPUT_REQUIRED",
            "status_update WORKING",
            "status_update WORKING",
            "artifact_update x",
            "status_update COMPLETED",
        ]
    assert shape(watched)[0] == "task INPUT_REQUIRED"
    assert folded(watched).status.state == answered.status.state == COMPLETED
    assert texts(folded(watched).artifacts) == texts(answered.artifacts) == ["x"]


def cancel(seen: Seen) -> None:
    watched, canceled = seen.stream("watched"), seen.task("canceled")
    assert watched[0].task.status.state in AT_WORK
    assert folded(watched).status.state == canceled.status.state == CANCELED
    if "type" in seen.values["again"]:  # servers differ in what a second cancel gives (OPEN-5)
        assert not seen.exact
        check_error(seen.values["again"], "TASK_NOT_CANCELABLE", "FAILED_PRECONDITION")
    else:
        assert seen.task("again").status == canceled.status


def leave(seen: Seen) -> None:
    assert seen.task("left").status.state in AT_WORK
    assert seen.task("canceled").status.state == CANCELED


def pages(seen: Seen) -> None:
    made, found = seen.values["made"], seen.values["pages"]
    assert [task_id for page in found for task_id in page] == made[::-1], "the newest comes first"
    if len(found) > 1:
        assert [len(page) for page in found if page] == [2, 2, 1]
    assert seen.values.get("total", 5) == 5
    assert [texts(task_of(value).artifacts) for value in seen.values["with_artifacts"]] == [
        [f"result {number}"] for number in reversed(range(5))
    ]


NOT_FOUND = ("TASK_NOT_FOUND", "NOT_FOUND")
UNSUPPORTED = ("UNSUPPORTED_OPERATION", "FAILED_PRECONDITION")
INVALID = ("INVALID_PARAMS", "INVALID_ARGUMENT")
NAMES = {
    "TaskNotFoundError": "TASK_NOT_FOUND",
    "TaskNotCancelableError": "TASK_NOT_CANCELABLE",
    "UnsupportedOperationError": "UNSUPPORTED_OPERATION",
    "InvalidParamsError": "INVALID_PARAMS",
}
"""The errors of SDKs that show no reason, by name."""
ERRORS = {
    "get_unknown": NOT_FOUND,
    "cancel_unknown": NOT_FOUND,
    "subscribe_unknown": NOT_FOUND,
    "cancel_done": ("TASK_NOT_CANCELABLE", "FAILED_PRECONDITION"),
    "subscribe_done": UNSUPPORTED,
    "send_to_done": UNSUPPORTED,
    "no_parts": INVALID,
    "page_size": INVALID,
}


def errors(seen: Seen) -> None:
    # Our client reads a task that has ended where it cannot subscribe to it.
    others = {
        name: other for name, (reason, code) in ERRORS.items()
        if name in seen.values and (other := differs(seen.values[name], reason, code))
    }  # fmt: skip
    assert others == {}, f"other errors: {others}"
    if seen.exact:
        check_error(seen.values["bad_script"], *INVALID)
        assert seen.values["done"] in seen.values["cancel_done"]["text"]


def tenants(seen: Seen) -> None:
    assert seen.task("ours").status.state == COMPLETED
    if "as_other" in seen.values:
        check_error(seen.values["as_other"], *(INVALID if seen.is_at_sentinel else NOT_FOUND))


def extensions(seen: Seen) -> None:
    task = seen.task("task")
    assert task.status.state == COMPLETED
    assert to_dict(task.history[0].metadata) == {"urn:test": {"list": [1, "two", None], "flag": True}}
    assert seen.values["asked"] == [*seen.extensions, "urn:unknown"]
    if "activated" in seen.values:
        assert sorted(set(seen.values["activated"])) == sorted(seen.extensions)


CHECKS: dict[str, Callable[[Seen], None]] = {
    check.__name__: check
    for check in (
        *(card, send, message, start, stream, turns, subscribe, cancel, leave, pages),
        *(errors, tenants, extensions),
    )
}
"""By scenario."""
