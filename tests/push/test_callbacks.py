"""Calling back agents: what is sent, to which addresses, with which credentials, and what follows from the answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.agent import Callback, CallbackTask
from a2a_grpc.agent.callback import arrived_in, asked_in, config_of, take_secrets
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.lifecycle import COMPLETED, FAILED, INPUT_REQUIRED
from a2a_grpc.parts import struct, text_of
from a2a_grpc.protocol import CALLBACK_EXTENSION, CALLBACK_TASK, Key
from a2a_grpc.push import lines
from a2a_grpc.push.allowed import DestinationPolicy, parse
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.callbacks import Callbacks
from a2a_grpc.push.delivery import Delivery, Verdict
from a2a_grpc.wire import (
    ROLE_USER,
    SERVICE_NAME,
    Artifact,
    AuthenticationInfo,
    Message,
    Part,
    SendMessageRequest,
    SendMessageResponse,
    StreamResponse,
    Task,
    TaskPushNotificationConfig,
    TaskStatus,
)
from tests.client.local_agents import GUARD_S, client_of
from tests.covers import covers
from tests.harness import Served, eventually, message, serving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOCAL = DestinationPolicy(parse("127.0.0.0/8"))


def task_of(state: Any = COMPLETED, *texts: str, id: str = "t-1") -> Task:
    task = Task(id=id, context_id="c-1", status=TaskStatus(state=state))
    if texts:
        task.artifacts.append(Artifact(artifact_id="a", parts=[Part(text=text) for text in texts]))
    return task


def delivery_of(url: str, task: Task, *, seq: int = 7, attempt: int = 1, **config: Any) -> Delivery:
    return Delivery(
        task_id=task.id,
        seq=seq,
        config=TaskPushNotificationConfig(task_id=task.id, id="p-1", url=url, **config),
        event=StreamResponse(task=task),
        version="1.0",
        attempt=attempt,
        settled=task,
    )


@dataclass
class Requester:
    """An agent of another kind, which notes what it is called with, and answers as the test says."""

    answers: list[Any] = field(default_factory=list)
    """Status codes with which calls end, the first call with the first one."""
    requests: list[SendMessageRequest] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    address: str = ""
    answer: Message = field(default_factory=lambda: Message(message_id="m-1"))

    async def send(self, request: SendMessageRequest, context: Any) -> SendMessageResponse:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.answers and (code := self.answers.pop(0)) is not None:
            await context.abort(code, "no")
        return SendMessageResponse(message=self.answer)


@asynccontextmanager
async def requester(*answers: Any) -> AsyncIterator[Requester]:
    made = Requester(list(answers))
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        made.send, SendMessageRequest.FromString, SendMessageResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, {"SendMessage": handler}),))
    made.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield made
    finally:
        await server.stop(0)


@asynccontextmanager
async def destination(policy: DestinationPolicy = LOCAL, **settings: Any) -> AsyncIterator[Callbacks]:
    callbacks = Callbacks(policy, CallbackSettings(**settings), timeout_s=GUARD_S)
    try:
        yield callbacks
    finally:
        await callbacks.close()


# -- what is sent


@covers("S2-48", "S2-46", "S2-56")
async def test_a_result_is_sent_as_a_message_of_a_user_with_what_it_belongs_to() -> None:
    task = task_of(COMPLETED, "one", "two")
    asked = Message()
    async with requester() as agent, destination() as callbacks:
        url = f"grpc://{agent.address}"
        CallbackTask(url, {"traceparent": "00-1-2-03"}, {"correlation_id": "order-7"}).put(asked)
        task.history.append(asked)
        outcome = await callbacks.deliver(delivery_of(url, task, token="issued"))
        assert outcome.verdict is Verdict.DELIVERED
        [request], [metadata] = agent.requests, agent.metadata
    sent = request.message
    assert [part.text for part in sent.parts] == ["one", "two"]
    assert (sent.role, sent.context_id, list(sent.reference_task_ids)) == (ROLE_USER, "c-1", ["t-1"])
    arrived = arrived_in(sent)
    assert (arrived.task_id, arrived.seq, arrived.state) == ("t-1", 7, "COMPLETED")
    assert arrived.data == {"correlation_id": "order-7"}
    assert metadata[Key.TOKEN] == "issued"
    assert metadata["traceparent"] == "00-1-2-03"
    assert metadata[Key.VERSION] == "1.0"
    assert request.configuration.return_immediately


@covers("S2-7")
async def test_nothing_is_sent_before_the_task_is_settled() -> None:
    async with requester() as agent, destination() as callbacks:
        early = delivery_of(f"grpc://{agent.address}", task_of(COMPLETED))
        early = Delivery(early.task_id, 2, early.config, early.event, "1.0", 1, settled=None)
        assert (await callbacks.deliver(early)).verdict is Verdict.DELIVERED
        assert agent.requests == []


@covers("S2-49")
async def test_each_attempt_has_the_same_message_and_the_same_idempotency_key() -> None:
    async with requester(grpc.StatusCode.UNAVAILABLE, None) as agent, destination() as callbacks:
        url = f"grpc://{agent.address}"
        first = await callbacks.deliver(delivery_of(url, task_of(FAILED)))
        second = await callbacks.deliver(delivery_of(url, task_of(FAILED), attempt=2))
        other = await callbacks.deliver(delivery_of(url, task_of(FAILED), seq=9))
        assert [one.verdict for one in (first, second, other)] == [Verdict.RETRY, *[Verdict.DELIVERED] * 2]
        assert agent.requests[0] == agent.requests[1]
        keys = [metadata[Key.IDEMPOTENCY] for metadata in agent.metadata]
        assert keys[0] == keys[1] != keys[2]
        assert agent.requests[0].message.message_id != agent.requests[2].message.message_id


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (task_of(FAILED), "Task t-1 is FAILED."),
        (task_of(COMPLETED, "x" * (4 << 20)), "The result of task t-1 is too large for a message"),
        (task_of(COMPLETED, *["x"] * 1001), "The result of task t-1 is too large for a message"),
    ],
    ids=["nothing", "bytes", "parts"],
)
async def test_a_message_has_a_part_that_fits_in_any_case(task: Task, text: str) -> None:
    async with requester() as agent, destination() as callbacks:
        assert (await callbacks.deliver(delivery_of(f"grpc://{agent.address}", task))).verdict is Verdict.DELIVERED
        [request] = agent.requests
    assert text in text_of(request.message)
    assert arrived_in(request.message).is_cut == ("too large" in text)


# -- what follows


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (grpc.StatusCode.UNAVAILABLE, Verdict.RETRY),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Verdict.RETRY),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Verdict.RETRY),
        (grpc.StatusCode.INTERNAL, Verdict.RETRY),
        (grpc.StatusCode.UNAUTHENTICATED, Verdict.UNAUTHORIZED),
        (grpc.StatusCode.PERMISSION_DENIED, Verdict.UNAUTHORIZED),
        (grpc.StatusCode.INVALID_ARGUMENT, Verdict.REFUSED),
        (grpc.StatusCode.UNIMPLEMENTED, Verdict.REFUSED),
        (grpc.StatusCode.NOT_FOUND, Verdict.REFUSED),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_the_status_code_decides_what_follows(code: grpc.StatusCode, verdict: Verdict) -> None:
    async with requester(code) as agent, destination() as callbacks:
        outcome = await callbacks.deliver(delivery_of(f"grpc://{agent.address}", task_of(), token="tok-secret"))
    assert outcome.verdict is verdict
    assert code.name in outcome.reason or verdict is Verdict.RETRY
    assert "tok-secret" not in outcome.reason


async def test_an_agent_that_is_away_is_called_again_later_and_found_when_it_is_back() -> None:
    async with requester() as agent:
        url = f"grpc://{agent.address}"
    async with destination() as callbacks:
        assert (await callbacks.deliver(delivery_of(url, task_of()))).verdict is Verdict.RETRY


async def test_connections_are_kept() -> None:
    async with requester() as agent, destination() as callbacks:
        for seq in range(20):
            await callbacks.deliver(delivery_of(f"grpc://{agent.address}", task_of(), seq=seq))
        assert len(agent.requests) == 20
        assert len(callbacks.lines) == 1


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_CHANNELS", 2)
    async with requester() as one, requester() as two, requester() as three, destination() as callbacks:
        for agent in (one, two, three, one):
            outcome = await callbacks.deliver(delivery_of(f"grpc://{agent.address}", task_of()))
            assert outcome.verdict is Verdict.DELIVERED
            assert len(callbacks.lines) <= 2
        assert len(one.requests) == 2


async def test_the_size_of_an_answer_does_not_matter() -> None:
    async with requester() as agent, destination() as callbacks:
        agent.answer.parts.append(Part(raw=b"x" * (9 << 20)))
        outcome = await callbacks.deliver(delivery_of(f"grpc://{agent.address}", task_of()))
    assert outcome.verdict is Verdict.DELIVERED


# -- addresses


REFUSED = [
    "grpc://127.0.0.1:50051",
    "grpcs://10.0.0.1:443",
    "grpcs://[::1]:443",
    "grpcs://169.254.169.254",
    "grpcs://[64:ff9b::a00:1]",
    "grpcs://localhost",
    "grpc://203.0.114.1:443",
    "grpcs://8.8.8.8:50051",
    "grpcs://user:secret@8.8.8.8",
    "grpcs://0x7f000001",
    "grpcs://8.8.8.8#x",
    "name@domain",
    "unix:/run/agent.sock",
    "dns:///agents.example:443",
]


@covers("S2-50")
@pytest.mark.parametrize("url", REFUSED)
async def test_an_address_that_is_not_allowed_is_refused_by_name_and_never_called(url: str) -> None:
    async with destination(DestinationPolicy()) as callbacks:
        with pytest.raises(InvalidRequestError) as refused:
            await callbacks.check(TaskPushNotificationConfig(url=url))
        assert [violation.field for violation in refused.value.violations] == ["url"]
        assert "secret" not in str(refused.value)
        outcome = await callbacks.deliver(delivery_of(url, task_of()))
        assert outcome.verdict is Verdict.REFUSED
        assert len(callbacks.lines) == 0


async def test_an_allowed_address_passes_the_check() -> None:
    async with destination() as callbacks:
        await callbacks.check(TaskPushNotificationConfig(url="grpc://127.0.0.1:50051"))
    async with destination(DestinationPolicy(), callback_sentinel="127.0.0.1:8000") as callbacks:
        await callbacks.check(TaskPushNotificationConfig(url="name@domain"))
    async with destination(DestinationPolicy()) as callbacks:
        await callbacks.check(TaskPushNotificationConfig(url="grpcs://8.8.8.8"))


# -- credentials


@covers("S2-51")
async def test_the_token_of_a_target_goes_to_this_target_only(tmp_path: Path) -> None:
    async with requester() as known, requester() as other:
        (tmp_path / "token").write_text("own-token\n")
        async with destination(callback_tokens=f"{known.address}={tmp_path / 'token'}") as callbacks:
            for agent in (known, other):
                await callbacks.deliver(delivery_of(f"grpc://{agent.address}", task_of()))
            given = AuthenticationInfo(scheme="Basic", credentials="abc")
            await callbacks.deliver(delivery_of(f"grpc://{known.address}", task_of(), authentication=given))
        assert [metadata.get("authorization") for metadata in known.metadata] == ["Bearer own-token", "Basic abc"]
        assert "authorization" not in other.metadata[0]


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TARGET=FILE"):
        CallbackSettings(callback_tokens="agents.example:443")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        CallbackSettings(callback_tokens=f"agents.example:443={tmp_path / 'none'}")
    with pytest.raises(ConfigurationError, match="callback_key is missing"):
        CallbackSettings(callback_cert="cert.pem")


# -- what a caller asks for


@covers("S2-45", "S2-51")
@pytest.mark.parametrize("key", [CALLBACK_EXTENSION, CALLBACK_TASK])
def test_secret_headers_go_to_the_config_and_leave_the_message(key: str) -> None:
    headers = {"Authorization": "Bearer abc", "X-A2A-Notification-Token": "tok", "X-Request-Id": "r-1"}
    sent = Message(metadata=struct({key: {"endpoint": "grpc://h:1", "headers": headers, "data": {"a": 1}}}))
    asked = asked_in(sent)
    assert asked is not None
    config = config_of(asked)
    assert (config.url, config.token) == ("grpc://h:1", "tok")
    assert (config.authentication.scheme, config.authentication.credentials) == ("Bearer", "abc")
    take_secrets(sent)
    kept = asked_in(sent)
    assert kept == CallbackTask("grpc://h:1", {"x-request-id": "r-1"}, {"a": 1})
    assert "abc" not in str(sent)
    assert "abc" not in repr(asked)


@covers("S2-50", "S2-51")
@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("grpc://h:1", ""),
        ({}, ".endpoint"),
        ({"endpoint": ""}, ".endpoint"),
        ({"endpoint": 5}, ".endpoint"),
        ({"endpoint": "grpc://h:1", "headers": "x"}, ".headers"),
        ({"endpoint": "grpc://h:1", "headers": {"Cookie": "x"}}, ".headers.Cookie"),
        ({"endpoint": "grpc://h:1", "headers": {"a2a-version": "0.3"}}, ".headers.a2a-version"),
        ({"endpoint": "grpc://h:1", "headers": {"authorization": "a\nb"}}, ".headers.authorization"),
        ({"endpoint": "grpc://h:1", "headers": {"traceparent": 5}}, ".headers.traceparent"),
        ({"endpoint": "grpc://h:1", "url": "x"}, ".url"),
    ],
)
def test_a_wish_that_is_not_possible_is_refused_by_name(asked: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        asked_in(Message(metadata=struct({CALLBACK_TASK: asked})))
    assert [violation.field for violation in refused.value.violations] == [f"message.metadata.{CALLBACK_TASK}{field}"]


# -- the requester's agent


class Listener:
    """An agent that notes the results that reach it."""

    def __init__(self) -> None:
        self.agent = Agent("Requester", "Asks other agents.")
        self.results: list[Callback] = []
        self.agent.on_callback(self.finished)

    async def finished(self, callback: Callback) -> str:
        """Takes results."""
        self.results.append(callback)
        return f"got {callback.text}"


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Listener, Served]]:
    listener = Listener()
    async with asyncio.timeout(GUARD_S), serving(listener.agent) as served:
        yield listener, served


@covers("S2-49", "S2-46")
async def test_a_result_has_exactly_one_effect_although_it_comes_often() -> None:
    async with listening() as (listener, _), destination() as callbacks:
        wish = listener.agent.callbacks.issue({"order": 7})
        task = task_of(COMPLETED, "done")
        wish.put(asked := Message())
        take_secrets(asked)
        task.history.append(asked)
        deliveries = [delivery_of(wish.endpoint, task, token=wish.headers[Key.TOKEN], attempt=n) for n in range(1, 6)]
        outcomes = await asyncio.gather(*map(callbacks.deliver, deliveries))
        outcomes += [await callbacks.deliver(deliveries[0])]
        assert {one.verdict for one in outcomes} == {Verdict.DELIVERED}
        await eventually(lambda: _length(listener.results, 1))
        [result] = listener.results
        assert (result.task_id, result.context_id, result.state, result.text) == ("t-1", "c-1", "COMPLETED", "done")
        assert result.data == {"order": 7}
        await callbacks.deliver(delivery_of(wish.endpoint, task, token=wish.headers[Key.TOKEN], seq=9))
        await eventually(lambda: _length(listener.results, 2))


def _length(found: list[Any], count: int) -> None:
    assert len(found) == count


@covers("S2-13")
@pytest.mark.parametrize("token", ["", "wrong", "A" * 70, "ü"])
async def test_a_result_without_a_token_of_the_agent_is_refused_and_starts_nothing(token: str) -> None:
    async with listening() as (listener, served), destination() as callbacks:
        url = f"grpc://{served.server.grpc_address}"
        outcome = await callbacks.deliver(delivery_of(url, task_of(), token=token if token.isascii() else ""))
        assert outcome.verdict is Verdict.UNAUTHORIZED
        async with client_of(served) as client:
            assert [task async for task in client.list()] == []
        assert listener.results == []


async def test_tokens_are_those_of_one_agent_and_one_key() -> None:
    async with listening() as (listener, _), listening() as (other, _):
        token = listener.agent.callbacks.issue().headers[Key.TOKEN]
        assert listener.agent.callbacks.accepts(token)
        assert not listener.agent.callbacks.accepts(token[:-2])
        assert not other.agent.callbacks.accepts(token)
        other.agent.callbacks.serve("grpc://h:1", [b"k" * 32])
        again = Agent("Requester", "Again.")
        again.callbacks.serve("grpc://h:1", [b"n" * 32, b"k" * 32])
        assert again.callbacks.accepts(other.agent.callbacks.issue().headers[Key.TOKEN])


async def test_an_agent_that_takes_no_callbacks_or_is_not_served_issues_no_token() -> None:
    deaf = Agent("Deaf", "Takes none.")
    with pytest.raises(ConfigurationError, match="on_callback"):
        deaf.callbacks.issue()
    listener = Listener()
    with pytest.raises(ConfigurationError, match="does not serve"):
        listener.agent.callbacks.issue()
    async with listening() as (served, _):
        assert served.agent.callbacks.issue().endpoint.startswith("grpc://127.0.0.1:")
    with pytest.raises(ConfigurationError, match="does not serve"):
        served.agent.callbacks.issue()


def test_a_function_for_callbacks_is_checked_where_it_is_declared() -> None:
    agent = Agent("Requester", "Asks.")
    with pytest.raises(TypeError, match="async def"):
        agent.on_callback(lambda callback: None)  # type: ignore[type-var]

    async def none() -> None: ...

    with pytest.raises(TypeError, match="one argument"):
        agent.on_callback(none)  # type: ignore[type-var]
    agent.on_callback(Listener().finished)
    with pytest.raises(ValueError, match="two functions"):
        agent.on_callback(Listener().finished)


@covers("S2-54")
async def test_other_messages_go_to_the_other_skill_and_not_to_the_function_for_callbacks() -> None:
    listener = Listener()

    @listener.agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    async with serving(listener.agent) as served, client_of(served) as client:
        task = await client.send("hello")
        assert isinstance(task, Task)
        assert text_of(task) == "hello"
        with pytest.raises(InvalidRequestError, match="what the result belongs to"):
            await client.send("hello", metadata={"skill": "finished"})
    assert listener.results == []


async def test_a_question_of_the_worker_reaches_the_function_with_its_state() -> None:
    async with listening() as (listener, _), destination() as callbacks:
        wish = listener.agent.callbacks.issue()
        task = task_of(INPUT_REQUIRED)
        task.status.message.CopyFrom(message("which?"))
        await callbacks.deliver(delivery_of(wish.endpoint, task, token=wish.headers[Key.TOKEN]))
        await eventually(lambda: _length(listener.results, 1))
    assert (listener.results[0].state, listener.results[0].text) == ("INPUT_REQUIRED", "which?")


@pytest.mark.parametrize(
    ("field", "config"),
    [
        ("token", {"token": "t\u00f6ken"}),
        ("token", {"token": "to\nken"}),
        ("authentication.scheme", {"authentication": AuthenticationInfo(scheme="Be arer", credentials="c")}),
        (
            "authentication.scheme",
            {"authentication": AuthenticationInfo(scheme="standard-webhooks", credentials=SECRET)},
        ),
        ("authentication.credentials", {"authentication": AuthenticationInfo(scheme="Bearer", credentials="c\n")}),
    ],
)
@covers("S2-48")
async def test_secrets_that_metadata_cannot_carry_are_refused_when_they_are_registered(field: str, config: Any) -> None:
    async with requester() as agent, destination() as callbacks:
        delivery = delivery_of(f"grpc://{agent.address}", task_of(), **config)
        with pytest.raises(InvalidRequestError) as refused:
            await callbacks.check(delivery.config)
        assert [named for named, _ in refused.value.violations] == [field]
        outcome = await callbacks.deliver(delivery)  # it was registered before this was checked
        assert outcome.verdict is Verdict.REFUSED
        assert not agent.requests


@pytest.mark.parametrize("given", ["s3cret", "Bearer ", " s3cret", ""])
@covers("S2-46")
def test_an_authorization_without_a_scheme_is_refused_since_a_scheme_is_not_kept_secret(given: str) -> None:
    asked = Message()
    asked.metadata.MergeFrom(struct({CALLBACK_TASK: {"endpoint": "grpc://a", "headers": {"authorization": given}}}))
    with pytest.raises(InvalidRequestError, match=r"headers\.authorization: must be a scheme") as refused:
        asked_in(asked)
    assert "s3cret" not in str(refused.value)


@covers("S2-46")
def test_headers_that_are_a_list_are_refused() -> None:
    asked = Message()
    asked.metadata.MergeFrom(struct({CALLBACK_TASK: {"endpoint": "grpc://a", "headers": []}}))
    with pytest.raises(InvalidRequestError, match=r"headers: must be an object"):
        asked_in(asked)


@pytest.mark.parametrize("address", ["foo", "foo:bar", "http://", "host:70000"])
def test_the_address_of_the_sentinel_is_checked_at_the_start(address: str) -> None:
    with pytest.raises(ConfigurationError, match="callback_sentinel"):
        CallbackSettings(callback_sentinel=address)
