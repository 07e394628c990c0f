"""Errors on the wire: status, details, and what is never in them (spec §3.3.2, §5.4, §10.6)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from a2a_grpc import Agent, InvalidRequestError, Message, Turn
from a2a_grpc.parts import struct, text_of
from a2a_grpc.principal import Principal
from a2a_grpc.wire import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    ListTasksRequest,
    Part,
    TaskPushNotificationConfig,
    TaskState,
)
from tests.covers import covers
from tests.harness import V1, Served, eventually, message, refusal, request, scripted_agent, serving

PREFIX = "type.googleapis.com/google.rpc."
SECRET = "db-password-9"
EIGHT_KIB = 8 * 1024


def agent_of_errors() -> Agent:
    """An agent that every error of the protocol can be had from, but the one of a required extension."""
    agent = Agent(
        "Errors",
        "Goes wrong.",
        input_modes=["text/plain"],
        card=AgentCard(capabilities=AgentCapabilities(extended_agent_card=True)),
        default_skill="echo",
    )

    @agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    @agent.skill(answers="message")
    async def silent(turn: Turn) -> None:
        """Answers with nothing."""

    @agent.skill()
    async def hang(turn: Turn) -> None:
        await asyncio.Event().wait()

    return agent


def for_skill(skill: str, text: str = "hello") -> Any:
    """A send to a skill."""
    sent = request(text)
    sent.message.metadata.CopyFrom(struct({"skill": skill}))
    return sent


async def ended(served: Served) -> str:
    task_id: str = (await served.send(request())).task.id
    return task_id


async def task_not_found(served: Served) -> None:
    await served.get("t-0")


async def task_not_cancelable(served: Served) -> None:
    await served.stub.CancelTask(CancelTaskRequest(id=await ended(served)), metadata=V1)


async def push_not_supported(served: Served) -> None:
    config = TaskPushNotificationConfig(task_id="t-1", url="https://hook.example/a")
    await served.stub.CreateTaskPushNotificationConfig(config, metadata=V1)


async def unsupported_operation(served: Served) -> None:
    await served.send(request(message(task_id=await ended(served))))


async def content_type_not_supported(served: Served) -> None:
    sent = message()
    sent.parts.append(Part(raw=b"x", media_type="Image/PNG; q=1"))
    await served.send(request(sent))


async def invalid_agent_response(served: Served) -> None:
    await served.send(for_skill("silent"))


async def extended_card_not_configured(served: Served) -> None:
    await served.stub.GetExtendedAgentCard(GetExtendedAgentCardRequest(), metadata=V1)


async def version_not_supported(served: Served) -> None:
    await served.stub.ListTasks(ListTasksRequest(), metadata=(("a2a-version", "0.3"),))


async def invalid_params(served: Served) -> None:
    await served.stub.ListTasks(ListTasksRequest(page_size=0, history_length=-1), metadata=V1)


FAILED_PRECONDITION, INVALID_ARGUMENT = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT
CATALOGUE = [
    (task_not_found, grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND", {"task_id"}),
    (task_not_cancelable, FAILED_PRECONDITION, "TASK_NOT_CANCELABLE", {"task_id"}),
    (push_not_supported, FAILED_PRECONDITION, "PUSH_NOTIFICATION_NOT_SUPPORTED", set[str]()),
    (unsupported_operation, FAILED_PRECONDITION, "UNSUPPORTED_OPERATION", {"task_id"}),
    (content_type_not_supported, INVALID_ARGUMENT, "CONTENT_TYPE_NOT_SUPPORTED", {"media_type"}),
    (invalid_agent_response, grpc.StatusCode.INTERNAL, "INVALID_AGENT_RESPONSE", set[str]()),
    (extended_card_not_configured, FAILED_PRECONDITION, "EXTENDED_AGENT_CARD_NOT_CONFIGURED", set[str]()),
    (version_not_supported, FAILED_PRECONDITION, "VERSION_NOT_SUPPORTED", {"requested_version", "supported_versions"}),
    (invalid_params, INVALID_ARGUMENT, "INVALID_PARAMS", set[str]()),
]


async def failed(call: Awaitable[Any]) -> tuple[grpc.aio.AioRpcError, Status]:
    """The error of a call with its `google.rpc.Status`."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    found = [raw for key, raw in caught.value.trailing_metadata() if key == "grpc-status-details-bin"]
    assert len(found) == 1
    return caught.value, Status.FromString(found[0])


@covers("ERR-1", "ERR-2", "ERR-3", "ERR-4")
@pytest.mark.parametrize(
    ("provoke", "code", "reason", "keys"), CATALOGUE, ids=[provoke.__name__ for provoke, *_ in CATALOGUE]
)
async def test_every_error_has_its_code_its_reason_and_consistent_details(
    provoke: Callable[[Served], Awaitable[None]], code: grpc.StatusCode, reason: str, keys: set[str]
) -> None:
    async with serving(agent_of_errors()) as served:
        error, status = await failed(provoke(served))
    assert error.code() == code
    assert error.details()
    assert (status.code, status.message) == (code.value[0], error.details())
    assert status.details[0].type_url == PREFIX + "ErrorInfo"
    infos = [detail for detail in status.details if detail.type_url == PREFIX + "ErrorInfo"]
    assert len(infos) == 1
    info = error_details_pb2.ErrorInfo.FromString(infos[0].value)
    assert (info.reason, info.domain) == (reason, "a2a-protocol.org")
    assert set(info.metadata) == keys


@covers("ERR-2")
async def test_a_required_extension_is_asked_for_with_its_reason() -> None:
    extensions = [AgentExtension(uri="urn:needed:1", required=True)]
    agent = Agent("Strict", "Needs it.", card=AgentCard(capabilities=AgentCapabilities(extensions=extensions)))

    @agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    async with serving(agent) as served:
        error, status = await failed(task_not_found(served))
    info = error_details_pb2.ErrorInfo.FromString(status.details[0].value)
    assert (error.code(), info.reason, info.domain) == (
        FAILED_PRECONDITION,
        "EXTENSION_SUPPORT_REQUIRED",
        "a2a-protocol.org",
    )
    assert dict(info.metadata) == {"required_extensions": "urn:needed:1"}
    assert "urn:needed:1" in str(error.details())


@covers("ERR-2")
async def test_the_metadata_names_what_the_error_is_about() -> None:
    async with serving(agent_of_errors()) as served:
        task_id = await ended(served)
        assert (await refusal(task_not_found(served))).metadata == {"task_id": "t-0"}
        again = await refusal(served.send(request(message(task_id=task_id))))
        assert again.metadata == {"task_id": task_id}
        assert (await refusal(content_type_not_supported(served))).metadata == {"media_type": "image/png"}


@covers("ERR-5")
async def test_refused_fields_are_told_all_together_by_their_proto_paths() -> None:
    async with serving(agent_of_errors()) as served:
        _, status = await failed(invalid_params(served))
        bad = error_details_pb2.BadRequest.FromString(status.details[1].value)
        assert status.details[1].type_url == PREFIX + "BadRequest"
        assert sorted(violation.field for violation in bad.field_violations) == ["history_length", "page_size"]
        assert all(violation.description for violation in bad.field_violations)
        assert all(violation.description in status.message for violation in bad.field_violations)
        typed = await refusal(content_type_not_supported(served))
        assert typed.fields == ["message.parts[1].media_type"]


@covers("ERR-6", "ERR-17", "OPEN-27")
async def test_over_a_limit_the_error_says_when_to_try_again() -> None:
    async with serving(agent_of_errors(), max_runs=1, max_queued_runs=0) as served:
        hanging = for_skill("hang")
        hanging.configuration.return_immediately = True
        await served.send(hanging)
        error, status = await failed(served.send(request()))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [detail.type_url for detail in status.details] == [PREFIX + "ErrorInfo", PREFIX + "RetryInfo"]
        retry = error_details_pb2.RetryInfo.FromString(status.details[1].value)
        assert retry.retry_delay.ToMilliseconds() == 1000
        refused = await refusal(served.send(request()))
        assert (refused.reason, refused.domain) == ("RESOURCE_EXHAUSTED", "a2a-protocol.org")


@covers("ERR-6", "ERR-14")
async def test_a_server_that_shuts_down_is_unavailable_and_says_when_to_try_again() -> None:
    agent, gate = Agent("Gated", "Waits for its gate."), asyncio.Event()

    @agent.skill()
    async def wait(turn: Turn) -> None:
        await gate.wait()

    async with serving(agent) as served:
        await served.send(request(immediately=True))
        stopping = asyncio.ensure_future(served.server.stop(grace_s=60))

        async def refuses() -> None:
            refused = await refusal(served.send(request(immediately=True)))
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
            assert refused.retry_after_s == 1.0

        await eventually(refuses)
        gate.set()
        await stopping


@covers("ERR-6")
async def test_errors_that_waiting_does_not_heal_give_no_retry_delay() -> None:
    async with serving(agent_of_errors()) as served:
        for provoke, _, reason, _ in CATALOGUE:
            refused = await refusal(provoke(served))
            assert (refused.reason, refused.retry_after_s) == (reason, None)


def leaking(place: str) -> Agent:
    """An agent whose code raises an exception with a secret text in one place."""

    def leak() -> None:
        raise RuntimeError(SECRET)

    agent = Agent("Leak", "Fails.", default_skill="task")

    @agent.skill(validate=(lambda sent: leak()) if place == "validate" else None)
    async def task(turn: Turn) -> None:
        leak()

    @agent.skill(answers="message")
    async def reply(turn: Turn) -> str:
        leak()
        return ""

    @agent.router
    def route(sent: Message) -> str:
        if place == "router":
            leak()
        return "no-such-skill-" + SECRET if place == "choice" else place if place == "reply" else "task"

    @agent.extended_card
    def extend(public: AgentCard, principal: Principal) -> AgentCard:
        leak()
        return public

    return agent


@covers("ERR-7", "P10", "VAL-9")
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("place", ["validate", "router", "choice", "reply"])
async def test_the_text_of_an_exception_never_leaves_the_server(
    place: str, streaming: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "a2a_grpc"):
        async with serving(leaking(place)) as served:
            stream = aiter(served.stream(request()))
            error, status = await failed(anext(stream) if streaming else served.send(request()))
            total = (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size
    assert error.code() == grpc.StatusCode.INTERNAL
    assert error_details_pb2.ErrorInfo.FromString(status.details[0].value).reason == "INTERNAL_ERROR"
    assert (error.details(), total) == ("Internal error; the server's log says more.", 0)
    assert SECRET.encode() not in status.SerializeToString()
    assert SECRET in caplog.text


def too_many_bad_parts() -> Any:
    sent = message()
    sent.parts.extend(Part() for _ in range(900))
    return request(sent)


def refusing_at_length() -> Agent:
    """An agent that says a lot."""
    modes = [f"application/vnd.example.a-rather-long-name-of-a-format-{i}+json" for i in range(300)]
    agent = Agent("Long", "Says a lot.", input_modes=modes)

    @agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    return agent


def refuse_at_length(sent: Message) -> None:
    raise InvalidRequestError("no: " + "x" * 20_000)


@covers("ERR-8")
@pytest.mark.parametrize(
    ("sent", "metadata"),
    [
        (too_many_bad_parts(), V1),
        (for_skill("s" * 12_000), V1),
        (for_skill("\N{GRINNING FACE}" * 3_000), V1),
        (request(message(task_id="\N{GRINNING FACE}" * 256)), V1),
        (request(), (("a2a-version", "1" * 6_000), ("a2a-version", "2" * 6_000))),
        (request(), (*V1, ("a2a-grpc-after", "9" * 3_000))),
        (request(), (("a2a-version", "v" * 3_000),)),
    ],
    ids=[
        "many violations",
        "long skill",
        "long skill beyond ASCII",
        "long task id",
        "long versions",
        "long seq",
        "long version",
    ],
)
async def test_whatever_the_request_its_error_fits_the_trailers_that_peers_take(
    sent: Any, metadata: tuple[tuple[str, str], ...]
) -> None:
    async with serving(agent_of_errors()) as served:
        error, status = await failed(served.stub.SendMessage(sent, metadata=metadata))
    assert error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(status.SerializeToString()) < EIGHT_KIB


@covers("ERR-8")
async def test_a_card_with_many_media_types_makes_no_error_that_is_too_large() -> None:
    async with serving(refusing_at_length()) as served:
        error, status = await failed(served.send(request()))
    assert error.code() == INVALID_ARGUMENT
    info = error_details_pb2.ErrorInfo.FromString(status.details[0].value)
    assert info.reason == "CONTENT_TYPE_NOT_SUPPORTED"
    assert len(status.SerializeToString()) < EIGHT_KIB


@covers("ERR-8")
async def test_an_agents_own_long_refusal_is_cut() -> None:
    agent = Agent("Strict", "Refuses.")

    @agent.skill(validate=refuse_at_length)
    async def echo(turn: Turn) -> str:
        return turn.text

    async with serving(agent) as served:
        error, status = await failed(served.send(request()))
    assert error.code() == INVALID_ARGUMENT
    assert str(error.details()).startswith("no: xxx")
    assert len(status.SerializeToString()) < EIGHT_KIB


@covers("OPEN-26", "OP-2")
async def test_version_comes_before_tenant_and_tenant_before_extensions_and_these_before_fields() -> None:
    extensions = [AgentExtension(uri="urn:needed:1", required=True)]
    agent = Agent("Strict", "Needs it.", card=AgentCard(capabilities=AgentCapabilities(extensions=extensions)))

    @agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    async with serving(agent, tenant="acme", only_tenant=True) as served:

        async def reason_or_field(tenant: str, *metadata: tuple[str, str]) -> str:
            call = served.stub.ListTasks(ListTasksRequest(tenant=tenant, page_size=0), metadata=metadata)
            refused = await refusal(call)
            return refused.fields[0] if refused.fields else refused.reason

        declared = ("a2a-extensions", "urn:needed:1")
        assert await reason_or_field("other") == "VERSION_NOT_SUPPORTED"
        assert await reason_or_field("other", *V1) == "tenant"
        assert await reason_or_field("acme", *V1) == "EXTENSION_SUPPORT_REQUIRED"
        assert await reason_or_field("acme", *V1, declared) == "page_size"


@covers("ERR-1")
async def test_a_task_with_an_error_on_another_call_is_not_harmed() -> None:
    async with serving(scripted_agent()) as served:
        waiting = await served.start({"input": "Which?"})
        for bad in (request(message("x", task_id=waiting.id, message_id="")), request(message("x", task_id="t-0"))):
            await refusal(served.send(bad))

        async def waits() -> None:
            assert (await served.get(waiting.id)).status.state == TaskState.TASK_STATE_INPUT_REQUIRED

        await eventually(waits)
        task = (await served.send(request(message("red", task_id=waiting.id)))).task
        assert task.status.state == TaskState.TASK_STATE_COMPLETED
        assert [text_of(sent) for sent in task.history] == ["", "Which?", "red"]
