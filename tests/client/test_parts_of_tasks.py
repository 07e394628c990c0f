"""What comes out of tasks, messages and artifacts: text, data, files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import Artifact, Message, Part, Task, TaskArtifactUpdateEvent
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import Json, data_of, file_part, files_of, text_of, to_dict, user_message, value
from a2a_grpc.wire import ROLE_USER, TaskStatus
from tests.client.local_agents import client_of, script
from tests.covers import covers
from tests.harness import Served


def artifact(*parts: Part, id: str = "a") -> Artifact:
    return Artifact(artifact_id=id, parts=parts)


def data(content: Json) -> Part:
    return Part(data=value(content))


def task(*artifacts: Artifact, says: list[Part] | None = None) -> Task:
    status = TaskStatus(state=COMPLETED)
    if says is not None:
        status.message.parts.extend(says)
    return Task(id="t-1", status=status, artifacts=artifacts)


TEXT, PDF = Part(text="text"), Part(url="https://files.example/a.pdf")
RAW = Part(raw=b"\x00", filename="a.bin")


@covers("S1-18")
def test_the_text_of_a_task_is_that_of_all_its_artifacts_in_their_order() -> None:
    made = task(artifact(Part(text="one, ")), artifact(Part(text="t"), RAW, Part(text="wo")))
    assert text_of(made) == "one, two"


@covers("S1-18")
def test_an_artifact_without_text_does_not_hide_an_earlier_one_that_has_some() -> None:
    made = task(artifact(Part(text="the answer")), artifact(data({"progress": 1})), artifact(RAW))
    assert text_of(made) == "the answer"


@covers("S1-18")
def test_without_text_in_any_artifact_it_is_that_of_the_status() -> None:
    assert text_of(task(artifact(data(1)), says=[Part(text="done"), Part(text=" now")])) == "done now"
    assert text_of(task(says=[Part(text="done")])) == "done"


@covers("S1-18")
def test_the_text_of_an_artifact_wins_over_that_of_the_status() -> None:
    assert text_of(task(artifact(Part(text="the answer")), says=[Part(text="done")])) == "the answer"


@pytest.mark.parametrize("empty", [Task(), task(), task(artifact()), task(artifact(Part(text=""))), Message(), []])
def test_where_there_is_no_text_it_is_empty(empty: Any) -> None:
    assert text_of(empty) == ""


SOURCES: dict[str, Callable[[list[Part]], Any]] = {
    "a message": lambda parts: Message(parts=parts),
    "an artifact": lambda parts: Artifact(parts=parts),
    "the artifact of an event": lambda parts: TaskArtifactUpdateEvent(artifact=Artifact(parts=parts)).artifact,
    "a list of parts": list,
    "parts one by one": iter,
    "the parts of a message": lambda parts: Message(parts=parts).parts,
}


@covers("S1-46")
@pytest.mark.parametrize("name", SOURCES)
def test_text_data_and_files_come_out_of_whatever_holds_parts(name: str) -> None:
    pieces = [Part(text="a"), data({"n": 1}), RAW, Part(text="b"), PDF, data({"n": 2})]
    assert text_of(SOURCES[name](pieces)) == "ab"
    assert data_of(SOURCES[name](pieces)) == {"n": 1}
    assert files_of(SOURCES[name](pieces)) == [RAW, PDF]


def test_the_data_of_a_task_is_that_of_its_last_artifact_that_has_some() -> None:
    assert data_of(task(artifact(data(1)), artifact(TEXT, data([2]), data(3)), artifact(TEXT))) == [2]


def test_the_data_of_a_task_is_else_that_of_its_status() -> None:
    assert data_of(task(artifact(TEXT), says=[TEXT, data({"choices": ["a"]})])) == {"choices": ["a"]}
    assert data_of(task(artifact(data(1)), says=[data(2)])) == 1


@pytest.mark.parametrize("falsy", [None, 0, False, "", [], {}])
def test_data_that_is_empty_or_null_is_data_and_the_last_counts(falsy: Json) -> None:
    assert data_of(task(artifact(data(1)), artifact(data(falsy)))) == falsy


def test_where_there_is_no_data_it_is_none() -> None:
    assert data_of(task(artifact(TEXT, RAW), says=[TEXT])) is None


def test_the_files_of_a_task_are_those_of_all_its_artifacts_in_order() -> None:
    assert files_of(task(artifact(RAW, TEXT), artifact(data(1)), artifact(PDF), says=[Part(raw=b"no")])) == [RAW, PDF]
    assert files_of(task(artifact(TEXT))) == []


def test_an_empty_file_is_a_file() -> None:
    assert files_of([Part(raw=b"", filename="empty")]) == [Part(raw=b"", filename="empty")]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.pdf", "application/pdf"),
        ("a.png", "image/png"),
        ("a.txt", "text/plain"),
        ("A.JSON", "application/json"),
        ("a.unheard-of", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_a_file_becomes_a_part_with_its_name_and_the_type_that_the_name_tells(
    tmp_path: Path, name: str, media_type: str
) -> None:
    (tmp_path / name).write_bytes(b"\x00content")
    expected = Part(raw=b"\x00content", filename=name, media_type=media_type)
    assert file_part(tmp_path / name) == file_part(str(tmp_path / name)) == expected


def test_the_type_of_a_file_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"# hi")
    assert file_part(tmp_path / "a.txt", media_type="text/markdown").media_type == "text/markdown"


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.pdf"):
        file_part(tmp_path / "none.pdf")


def test_a_message_of_the_user_holds_what_it_is_made_of() -> None:
    message = user_message(
        ["look", RAW], task_id="t-1", context_id="c-1", reference_task_ids=["t-0"], metadata={"skill": "read", "n": 1}
    )
    assert (message.role, message.task_id, message.context_id) == (ROLE_USER, "t-1", "c-1")
    assert list(message.reference_task_ids) == ["t-0"]
    assert list(message.parts) == [Part(text="look"), RAW]
    assert to_dict(message.metadata) == {"skill": "read", "n": 1}


@covers("IDS-3")
def test_a_message_of_the_user_has_an_id_of_its_own_and_nothing_that_was_not_given() -> None:
    first, second = user_message("hello"), user_message("hello")
    assert first.message_id
    assert first.message_id != second.message_id
    assert not first.HasField("metadata")
    assert (first.task_id, first.context_id, list(first.reference_task_ids)) == ("", "", [])


async def test_files_text_and_data_come_back_from_an_agent(served: Served, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    picture = file_part(tmp_path / "picture.png")
    async with client_of(served) as client:
        echo = await client.send(["look:", picture, data({"n": 1})])
        several = await client.send(
            script(
                {"artifact": {"id": "text", "text": "words"}},
                {"artifact": {"id": "raw", "raw_base64": "AAE="}},
                {"artifact": {"id": "url", "url": "https://files.example/a.pdf"}},
                {"artifact": {"id": "data", "data": {"n": 2}}},
            )
        )
    assert (text_of(echo), data_of(echo), files_of(echo)) == ("look:", {"n": 1}, [picture])
    assert (text_of(several), data_of(several)) == ("words", {"n": 2})
    assert [(part.raw, part.url) for part in files_of(several)] == [(b"\x00\x01", ""), (b"", PDF.url)]
