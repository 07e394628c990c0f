"""The official SDK's client, told nothing but where the card is, does all its work with this server (sdk_client.py)."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.covers import covers
from tests.harness import Program, run_program

Seen = dict[str, Any]
CLIENT = "tests/interop/sdk_client.py"
AT_A_SENTINEL = (
    "card", "blocking_send", "polling_send", "stream", "failed_stream", "turns", "bare_message", "cancel", "subscribe",
    "pages", "errors", "deadline", "extensions", "extended_card",
)  # fmt: skip
"""The scenarios in which the client names the card's tenant only. At a sentinel another tenant is another agent."""


async def seen_by_client(server: Program, *scenarios: str) -> Seen:
    """What a run of the client told, by scenario."""
    code, out, err = await run_program(CLIENT, server.http, *scenarios, timeout_s=100)
    assert code == 0, err[-2000:]
    assert err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    return {line["scenario"]: line["seen"] for line in lines}


@pytest.fixture(scope="module", params=["direct", pytest.param("through a sentinel", marks=pytest.mark.long)])
async def seen(request: pytest.FixtureRequest) -> Seen:
    """All scenarios, on a server whose card names a tenant: the server's own one, or its address at a sentinel."""
    if request.param == "direct":
        async with Program.server("servers/scripted.py", "--no-push", "--tenant", "acme") as server:
            return {**await seen_by_client(server), "address": server.address, "tenant": "acme"}
    there = "acme@fame.fabric"
    async with Program(
        "-m", "a2a_grpc", "sentinel", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen=off"
    ) as sentinel:
        attached = ("--no-push", "--attach", sentinel.address, "--address", there)
        async with Program.server("servers/scripted.py", *attached) as server:
            return {**await seen_by_client(server, *AT_A_SENTINEL), "address": sentinel.address, "tenant": there}


def shape(elements: Iterable[Any]) -> list[str]:
    """Each element of a stream in a few words: kind, then state or content."""
    told = []
    for element in elements:
        ((kind, payload),) = element.items()
        if "status" in payload:
            told.append(f"{kind} {payload['status']['state'].removeprefix('TASK_STATE_')}")
        else:
            told.append(f"{kind} {text(payload.get('artifact', payload))}".rstrip())
    return told


def text(holder: Any) -> str:
    return "".join(part["text"] for part in holder["parts"])


def state(task: Any) -> str:
    return str(task["status"]["state"]).removeprefix("TASK_STATE_")


@covers("CARD-2")
def test_the_card_resolver_finds_the_card_and_the_factory_its_address(seen: Seen) -> None:
    assert seen["card"]["name"] == "Scripted"
    assert seen["card"]["supported_interfaces"] == [
        {"url": seen["address"], "protocol_binding": "GRPC", "tenant": seen["tenant"], "protocol_version": "1.0"}
    ]
    assert seen["card"]["capabilities"]["streaming"] is True
    assert {skill["id"] for skill in seen["card"]["skills"]} == {"reply", "play"}


@covers("SEND-2")
def test_a_blocking_send_gives_the_completed_task_with_its_artifacts(seen: Seen) -> None:
    task = seen["blocking_send"]["task"]
    assert state(task) == "COMPLETED"
    assert task["artifacts"] == [{"artifact_id": "a-1", "parts": [{"text": "done"}]}]


@covers("SEND-3")
def test_a_polling_send_gives_the_task_at_once_and_get_gives_what_it_became(seen: Seen) -> None:
    first, later = seen["polling_send"]["first"], seen["polling_send"]["later"]
    assert state(first) == "SUBMITTED"
    assert "artifacts" not in first
    assert (later["id"], state(later)) == (first["id"], "INPUT_REQUIRED")
    assert text(later["status"]["message"]) == "Which date?"
    assert [text(artifact) for artifact in later["artifacts"]] == ["draft"]


@covers("STRM-4")
def test_a_stream_is_the_task_then_its_events_then_an_ok_end(seen: Seen) -> None:
    elements = seen["stream"]["elements"]
    assert shape(elements) == [
        "task SUBMITTED",
        "status_update WORKING",
        "status_update WORKING",
        "artifact_update chunk 0",
        "artifact_update chunk 1",
        "artifact_update chunk 2",
        "status_update COMPLETED",
    ]
    assert text(elements[2]["status_update"]["status"]["message"]) == "half way"
    assert [element.get("artifact_update", {}).get("append", False) for element in elements[3:6]] == [False, True, True]
    assert elements[5]["artifact_update"]["last_chunk"] is True
    assert text(elements[-1]["status_update"]["status"]["message"]) == "all done"


@covers("ART-2")
def test_the_stored_task_equals_the_fold_of_the_streamed_chunks(seen: Seen) -> None:
    stored, elements = seen["stream"]["stored"], seen["stream"]["elements"]
    chunks = [element["artifact_update"]["artifact"] for element in elements if "artifact_update" in element]
    assert stored["artifacts"] == [
        {"artifact_id": "text", "parts": [part for chunk in chunks for part in chunk["parts"]]}
    ]
    assert stored["status"] == elements[-1]["status_update"]["status"]


@covers("ERR-7")
def test_an_agent_that_raises_fails_its_task_and_the_exceptions_text_stays_inside(seen: Seen) -> None:
    elements = seen["failed_stream"]
    assert shape(elements) == ["task SUBMITTED", "status_update WORKING", "status_update FAILED"]
    assert text(elements[-1]["status_update"]["status"]["message"])
    assert "swordfish" not in json.dumps(elements[1:])


@covers("ST-3")
def test_a_question_ends_the_first_stream_and_its_answer_continues_the_task(seen: Seen) -> None:
    turns = seen["turns"]
    assert shape(turns["first"]) == ["task SUBMITTED", "status_update WORKING", "status_update INPUT_REQUIRED"]
    assert text(turns["first"][-1]["status_update"]["status"]["message"]) == "Which date?"
    assert shape(turns["second"]) == ["task WORKING", "artifact_update booked", "status_update COMPLETED"]
    assert turns["second"][0]["task"]["id"] == turns["first"][0]["task"]["id"]
    assert turns["second"][0]["task"]["context_id"] == turns["first"][0]["task"]["context_id"]


@covers("HIST-3")
def test_history_is_chronological_and_as_long_as_asked_for(seen: Seen) -> None:
    turns = seen["turns"]
    assert [message["role"] for message in turns["stored"]["history"]] == ["ROLE_USER", "ROLE_AGENT", "ROLE_USER"]
    assert text(turns["stored"]["history"][1]) == "Which date?"
    assert text(turns["stored"]["history"][2]) == "tomorrow"
    assert turns["newest"]["history"] == turns["stored"]["history"][-1:]
    assert "history" not in turns["none"]


@covers("STRM-3")
def test_a_bare_message_comes_alone_blocking_and_streamed(seen: Seen) -> None:
    for response in (seen["bare_message"]["blocking"], *seen["bare_message"]["streamed"]):
        message = response["message"]
        assert (text(message), message["role"], message["context_id"]) == ("Good morning", "ROLE_AGENT", "c-bare")
        assert "task_id" not in message
    assert len(seen["bare_message"]["streamed"]) == 1


@covers("CANC-8")
def test_a_cancel_gives_the_canceled_task_and_ends_the_subscription_with_that_event(seen: Seen) -> None:
    cancel = seen["cancel"]
    assert state(cancel["canceled"]) == "CANCELED"
    assert shape(cancel["watched"]) == ["task WORKING", "status_update CANCELED"]
    assert cancel["watched"][-1]["status_update"]["status"] == cancel["canceled"]["status"]


@covers("CANC-5")
def test_a_second_cancel_gives_the_same_task(seen: Seen) -> None:
    assert seen["cancel"]["again"] == seen["cancel"]["canceled"]


@covers("SUB-5")
def test_a_subscription_begins_with_the_task_and_lasts_over_the_answer_until_the_end(seen: Seen) -> None:
    watched = seen["subscribe"]["watched"]
    assert shape(watched) == [
        "task INPUT_REQUIRED",
        "status_update WORKING",
        "status_update WORKING",
        "artifact_update x",
        "status_update COMPLETED",
    ]
    assert state(seen["subscribe"]["answered"]["task"]) == "COMPLETED"
    assert {next(iter(element.values())).get("task_id") for element in watched[1:]} == {watched[0]["task"]["id"]}


@covers("LIST-4")
def test_pages_hold_each_task_once_newest_first(seen: Seen) -> None:
    pages = seen["pages"]
    assert [len(page) for page in pages["pages"]] == [4, 2]
    listed = [task_id for page in pages["pages"] for task_id, _ in page]
    times = [at for page in pages["pages"] for _, at in page]
    assert sorted(listed) == sorted(pages["made"])
    assert times == sorted(times, reverse=True)
    assert (pages["last"]["page_size"], pages["last"]["total_size"]) == (4, 6)


@covers("LIST-2", "LIST-7")
def test_a_list_filters_by_state_and_gives_artifacts_only_when_asked(seen: Seen) -> None:
    pages = seen["pages"]
    (waiting,) = pages["by_state"]["tasks"]
    assert (waiting["id"], state(waiting), pages["by_state"]["total_size"]) == (
        pages["made"][-1], "INPUT_REQUIRED", 1,
    )  # fmt: skip
    assert "history" not in waiting
    assert all("artifacts" not in task for task in pages["last"]["tasks"])
    done = [task for task in pages["with_artifacts"]["tasks"] if state(task) == "COMPLETED"]
    assert done
    assert all(text(task["artifacts"][0]).startswith("result ") for task in done)


@covers("ERR-2")
@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("get_unknown", "TaskNotFoundError"),
        ("cancel_unknown", "TaskNotFoundError"),
        ("subscribe_unknown", "TaskNotFoundError"),
        ("send_to_unknown", "TaskNotFoundError"),
        ("cancel_done", "TaskNotCancelableError"),
        ("subscribe_done", "UnsupportedOperationError"),
        ("send_to_done", "UnsupportedOperationError"),
        ("stream_to_done", "UnsupportedOperationError"),
        ("inline_push", "PushNotificationNotSupportedError"),
        ("get_push", "PushNotificationNotSupportedError"),
    ],
)
def test_the_client_raises_its_own_error_for_ours(seen: Seen, call: str, error: str) -> None:
    assert seen["errors"][call]["type"] == error


@covers("ERR-6")
def test_the_text_of_an_error_names_the_task_and_why(seen: Seen) -> None:
    errors = seen["errors"]
    assert "t-unknown" in errors["get_unknown"]["text"]
    for call in ("cancel_done", "subscribe_done", "send_to_done", "stream_to_done"):
        assert errors["task"] in errors[call]["text"]
        assert "COMPLETED" in errors[call]["text"]


@covers("VAL-2")
@pytest.mark.parametrize(
    ("call", "field"),
    [
        ("no_parts", "message.parts"),
        ("page_size", "page_size"),
        ("other_context", "message.context_id"),
        ("other_version", "a2a-version"),
    ],
)
def test_the_client_learns_which_field_was_refused(seen: Seen, call: str, field: str) -> None:
    """`other_version`: the client adds a version that a caller gives to its own, which contradict each other."""
    error = seen["errors"][call]
    assert error["type"] == "InvalidParamsError"
    assert [violation["field"] for violation in error["data"]["errors"]] == [field]
    assert error["data"]["errors"][0]["message"]


@covers("EVT-4")
def test_a_deadline_ends_the_clients_call_and_not_the_task(seen: Seen) -> None:
    assert seen["deadline"]["error"]["type"] == "A2AClientTimeoutError"
    assert state(seen["deadline"]["canceled"]) == "CANCELED"  # it was WORKING after the deadline, else the client hangs


@covers("EXT-2")
def test_a_requested_extension_does_no_harm_nor_does_an_unknown_one(seen: Seen) -> None:
    assert state(seen["extensions"]["task"]) == "COMPLETED"


@covers("XCRD-5")
def test_without_an_extended_card_the_client_keeps_the_public_one(seen: Seen) -> None:
    """It does not call the server where the public card does not offer an extended one."""
    assert seen["extended_card"] == seen["card"]


@covers("TEN-5")
@pytest.mark.parametrize("seen", ["direct"], indirect=True)
def test_tasks_of_one_tenant_are_not_there_for_another(seen: Seen) -> None:
    tenants = seen["tenants"]
    ours, theirs = tenants["ids"]
    assert (tenants["ours"]["id"], tenants["theirs"]["id"]) == (ours, theirs)
    for call in ("theirs_as_ours", "ours_as_theirs", "ours_as_nobodys", "canceled"):
        assert tenants[call]["type"] == "TaskNotFoundError", call
    assert ours in tenants["listed"][0]
    assert theirs not in tenants["listed"][0]
    assert tenants["listed"][1] == [theirs]


@covers("SEL-2")
@pytest.mark.long
async def test_the_client_sends_the_cards_tenant_in_every_request() -> None:
    """Here a request for any other tenant, or for none, is refused."""
    scenarios = ("blocking_send", "polling_send", "stream", "turns", "cancel", "subscribe", "pages")
    async with Program.server("servers/scripted.py", "--tenant", "acme", "--only-tenant") as server:
        seen = await seen_by_client(server, *scenarios)
    assert set(seen) == set(scenarios)
    assert state(seen["blocking_send"]["task"]) == "COMPLETED"
    assert shape(seen["stream"]["elements"])[-1] == "status_update COMPLETED"
    assert state(seen["cancel"]["canceled"]) == "CANCELED"
    assert shape(seen["subscribe"]["watched"])[-1] == "status_update COMPLETED"
    assert seen["pages"]["last"]["total_size"] == 6


@covers("TEN-2")
@pytest.mark.long
async def test_a_client_of_a_card_without_a_tenant_sends_none() -> None:
    async with Program.server("servers/scripted.py", "--only-tenant") as server:
        seen = await seen_by_client(server, "card", "blocking_send", "stream")
    assert "tenant" not in seen["card"]["supported_interfaces"][0]
    assert state(seen["blocking_send"]["task"]) == "COMPLETED"
    assert shape(seen["stream"]["elements"])[-1] == "status_update COMPLETED"
