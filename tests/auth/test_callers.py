"""Callers are identified before anything else, on every method but those of the health service."""

import asyncio
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from a2a_grpc import Agent, Server, ServerSettings, TaskState, Turn
from a2a_grpc.auth import AuthSettings, CallCredentials, anonymous
from a2a_grpc.auth.callers import address_of
from a2a_grpc.auth.rates import MAX_KNOWN, Rates
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnavailableError
from a2a_grpc.principal import Principal
from a2a_grpc.rpc import authentication
from a2a_grpc.wire import GetTaskRequest, ListTasksRequest
from tests.auth.callers import Site, as_caller, site
from tests.covers import covers
from tests.harness import V1, decoded, elements, eventually, refusal, request, scripted, scripted_agent, texts
from tests.regressions.faults import every_rpc

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


async def refused(call: Any) -> tuple[Any, list[Any]]:
    """The status of a failed call, and its challenges."""
    try:
        if hasattr(call, "__aiter__"):
            [element async for element in call]
        else:
            await call
    except grpc.aio.AioRpcError as error:
        challenges = [value for key, value in error.trailing_metadata() or () if key == "www-authenticate"]
        return decoded(error), challenges
    raise AssertionError("the call did not fail")


@covers("OP-1", "ERR-10", "SEC-3", "XCRD-3")
@pytest.mark.parametrize("is_intercepted", [False, True])
async def test_every_rpc_is_refused_without_credentials_and_with_wrong_ones_in_the_same_words(
    is_intercepted: bool,
) -> None:
    agent = scripted_agent()
    interceptors = [Seeing()] if is_intercepted else []
    async with site(agent, interceptors=interceptors) as running:
        for name, asked in every_rpc().items():
            method = getattr(running.stub, name)
            none, challenges = await refused(method(asked, metadata=V1))
            wrong, wrong_challenges = await refused(method(asked, metadata=(*V1, ("authorization", "nonsense x"))))
            assert (none.code, none.reason) == (UNAUTHENTICATED, "UNAUTHENTICATED"), name
            assert (wrong.code, wrong.text) == (none.code, none.text), name
            assert challenges == ["Bearer"], name
            assert wrong_challenges == ['Bearer error="invalid_token"'], name
        assert (await running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt"))).total_size == 0


class Seeing(grpc.aio.ServerInterceptor):
    """An interceptor that changes nothing."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return await continuation(handler_call_details)


@covers("OPEN-26")
async def test_who_calls_is_checked_before_version_tenant_and_fields() -> None:
    async with site(scripted_agent()) as running:
        wrong = request(tenant="\0")
        assert (await refusal(running.stub.SendMessage(wrong, metadata=()))).code is UNAUTHENTICATED
        found = await refusal(running.stub.SendMessage(wrong, metadata=as_caller("jwt")[1:]))
        assert found.reason == "VERSION_NOT_SUPPORTED"


async def test_a_request_is_not_asked_for_before_its_caller_is_known() -> None:
    async with site(scripted_agent()) as running:
        call: Any = running.channel.stream_stream("/lf.a2a.v1.A2AService/SendMessage")(metadata=V1)
        # Nothing was sent, and the answer comes nevertheless.
        assert await call.code() is UNAUTHENTICATED


@covers("SEC-11")
async def test_health_needs_no_credentials_and_reflection_does() -> None:
    async with site(scripted_agent()) as running:
        health = health_pb2_grpc.HealthStub(running.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        found, _ = await refused(reflection.ServerReflectionInfo(iter([asked]), metadata=()))
        assert found.code is UNAUTHENTICATED
        call = reflection.ServerReflectionInfo(iter([asked]), metadata=as_caller("key"))
        assert [answer async for answer in call]


@covers("SEC-11")
async def test_reflection_on_the_admin_port_needs_no_credentials() -> None:
    async with site(scripted_agent(), admin_listen="127.0.0.1:0") as running:
        assert running.server.admin_address
        async with grpc.aio.insecure_channel(running.server.admin_address) as channel:
            reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            assert [answer async for answer in reflection.ServerReflectionInfo(iter([asked]))]


@pytest.mark.parametrize("method", ["/lf.a2a.v1.A2AService/Other", "/grpc.health.v1.Health/Other", "/a/b"])
async def test_unknown_methods_are_refused_like_known_ones(method: str) -> None:
    async with site(scripted_agent()) as running:
        call: Any = running.channel.unary_unary(method)
        found = await refusal(call(b"", metadata=V1))
        assert found.code is UNAUTHENTICATED
        found = await refusal(call(b"", metadata=as_caller("jwt")))
        assert found.code is grpc.StatusCode.UNIMPLEMENTED


async def test_anonymous_callers_beside_known_ones_have_tasks_of_their_own() -> None:
    async with site(scripted_agent(), auth=[anonymous]) as running:
        made = (await running.stub.SendMessage(scripted({"artifact": "x"}), metadata=V1)).task
        found = await refusal(running.stub.GetTask(GetTaskRequest(id=made.id), metadata=as_caller("jwt")))
        assert found.reason == "TASK_NOT_FOUND"
        assert (await running.stub.GetTask(GetTaskRequest(id=made.id), metadata=V1)).id == made.id
        wrong = (*V1, ("authorization", "nonsense x"))
        assert (await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=wrong))).code is UNAUTHENTICATED


@covers("ERR-7")
async def test_what_an_authenticator_raises_reaches_the_log_and_not_the_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(credentials: CallCredentials) -> Principal | None:
        raise KeyError("broken by hand")

    async def away(credentials: CallCredentials) -> Principal | None:
        raise UnavailableError("the keys of the issuer cannot be fetched", retry_after_s=5.0)

    for authenticator, code in ((broken, grpc.StatusCode.INTERNAL), (away, grpc.StatusCode.UNAVAILABLE)):
        async with site(scripted_agent(), auth=[authenticator]) as running:
            found = await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=V1))
            assert found.code is code
            assert "by hand" not in found.text
    assert "broken by hand" in caplog.text


async def test_an_authenticator_that_is_canceled_or_returns_no_principal_ends_the_call_with_internal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def canceled(credentials: CallCredentials) -> Principal | None:
        raise asyncio.CancelledError

    async def wrong(credentials: CallCredentials) -> Any:
        return "alice"

    for authenticator in (canceled, wrong):
        async with site(scripted_agent(), auth=[authenticator]) as running:
            found = await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=V1, timeout=5))
            assert found.code is grpc.StatusCode.INTERNAL
    assert "an authenticator returned a value of the type str" in caplog.text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"subject": "a\ud800"}, "subject of a principal has half of a surrogate pair"),
        ({"subject": "a", "group": "\udfff"}, "group of a principal has half of a surrogate pair"),
        ({"subject": "a", "expires_at": float("nan")}, "expires_at of a principal is nan"),
        ({"subject": "a", "expires_at": float("inf")}, "expires_at of a principal is inf"),
        ({"subject": "a", "expires_at": "2027"}, "expires_at of a principal is of the type str"),
        ({"subject": "a", "expires_at": True}, "expires_at of a principal is of the type bool"),
    ],
)
async def test_a_principal_that_no_store_or_clock_can_handle_ends_the_call_with_internal(
    values: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def wrong(credentials: CallCredentials) -> Principal | None:
        return Principal(**values)

    async with site(scripted_agent(), auth=[wrong]) as running:
        found = await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=V1, timeout=5))
        assert found.code is grpc.StatusCode.INTERNAL
    assert said in caplog.text


async def test_credentials_whose_end_is_in_the_past_are_refused_as_expired(caplog: pytest.LogCaptureFixture) -> None:
    async with site(scripted_agent()) as running:
        call = running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt", ends_in=-1))
        found, challenges = await refused(call)
        assert (found.code, found.text) == (UNAUTHENTICATED, "The call carries no valid credentials.")
        assert challenges == ['Bearer error="invalid_token", error_description="expired"']
    assert "reason=expired credentials" in caplog.text


async def test_an_authenticator_that_fails_often_writes_few_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(credentials: CallCredentials) -> Principal | None:
        raise KeyError("broken by hand")

    async with site(scripted_agent(), auth=[broken]) as running:
        began = time.monotonic()
        for _ in range(50):
            await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=V1))
        seconds = time.monotonic() - began
    assert 1 <= caplog.text.count("Traceback (most recent call last)") <= 1 + seconds


@covers("SEC-7")
async def test_the_log_has_the_reason_and_nothing_of_the_credentials(caplog: pytest.LogCaptureFixture) -> None:
    async with site(scripted_agent()) as running:
        call = running.stub.ListTasks(ListTasksRequest(), metadata=(*V1, ("authorization", "canary-1234 x")))
        await refusal(call)
    assert "auth refused method=/lf.a2a.v1.A2AService/ListTasks reason=unknown kind peer=ipv4:127.0.0.1:" in caplog.text
    assert "canary" not in caplog.text


@covers("SEC-8")
async def test_refusals_of_an_address_are_limited_and_valid_credentials_are_not() -> None:
    async with site(scripted_agent(), callers=AuthSettings(auth_failures_per_minute=3)) as running:
        wrong = (*V1, ("authorization", "nonsense x"))
        codes = [(await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=wrong))).code for _ in range(5)]
        assert codes == [UNAUTHENTICATED] * 3 + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
        found = await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=wrong))
        assert found.retry_after_s
        await running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt"))


@covers("SEC-8", "ERR-17")
async def test_each_caller_has_its_own_rate_of_calls() -> None:
    limits = AuthSettings(calls_per_second=0.001, calls_burst=3)
    async with site(scripted_agent(), callers=limits) as running:
        for kind in ("jwt", "key"):
            for _ in range(3):
                await running.stub.ListTasks(ListTasksRequest(), metadata=as_caller(kind))
            found = await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=as_caller(kind)))
            assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
            assert found.retry_after_s
            assert found.retry_after_s > 100


async def test_anonymous_callers_share_the_rate_of_their_address() -> None:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    limits = AuthSettings(calls_per_second=0.001, calls_burst=2)
    async with Server(scripted_agent(), settings, callers=limits) as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            method: Any = channel.unary_unary("/lf.a2a.v1.A2AService/ListTasks")
            await method(b"", metadata=V1)
            await method(b"", metadata=V1)
            assert (await refusal(method(b"", metadata=V1))).code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_bucket_fills_with_time_and_few_are_kept() -> None:
    now = 0.0
    rates = Rates(2.0, 4.0, clock=lambda: now)
    assert [rates.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    now = 0.5
    assert (rates.take("a"), rates.take("a")) == (0, 0.5)
    now = 1000.0
    assert [rates.take("a") for _ in range(5)][-1] == 0.5
    for number in range(MAX_KNOWN + 10):
        rates.take(str(number))
    assert len(rates._buckets) == MAX_KNOWN


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:50000", "192.0.2.1"),
        ("ipv6:[2001:db8:1:2:3::4]:50000", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:3::4%5D:50000", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:192.0.2.1]:50000", "192.0.2.1"),
        ("ipv6:[fe80::1%25eth0]:1", "fe80::/64"),
        ("unix:", "unix"),
        ("", ""),
    ],
)
def test_the_port_of_a_peer_does_not_count(peer: str, address: str) -> None:
    assert address_of(peer) == address


# -- scopes of skills, policies


def _agent_with_scopes() -> Agent:
    agent = Agent("Scoped", "Has two skills.")

    @agent.skill("read")
    async def read(turn: Turn) -> str:
        return turn.principal.subject

    def validate(message: Any) -> None:
        raise AssertionError("a message of a caller without the scope is not looked at")

    @agent.skill("write", scopes=["tasks:write", "tasks:read"], validate=None)
    async def write(turn: Turn) -> str:
        return "written"

    @agent.skill("guarded", scopes=["tasks:write"], validate=validate)
    async def guarded(turn: Turn) -> str:
        return "never"

    return agent


def _to_skill(skill: str, **settings: Any) -> Any:
    asked = request("hello", **settings)
    asked.message.metadata["skill"] = skill
    return asked


@covers("ERR-11", "ERR-16")
async def test_a_skill_needs_its_scopes_and_the_refusal_names_those_that_are_missing() -> None:
    async with site(_agent_with_scopes()) as running:
        for name in ("SendMessage", "SendStreamingMessage"):
            method = getattr(running.stub, name)
            found = await refusal(method(_to_skill("write"), metadata=as_caller("jwt", scopes="tasks:read")))
            assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
            assert "'tasks:write'" in found.text
            assert "'tasks:read'" not in found.text
            assert found.metadata["missing_scopes"] == "tasks:write"
            found = await refusal(method(_to_skill("guarded"), metadata=as_caller("jwt")))
            assert found.code is grpc.StatusCode.PERMISSION_DENIED
        assert (await running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt"))).total_size == 0
        able = as_caller("jwt", scopes="tasks:read,tasks:write")
        assert texts((await running.stub.SendMessage(_to_skill("write"), metadata=able)).task) == ["written"]
        assert texts((await running.stub.SendMessage(_to_skill("read"), metadata=as_caller("key"))).task) == ["ann"]


async def test_skills_with_scopes_are_not_served_without_authentication() -> None:
    with pytest.raises(ConfigurationError, match=r"'write' needs the scope 'tasks:write', 'tasks:read'.*--auth"):
        Server(_agent_with_scopes(), ServerSettings(listen="127.0.0.1:0", http_listen="off"))


@covers("OP-1")
async def test_a_policy_sees_caller_operation_and_task_and_may_refuse() -> None:
    asked: list[tuple[str, str, str]] = []

    async def authorize(principal: Principal, operation: str, task: Any) -> bool:
        asked.append((principal.subject, operation, task.id if task else ""))
        return principal.subject != "eve" or operation == "SendMessage"

    async with site(scripted_agent(), authorize=authorize) as running:
        eve = as_caller("jwt", "eve")
        task = (await running.stub.SendMessage(scripted({"artifact": "x"}), metadata=eve)).task
        calls = every_rpc(task.id)
        for name in ("GetTask", "CancelTask", "SubscribeToTask", "ListTasks", "GetExtendedAgentCard"):
            found = await refusal(getattr(running.stub, name)(calls[name], metadata=eve))
            if name != "GetExtendedAgentCard":
                assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"), name
                assert asked[-1] == ("eve", name, "" if name == "ListTasks" else task.id)
        known = len(asked)
        found = await refusal(running.stub.GetTask(GetTaskRequest(id=task.id), metadata=as_caller("jwt", "ann")))
        assert found.reason == "TASK_NOT_FOUND"
        assert len(asked) == known, "a policy is not asked about tasks of other callers"


async def test_a_policy_that_returns_no_bool_allows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def authorize(principal: Principal, operation: str, task: Any) -> Any:
        return {"ListTasks": "no", "SendMessage": None}[operation]

    async with site(scripted_agent(), authorize=authorize) as running:
        found = await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt")))
        assert found.code is grpc.StatusCode.INTERNAL
        found = await refusal(running.stub.SendMessage(scripted({"artifact": "x"}), metadata=as_caller("jwt")))
        assert found.code is grpc.StatusCode.PERMISSION_DENIED
    assert "authorize returned a value of the type str" in caplog.text


# -- credentials that end


async def test_a_stream_whose_credentials_end_is_no_guess_of_credentials() -> None:
    async with site(scripted_agent(), callers=AuthSettings(auth_failures_per_minute=1)) as running:
        wrong = (*V1, ("authorization", "nonsense x"))
        for _ in range(2):
            brief = as_caller("jwt", ends_in=1)
            call = running.stub.SendStreamingMessage(scripted({"sleep": 60.0}), metadata=brief)
            found, _ = await refused(call)
            assert found.code is UNAUTHENTICATED
        assert (await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=wrong))).code is UNAUTHENTICATED
        limited = await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=wrong))
        assert limited.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        call = running.stub.SendStreamingMessage(scripted({"sleep": 60.0}), metadata=as_caller("jwt", ends_in=1))
        found, _ = await refused(call)
        assert found.code is UNAUTHENTICATED


@covers("SEC-5")
async def test_a_stream_ends_with_the_credentials_of_its_caller_and_its_task_goes_on() -> None:
    async with site(scripted_agent()) as running:
        steps = [{"status": "at work"}, {"sleep": 2.0}, {"artifact": "done"}]
        brief = as_caller("jwt", ends_in=1)
        call = running.stub.SendStreamingMessage(
            scripted(*steps), metadata=(*brief, ("a2a-grpc-cancel-on-disconnect", "true"))
        )
        (first,) = await elements(call, 1)
        found, challenges = await refused(call)
        assert (found.code, found.reason) == (UNAUTHENTICATED, "UNAUTHENTICATED")
        assert challenges == ['Bearer error="invalid_token", error_description="expired"']
        resumed = running.stub.SubscribeToTask(
            every_rpc(first.task.id)["SubscribeToTask"], metadata=(*as_caller("jwt"), ("a2a-grpc-after", "1"))
        )
        rest = await elements(resumed)
        assert [event.WhichOneof("payload") for event in rest][-2:] == ["artifact_update", "status_update"]
        task = await running.stub.GetTask(GetTaskRequest(id=first.task.id), metadata=as_caller("jwt"))
        assert task.status.state == TaskState.TASK_STATE_COMPLETED


async def test_a_stream_ends_soon_if_the_clock_is_set_to_the_end_of_its_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with site(scripted_agent()) as running:
        steps = scripted({"status": "at work"}, {"sleep": 60.0})
        call = running.stub.SendStreamingMessage(steps, metadata=as_caller("jwt", ends_in=3600))
        await elements(call, 1)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 7200)
        assert (await refused(call))[0].code is UNAUTHENTICATED


# -- the principal of a turn, and the audit log


async def test_a_turn_knows_its_caller() -> None:
    agent = Agent("Who", "Says who calls.")

    @agent.skill()
    async def who(turn: Turn) -> Any:
        principal = turn.principal
        return {
            "subject": principal.subject,
            "method": principal.method,
            "issuer": principal.issuer,
            "scopes": sorted(principal.scopes),
            "claims": dict(principal.claims),
            "key": principal.key,
        }

    async with site(agent) as running:
        keys = set()
        for kind in ("jwt", "other", "key", "certificate"):
            caller = as_caller(kind, scopes="a,b")
            task = (await running.stub.SendMessage(request("who am I?"), metadata=caller)).task
            said = dict(task.artifacts[0].parts[0].data.struct_value.items())
            assert said["subject"] == "ann"
            assert list(said["scopes"]) == ["a", "b"]
            assert dict(said["claims"].items()) == {"said": kind}
            assert len(said["key"]) == 64
            keys.add(said["key"])
        assert len(keys) == 4


@covers("SEC-8")
async def test_the_audit_log_has_a_line_for_each_call_and_no_content(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with site(scripted_agent(), callers=AuthSettings(audit_log=str(path))) as running:
        task = (await running.stub.SendMessage(scripted({"artifact": "canary"}), metadata=as_caller("jwt"))).task
        await refusal(running.stub.GetTask(GetTaskRequest(id=task.id), metadata=as_caller("key", "bob")))
        await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=(*V1, ("authorization", "canary x"))))
        await elements(running.stub.SendStreamingMessage(scripted(), metadata=as_caller("jwt", tenants="acme")))
        call = running.stub.SendStreamingMessage(scripted({"sleep": 600}), metadata=as_caller("jwt"))
        await elements(call, 1)
        call.cancel()
        await eventually(lambda: _lines_are(path, 5))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["method"].rpartition("/")[2], line["outcome"]) for line in lines] == [
        ("SendMessage", "OK"),
        ("GetTask", "NOT_FOUND"),
        ("ListTasks", "UNAUTHENTICATED"),
        ("SendStreamingMessage", "OK"),
        ("SendStreamingMessage", "CANCELLED"),
    ]
    assert lines[0] | {"time": "", "peer": ""} == {
        "time": "",
        "peer": "",
        "method": "/lf.a2a.v1.A2AService/SendMessage",
        "outcome": "OK",
        "task": task.id,
        "caller": "jwt",
        "issuer": "https://a.example",
        "subject": "ann",
        "principal": lines[4]["principal"],
    }
    assert lines[1]["task"] == task.id
    assert "caller" not in lines[2]
    assert lines[3]["tenant"] == "acme"
    assert "canary" not in path.read_text()
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_the_audit_log_names_known_callers_of_refused_calls_and_the_tenant_that_was_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.jsonl"
    limits = AuthSettings(audit_log=str(path), calls_per_second=0.001, calls_burst=1, auth_failures_per_minute=1)
    wrong = (*V1, ("authorization", "nonsense x"))
    async with site(scripted_agent(), callers=limits) as running:
        asked = ListTasksRequest(tenant="globex")
        await refusal(running.stub.ListTasks(asked, metadata=as_caller("key", tenants="acme")))
        await refusal(running.stub.ListTasks(asked, metadata=as_caller("key")))
        await refusal(running.stub.ListTasks(asked, metadata=wrong))
        await refusal(running.stub.ListTasks(asked, metadata=wrong))
        await eventually(lambda: _lines_are(path, 4))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    names = ("outcome", "caller", "subject", "tenant")
    assert [tuple(line.get(name) for name in names) for line in lines] == [
        ("PERMISSION_DENIED", "key", "ann", "globex"),
        ("RESOURCE_EXHAUSTED", "key", "ann", None),
        ("UNAUTHENTICATED", None, None, None),
        ("RESOURCE_EXHAUSTED", None, None, None),
    ]


def _lines_are(path: Path, count: int) -> None:
    assert len(path.read_text().splitlines()) == count


async def test_an_audit_log_that_was_renamed_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with site(scripted_agent(), callers=AuthSettings(audit_log=str(path))) as running:
        await running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt"))
        await eventually(lambda: _lines_are(path, 1))
        path.rename(tmp_path / "audit.1")
        await running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt"))
        await eventually(lambda: _exists(path))
        await eventually(lambda: _lines_are(path, 1))
        assert os.stat(path).st_mode & 0o777 == 0o600


def _exists(path: Path) -> None:
    assert path.exists()


async def test_an_audit_log_goes_on_after_its_folder_was_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    path.parent.mkdir()
    async with site(scripted_agent(), callers=AuthSettings(audit_log=str(path))) as running:
        path.parent.rename(tmp_path / "elsewhere")
        for _ in range(5):
            await running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt"))
        await eventually(lambda: _said(caplog, "a line of the audit log could not be written"))
        path.parent.mkdir()
        await running.stub.ListTasks(ListTasksRequest(), metadata=as_caller("jwt"))
        await eventually(lambda: _exists(path))
    assert json.loads(path.read_text().splitlines()[-1])["outcome"] == "OK"
    assert caplog.text.count("could not be written") < 5


def _said(caplog: pytest.LogCaptureFixture, text: str) -> None:
    assert text in caplog.text


async def test_an_audit_log_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    path = str(tmp_path / "no" / "audit.jsonl")
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    with pytest.raises(ConfigurationError, match=r"audit_log is .*No such file"):
        await Server(scripted_agent(), settings, callers=AuthSettings(audit_log=path)).start()


async def test_an_audit_log_that_is_a_pipe_or_a_device_is_refused_at_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    for path in (str(tmp_path / "pipe"), "/dev/zero", "/dev/null"):
        with pytest.raises(ConfigurationError, match=f"audit_log is '{path}'; it must be a regular file"):
            await Server(scripted_agent(), settings, callers=AuthSettings(audit_log=path)).start()
    with pytest.raises(ConfigurationError, match=r"audit_log is .*Is a directory"):
        await Server(scripted_agent(), settings, callers=AuthSettings(audit_log=str(tmp_path))).start()


async def test_a_call_that_waits_for_its_authenticator_ends_with_its_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def slow(credentials: CallCredentials) -> Principal | None:
        entered.set()
        try:
            await asyncio.sleep(600)
        finally:
            left.set()
        return None

    async with site(scripted_agent(), auth=[slow]) as running:
        call = running.stub.ListTasks(ListTasksRequest(), metadata=V1)
        async with asyncio.timeout(30):
            await entered.wait()
            call.cancel()
            await left.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_call_whose_authenticator_hangs_is_unavailable_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def hangs(credentials: CallCredentials) -> Principal | None:
        await asyncio.sleep(600)
        return None

    monkeypatch.setattr(authentication, "IDENTIFY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(authentication, "LOOK_S", 0.1)
    async with site(scripted_agent(), auth=[hangs]) as running:
        found = await refusal(running.stub.ListTasks(ListTasksRequest(), metadata=V1))
        assert (found.code, found.text) == (
            grpc.StatusCode.UNAVAILABLE,
            "the credentials were not checked in time",
        )
    assert "an authenticator did not answer in time" in caplog.text


async def test_a_caller_may_call_again_from_another_connection(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    async with site(scripted_agent(), store=url) as running:
        task = (await running.stub.SendMessage(scripted({"artifact": "x"}), metadata=as_caller("jwt"))).task
    async with site(scripted_agent(), store=url) as again:
        assert await _can_read(again, task.id, "jwt")
        assert not await _can_read(again, task.id, "other")


async def _can_read(running: Site, task_id: str, kind: str) -> bool:
    call = running.stub.GetTask(GetTaskRequest(id=task_id), metadata=as_caller(kind))
    return await call.code() is grpc.StatusCode.OK
