"""Who calls an agent behind a sentinel: the sentinel signs it, and the agent believes it on the tunnel only."""

import asyncio
import json
import logging
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from a2a_grpc import Agent, Server, Turn
from a2a_grpc.auth import ApiKeys, AuthSettings, CallCredentials, Refused
from a2a_grpc.auth.jwt import Jwt
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.parts import text_of
from a2a_grpc.principal import Principal
from a2a_grpc.sentinel import Attachment, Sentinel, SentinelSettings
from a2a_grpc.sentinel.signed_callers import LEEWAY_S, SignedCallers
from a2a_grpc.sentinel.signing import LIFE_S, REUSE_S, Signer, key_id
from a2a_grpc.sentinel.wire import Welcome
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, ListTasksRequest, TaskState
from tests.auth.callers import Named, as_caller
from tests.auth.issuer import AUDIENCE, Issuer
from tests.auth.test_keys import add
from tests.covers import covers
from tests.harness import V1, Served, eventually, refusal, request
from tests.ports import free_address
from tests.sentinel.tunnels import ADDRESS, attached, attached_raw, attaching, channel_to, sentinel, unary

ENTRY = "a2a-grpc-principal"
OTHER = "other@fame.fabric"
REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
ANN = Principal("ann", "jwt", "https://a.example")


async def known(credentials: CallCredentials) -> Principal | None:
    """An authenticator: `Bearer agent` is the agent, and callers are what they say."""
    shown = credentials.metadata.get("authorization")
    return Principal("agent", "key") if shown == ("Bearer agent",) else await Named()(credentials)


def told(*, scopes: bool = True) -> Agent:
    """An agent that answers with all that it knows of its caller."""
    agent = Agent("Told", "Says who calls.", default_skill="say")

    @agent.skill("say")
    async def say(turn: Turn) -> str:
        caller = turn.principal
        return json.dumps({"tenant": caller.tenant, "owner": caller.owner, **json.loads(caller.to_json() or "{}")})

    @agent.skill("write", scopes=["write"] if scopes else [])
    async def write(turn: Turn) -> str:
        return "written"

    @agent.skill("wait")
    async def wait(turn: Turn) -> str:
        await turn.status("waiting")
        await asyncio.sleep(60)
        return ""

    return agent


@asynccontextmanager
async def both(
    agent: Agent | None = None, auth: Any = (known,), **settings: Any
) -> AsyncIterator[tuple[Sentinel, Served]]:
    """A sentinel, and an agent that is attached to it. The agent has no authenticators of its own."""
    async with sentinel(auth, **settings) as running:
        async with attached(agent or told(), running.address, token="agent") as served:
            yield running, served


def asked(text: str = "hello", skill: str = "say") -> Any:
    message = request(text, tenant=ADDRESS)
    message.message.metadata["skill"] = skill
    return message


async def said(served: Served, metadata: Any) -> dict[str, Any]:
    """What the agent says of its caller."""
    response = await served.stub.SendMessage(asked(), metadata=metadata)
    [artifact] = response.task.artifacts
    answer: dict[str, Any] = json.loads(text_of(artifact))
    return answer


@asynccontextmanager
async def private(served: Served) -> AsyncIterator[A2AServiceStub]:
    """A stub at the socket where the tunnel ends, which no other program can reach."""
    async with grpc.aio.insecure_channel(f"unix:{served.server._plan.private_socket}") as channel:
        yield A2AServiceStub(channel)


def listed(stub: Any, *entries: tuple[str, str]) -> Any:
    return stub.ListTasks(ListTasksRequest(tenant=ADDRESS), metadata=(*V1, *entries))


@covers("SEC-4")
async def test_two_callers_see_only_their_own_tasks_and_the_same_ones_as_directly() -> None:
    async with sentinel((known,)) as running:
        async with attached(told(), running.address, token="agent", auth=(Named(),)) as served:
            callers = [as_caller("jwt"), as_caller("jwt", "bob"), as_caller("other"), as_caller("key")]
            tasks = [(await served.stub.SendMessage(asked(), metadata=caller)).task.id for caller in callers]
            async with channel_to(served.server.grpc_address) as channel:
                for stub in (served.stub, A2AServiceStub(channel)):
                    for caller, task in zip(callers, tasks, strict=True):
                        seen = await stub.ListTasks(ListTasksRequest(tenant=ADDRESS), metadata=caller)
                        assert [one.id for one in seen.tasks] == [task]
                        for foreign in set(tasks) - {task}:
                            call = stub.GetTask(GetTaskRequest(tenant=ADDRESS, id=foreign), metadata=caller)
                            assert (await refusal(call)).reason == "TASK_NOT_FOUND"
                assert running._signer is not None
                for entry in ((), ((ENTRY, running._signer.sign(ANN, ADDRESS)),)):
                    direct = await refusal(listed(A2AServiceStub(channel), *entry))
                    assert direct.code is grpc.StatusCode.UNAUTHENTICATED


async def test_the_principal_has_all_facts_and_no_credentials() -> None:
    ends_at = time.time() + 3600
    caller = Principal(
        "ann", "jwt", "https://a.example", tenants=frozenset([ADDRESS]), scopes=frozenset(["read", "größer"]),
        actor="bot", claims={"sub": "ann", "deep": {"list": [1, 2.5, None, "ü\ud800"]}}, group="team",
        expires_at=ends_at,
    )  # fmt: skip

    async def fixed(credentials: CallCredentials) -> Principal | None:
        return caller if credentials.metadata.get("x-pass") else await known(credentials)

    async with both(auth=(fixed,)) as (_, served):
        answer = await said(served, (*V1, ("x-pass", "secret")))
        assert answer == {"tenant": ADDRESS, "owner": caller.owner, **json.loads(caller.to_json())}


async def test_credentials_stay_at_the_sentinel_and_one_signed_entry_reaches_the_agent(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def serve(request: bytes, context: Any) -> bytes:
        entries = [(str(name), str(value)) for name, value in context.invocation_metadata()]
        seen.append([entry for entry in entries if entry[0] not in ("user-agent", "x-kept")])
        return b""

    add(tmp_path / "keys.toml", "a2a_" + "a1" * 32)
    shown = [("x-my-key", "a2a_" + "a1" * 32), ("x-api-key", "k"), (ENTRY, "forged"), (ENTRY, "again"), ("x-kept", "1")]
    rest = [("authorization", "Bearer a2a_" + "a1" * 32)]
    keys = ApiKeys(tmp_path / "keys.toml", "X-My-Key")
    async with sentinel((keys, known)) as running:
        async with attached_raw(serve, running.address, token="agent") as (channel, _):
            await unary(channel)(REQUEST, metadata=(*shown, *rest))
            [[(name, entry)]] = seen
            assert name == ENTRY
            claims = jwt.decode(entry, options={"verify_signature": False})
            assert claims["principal"] == {"method": "key", "subject": "alice"}
            assert claims["aud"] == ADDRESS
            assert claims["exp"] - claims["iat"] == pytest.approx(LIFE_S)
    seen.clear()
    for auth, passes in (((), False), ((), True), ((keys, known), True)):
        async with sentinel(auth, pass_credentials=passes) as running:
            async with attached_raw(serve, running.address, token="agent") as (channel, _):
                await unary(channel)(REQUEST, metadata=(*shown, *rest))
    assert seen == [shown[:1], [*shown[:2], *rest], [*shown[:2], *rest]], "the entry of the caller is removed always"


@covers("SEC-6")
async def test_a_signed_principal_is_believed_on_the_tunnel_only() -> None:
    async with both() as (running, served), channel_to(served.server.grpc_address) as direct:
        assert running._signer is not None
        good = running._signer.sign(ANN, ADDRESS)
        mine = (await served.stub.SendMessage(asked(), metadata=as_caller("jwt"))).task.id
        async with private(served) as stub:
            assert [task.id for task in (await listed(stub, (ENTRY, good))).tasks] == [mine]
        # The TCP port has no authenticators: the caller is anonymous, and the entry changes nothing.
        assert not (await listed(A2AServiceStub(direct), (ENTRY, good))).tasks
        foreign = A2AServiceStub(direct).GetTask(GetTaskRequest(tenant=ADDRESS, id=mine), metadata=(*V1, (ENTRY, good)))
        assert (await refusal(foreign)).reason == "TASK_NOT_FOUND"


def forgeries(signer: Signer) -> dict[str, tuple[str, ...]]:
    """Entries that an agent at ADDRESS must not believe."""
    good = signer.sign(ANN, ADDRESS)
    header, payload, signature = good.split(".")
    kid = key_id(signer.public)
    claims = jwt.decode(good, options={"verify_signature": False})
    other = Ed25519PrivateKey.generate()

    def made(key: Any, algorithm: str = "EdDSA", changes: dict[str, Any] | None = None, **headers: Any) -> str:
        named = {"typ": "a2a-grpc-principal", "kid": kid, **headers}
        return jwt.encode({**claims, **(changes or {})}, key, algorithm, headers=named)

    past = Signer(clock=lambda: time.time() - LIFE_S - LEEWAY_S - 1)
    past._key, past._headers = signer._key, signer._headers
    return {
        "none": (),
        "empty": ("",),
        "two": (good, good),
        "text": ("ann",),
        "no signature": (f"{header}.{payload}.",),
        "altered payload": (f"{header}.{payload[:-2]}xx.{signature}",),
        "altered signature": (f"{header}.{payload}.{'A' * len(signature)}",),
        "another spelling": (good + "=",),
        "algorithm none": (made(None, "none"),),
        "symmetric with the public key": (made(signer.public + b"\0" * 32, "HS256"),),
        "another key": (made(other),),
        "another key by its own name": (Signer().sign(ANN, ADDRESS),),
        "another type": (made(signer._key, typ="JWT"),),
        "critical header": (made(signer._key, crit=["x"], x=1),),
        "wrong audience": (signer.sign(ANN, OTHER),),
        "list of audiences": (made(signer._key, changes={"aud": [ADDRESS]}),),
        "expired": (past.sign(ANN, ADDRESS),),
        "no end": (made(signer._key, changes={"exp": None}),),
        "no principal": (made(signer._key, changes={"principal": None}),),
        "unknown field": (made(signer._key, changes={"principal": {"root": True}}),),
        "past end of the credentials": (made(signer._key, changes={"end": 1.0}),),
        "endless end": (made(signer._key, changes={"end": "x"}),),
        "too long": ("x" * 32769,),
    }


async def test_each_forged_entry_is_refused_on_the_tunnel(caplog: pytest.LogCaptureFixture) -> None:
    async with both() as (running, served), private(served) as stub:
        assert running._signer is not None
        for name, entries in forgeries(running._signer).items():
            refused = await refusal(listed(stub, *((ENTRY, entry) for entry in entries)))
            assert (name, refused.code) == (name, grpc.StatusCode.UNAUTHENTICATED)
        await listed(stub, (ENTRY, running._signer.sign(ANN, ADDRESS)))
        for entries in forgeries(running._signer).values():
            assert not [entry for entry in entries if len(entry) > 8 and entry in caplog.text]


async def test_the_agents_own_authenticators_do_not_count_on_a_tunnel_that_is_signed() -> None:
    async with sentinel((known,)) as running:
        async with attached(told(), running.address, token="agent", auth=(Named(),)) as served, private(served) as stub:
            refused = await refusal(stub.ListTasks(ListTasksRequest(tenant=ADDRESS), metadata=as_caller("jwt")))
            assert refused.code is grpc.StatusCode.UNAUTHENTICATED


async def test_behind_a_sentinel_that_passes_credentials_the_agents_own_authenticators_count() -> None:
    async with sentinel((known,), pass_credentials=True) as running:
        async with attached(told(), running.address, token="agent", auth=(Named(),)) as served:
            assert (await said(served, as_caller("jwt")))["subject"] == "ann"
    async with sentinel() as running, attached(told(scopes=False), running.address) as served:
        assert await said(served, V1) == {"tenant": ADDRESS, "owner": ""}
        assert await said(served, as_caller("jwt")) == {"tenant": ADDRESS, "owner": ""}


async def test_skills_that_need_scopes_are_served_by_the_scopes_that_the_sentinel_names() -> None:
    async with both() as (_, served):
        allowed = as_caller("jwt", scopes="write")
        assert (await served.stub.SendMessage(asked(skill="write"), metadata=allowed)).task.artifacts
        refused = await refusal(served.stub.SendMessage(asked(skill="write"), metadata=as_caller("jwt")))
        assert refused.code is grpc.StatusCode.PERMISSION_DENIED


class Watching(grpc.aio.ServerInterceptor):
    """Notes the method of each call."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        self.seen.append(handler_call_details.method.rpartition("/")[2])
        return await continuation(handler_call_details)


async def test_a_server_with_interceptors_believes_the_sentinel_on_the_tunnel_only() -> None:
    watching = Watching()
    async with sentinel((known,)) as running:
        async with attached(
            told(), running.address, token="agent", auth=(Named(),), interceptors=(watching,)
        ) as served:
            assert (await said(served, as_caller("jwt")))["subject"] == "ann"
            assert running._signer is not None
            entry = (ENTRY, running._signer.sign(ANN, ADDRESS))
            async with channel_to(served.server.grpc_address) as direct, private(served) as stub:
                assert (await listed(stub, entry)).tasks
                for call in (listed(stub), listed(A2AServiceStub(direct), entry)):
                    assert (await refusal(call)).code is grpc.StatusCode.UNAUTHENTICATED
    assert watching.seen == ["SendMessage", "ListTasks", "ListTasks", "ListTasks"]


def test_a_private_socket_without_its_authenticator_is_refused(tmp_path: Path) -> None:
    for one in ({"private_socket": tmp_path / "s"}, {"private_callers": SignedCallers(ADDRESS)}):
        with pytest.raises(TypeError, match="come together"):
            Server(told(scopes=False), **one)


@covers("SEC-5")
async def test_a_stream_ends_when_the_credentials_of_its_caller_end() -> None:
    async with both() as (_, served):
        stream: Any = served.stub.SendStreamingMessage(asked(skill="wait"), metadata=as_caller("jwt", ends_in=2))

        async def read() -> None:
            while await stream.read() is not grpc.aio.EOF:
                pass

        assert (await refusal(read())).code is grpc.StatusCode.UNAUTHENTICATED
        tasks = (await served.stub.ListTasks(ListTasksRequest(tenant=ADDRESS), metadata=as_caller("jwt"))).tasks
        assert [task for task in tasks if task.status.state != TaskState.TASK_STATE_WORKING] == [], "tasks go on"


async def test_a_token_of_the_longest_size_passes(tmp_path: Path) -> None:
    async with Issuer() as issuer:
        token = issuer.token(scope=" ".join("scope" + str(number) for number in range(600)), sub="ann")
        assert 7500 < len(token) < 8192
        async with both(auth=(Jwt(issuer.url, [AUDIENCE]), known)) as (_, served):
            answer = await said(served, (*V1, ("authorization", f"Bearer {token}")))
            assert len(answer["scopes"]) == 600
            assert answer["claims"]["iss"] == answer["issuer"] == issuer.url


async def test_a_principal_that_is_too_large_is_refused_by_name() -> None:
    async def huge(credentials: CallCredentials) -> Principal | None:
        said = "x" * 30_000
        return Principal("a", claims={"x": said}) if credentials.metadata.get("x-huge") else await known(credentials)

    async with both(auth=(huge,)) as (_, served):
        refused = await refusal(listed(served.stub, ("x-huge", "1")))
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the credentials hold more" in refused.text


async def test_the_card_names_the_credentials_that_the_sentinel_accepts(tmp_path: Path) -> None:
    add(tmp_path / "keys.toml", "a2a_" + "a1" * 32)
    async with sentinel((ApiKeys(tmp_path / "keys.toml"), known)) as running:
        async with attached(told(), running.address, token="agent", auth=(Named(),)) as served:
            assert set(served.server.card.security_schemes) == {"api_key", "api_key_bearer"}


async def test_the_agent_of_a_restarted_sentinel_believes_the_new_key_and_no_longer_the_former(tmp_path: Path) -> None:
    async with both(listen=free_address()) as (first, served), private(served) as stub:
        assert first._signer is not None
        former = first._signer.sign(ANN, ADDRESS)
        task = (await served.stub.SendMessage(asked(), metadata=as_caller("jwt"))).task.id
        await listed(stub, (ENTRY, former))
        await first.stop()
        async with sentinel((known,), listen=first.address) as second:
            assert second._signer is not None
            current = second._signer.sign(ANN, ADDRESS)

            async def is_back() -> None:
                call = listed(stub, (ENTRY, current))
                assert await call.code() is grpc.StatusCode.OK
                assert [one.id for one in (await call).tasks] == [task]

            await eventually(is_back)

            async def is_refused() -> None:
                assert await listed(stub, (ENTRY, former)).code() is grpc.StatusCode.UNAUTHENTICATED

            await eventually(is_refused)

            found = await served.stub.GetTask(
                GetTaskRequest(tenant=ADDRESS, id=task), metadata=as_caller("jwt"), wait_for_ready=True
            )
            assert found.id == task


def new_key(path: Path) -> Path:
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    path.chmod(0o600)
    return path


async def test_sentinels_with_one_key_file_sign_for_each_other_and_others_do_not(tmp_path: Path) -> None:
    file = str(new_key(tmp_path / "key.pem"))
    async with both(signing_key=file) as (_, served), private(served) as stub:
        async with sentinel((known,), signing_key=file) as same, sentinel((known,)) as other:
            assert same._signer is not None
            assert other._signer is not None
            await listed(stub, (ENTRY, same._signer.sign(ANN, ADDRESS)))
            refused = await refusal(listed(stub, (ENTRY, other._signer.sign(ANN, ADDRESS))))
            assert refused.code is grpc.StatusCode.UNAUTHENTICATED


def welcome(signer: Signer | None) -> Welcome:
    return Welcome(principal_key=signer.public if signer else b"", tenant=ADDRESS)


def shown(*entries: str) -> CallCredentials:
    return CallCredentials("/m", {ENTRY: entries})


async def test_a_later_sentinel_that_does_not_sign_opens_nothing() -> None:
    callers, signer = SignedCallers(ADDRESS), Signer()
    assert await callers(shown()) is None
    name = callers.trust(welcome(signer))
    entry = signer.sign(ANN, ADDRESS)
    assert (await callers(shown(entry))) == ANN
    again = callers.trust(welcome(signer))
    callers.distrust(name)
    assert (await callers(shown(entry))) == ANN, "another tunnel has the same key"
    callers.distrust(again)
    callers.distrust(callers.trust(welcome(None)))
    for entries in ((), (entry,)):
        with pytest.raises(Refused):
            await callers(shown(*entries))


async def test_a_principal_is_signed_and_verified_once_and_never_counts_after_its_end() -> None:
    now = [1000.0]
    signer, callers = Signer(clock=lambda: now[0]), SignedCallers(ADDRESS, clock=lambda: now[0])
    callers.trust(welcome(signer))
    first = signer.sign(ANN, ADDRESS)
    known_callers = await callers(shown(first))
    now[0] += REUSE_S - 1
    assert signer.sign(Principal("ann", "jwt", "https://a.example"), ADDRESS) is first
    assert signer.sign(ANN, OTHER) != first
    assert signer.sign(Principal("bob", "jwt", "https://a.example"), ADDRESS) != first
    assert await callers(shown(first)) is known_callers
    now[0] += 1
    assert signer.sign(ANN, ADDRESS) != first
    now[0] = 1000 + LIFE_S + LEEWAY_S - 0.5
    assert await callers(shown(first)) is known_callers
    now[0] += 0.5
    with pytest.raises(Refused, match="expired"):
        await callers(shown(first))
    ending = Principal("ann", "jwt", "https://a.example", expires_at=now[0] + 5)
    assert jwt.decode(signer.sign(ending, ADDRESS), options={"verify_signature": False})["exp"] == now[0] + 5


@pytest.mark.parametrize("content", ["", "x", "rsa", "password"])
def test_a_signing_key_that_cannot_be_used_is_named_in_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    if content == "rsa":
        subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-out", file], check=True, capture_output=True)
    elif content == "password":
        options = ["-algorithm", "ed25519", "-aes256", "-pass", "pass:geheim", "-out", file]
        subprocess.run(["openssl", "genpkey", *map(str, options)], check=True)
    else:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match="Ed25519") as wrong:
        Signer(str(file))
    assert str(file) in str(wrong.value)
    assert "\n" not in str(wrong.value)
    with pytest.raises(ConfigurationError, match="signing_key"):
        Signer(str(tmp_path / "absent.pem"))


def test_a_signing_key_that_others_can_read_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = new_key(tmp_path / "key.pem")
    Signer(str(file))
    assert not caplog.text
    file.chmod(0o640)
    Signer(str(file))
    assert f"can read or write the signing key file={file} mode=0640" in caplog.text


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SentinelSettings(signing_key=""), "signing_key is empty"),
        (lambda: SentinelSettings(signing_key="k", pass_credentials=True), "both given"),
        (lambda: Sentinel(SentinelSettings(signing_key="k")), "no authenticators"),
    ],
)
async def test_settings_that_do_not_fit_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make()


async def test_a_welcome_with_a_malformed_key_is_no_proper_welcome(tmp_path: Path) -> None:
    async with both() as (running, _):
        for broken in (
            Welcome(principal_key=b"short"),
            Welcome(principal_key=bytes(32), security_schemes={"x": b"\xff"}),
        ):
            running._attaching._welcome = broken
            async with Attachment(attaching(running.address, OTHER, tmp_path, "agent")) as lost:
                with pytest.raises(InvalidRequestError, match="Welcome is malformed"):
                    await lost.welcome()


@covers("SEC-7")
async def test_no_secret_is_in_a_log_a_status_or_the_audit_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a2a_grpc", "grpc", "asyncio", ""):
        caplog.set_level(logging.DEBUG, name or None)
    file, audit = new_key(tmp_path / "key.pem"), tmp_path / "audit.jsonl"
    secret = "a2a_" + "c4" * 32
    add(tmp_path / "keys.toml", secret)
    auth = (ApiKeys(tmp_path / "keys.toml"), known)
    callers = AuthSettings(audit_log=str(audit))
    answers: list[str] = []
    async with both(auth=auth, signing_key=str(file), callers=callers) as (running, served), private(served) as stub:
        assert running._signer is not None
        entry = running._signer.sign(Principal("alice", "key"), ADDRESS)
        bad = entry[:-4] + "AAAA"
        answers.append(str(await said(served, (*V1, ("x-api-key", secret)))))
        for metadata in ((ENTRY, bad), ("x-api-key", secret)):
            answers.append(str(await refusal(listed(stub, metadata))))
        answers.append(str(await refusal(listed(served.stub, ("x-api-key", secret + "0")))))
        answers.append(str(await refusal(listed(served.stub, ("authorization", "Bearer agent-secret")))))
        answers.append(str(served.server.card))
    secrets = [secret, "agent-secret", *entry.split(".")[1:], bad, *file.read_text().splitlines()[1:2]]
    for text in (caplog.text, audit.read_text(), *answers):
        assert not [one for one in secrets if one in text]
    assert '"subject": "alice"' in audit.read_text()
    assert "auth refused" in caplog.text
