"""Several sentinels that share a store: any client at any sentinel reaches any agent, by one hop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import connect
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import PermissionDeniedError, UnavailableError
from a2a_grpc.parts import text_of
from a2a_grpc.principal import Principal
from a2a_grpc.registry import Entry, Key, open_entries
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.hop import Hops
from a2a_grpc.wire import A2AServiceStub, CancelTaskRequest, GetTaskRequest, Task, TaskArtifactUpdateEvent, TaskState
from tests.auth.callers import as_caller
from tests.auth.pki import Authority, write
from tests.databases import Postgres
from tests.harness import V1, Program, eventually, refusal, scripted_agent
from tests.sentinel.test_attaching import attachment, by_token
from tests.sentinel.test_identity import known, listed, said, told
from tests.sentinel.tunnels import (
    ADDRESS,
    attached,
    attached_raw,
    channel_to,
    ended,
    raw_server,
    sentinel,
    stream,
    unary,
)

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
MARK = "a2a-grpc-hop"


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sentinels.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, store: str) -> str:
    return store if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@asynccontextmanager
async def two(store: str, **settings: Any) -> AsyncIterator[tuple[Sentinel, Sentinel]]:
    async with sentinel(store=store, **settings) as one, sentinel(store=store, **settings) as other:
        yield one, other


async def seen(channel: grpc.aio.Channel) -> None:
    """Wait until an agent is reached. The store knows of it a moment after it was attached."""

    async def reached() -> None:
        assert (await ended(unary(channel)(REQUEST)))[1] is not grpc.StatusCode.UNAVAILABLE

    await eventually(reached, within_s=20)


async def answer(request: bytes, context: Any) -> bytes:
    await context.send_initial_metadata((("x-first", "1"),))
    received = [(key, value) for key, value in context.invocation_metadata() if key.startswith(("x-", "a2a-grpc-"))]
    context.set_trailing_metadata((*received, ("x-b-bin", b"\x00\xff")))
    if b"fail" in request:
        await context.abort(grpc.StatusCode.ABORTED, "aborted €")
    return request


async def three(request: bytes, context: Any) -> None:
    for _ in range(3):
        await context.write(request)


async def test_a_call_through_two_sentinels_is_byte_for_byte_a_direct_call(shared: str) -> None:
    async with two(shared) as (one, other), channel_to(other.address) as through:
        async with attached_raw(answer, one.address) as (_, direct):
            await seen(through)
            metadata = (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\x00\xfe"))
            for raw in (REQUEST, GetTaskRequest(tenant=ADDRESS, id="fail").SerializeToString()):
                call, plain = unary(through)(raw, metadata=metadata), unary(direct)(raw, metadata=metadata)
                assert await ended(call) == await ended(plain)
        async with attached_raw(three, one.address) as (_, direct):
            there = await ended(stream(direct)(REQUEST))

            async def streamed() -> None:
                assert await ended(stream(through)(REQUEST)) == there

            await eventually(streamed, within_s=20)
            assert len(there[0]) == 3


async def test_a_client_at_another_sentinel_sends_streams_cancels_and_gets_the_agents_refusals(store: str) -> None:
    async with two(store) as (one, other), attached(scripted_agent(), one.address):
        async with connect(ADDRESS, sentinel=other.address) as client:
            assert isinstance(await client.send("hello"), Task)
            async with client.stream({"script": [{"sleep": {"seconds": 60}}]}) as events:
                first = await anext(aiter(events))
                assert isinstance(first, Task)
                assert (await client.cancel(first.id)).status.state == TaskState.TASK_STATE_CANCELED
        async with channel_to(other.address) as channel:
            cancel = CancelTaskRequest(tenant=ADDRESS, id="nope")
            refused = await refusal(A2AServiceStub(channel).CancelTask(cancel, metadata=V1))
            assert refused.reason == "TASK_NOT_FOUND"


async def test_a_call_makes_one_hop_at_most(store: str, tmp_path: Path) -> None:
    """The store names a second sentinel that would be asked next. A marked call does not go there."""
    marks: list[str] = []

    async def counts(request: bytes, context: Any) -> bytes:
        marks.extend(str(value) for key, value in context.invocation_metadata() if key == MARK)
        return b"reached"

    entries = open_entries(store)
    await entries.open()
    async with sentinel(store=store) as running, channel_to(running.address) as channel:
        async with raw_server(counts, tmp_path / "s") as next_one:
            await entries.add(Entry(key=Key(ADDRESS, "i", next_one), tenant=ADDRESS))
            assert await unary(channel)(REQUEST) == b"reached"
            [mark] = marks
            for sent in (mark, "forged", ""):
                refused = await refusal(unary(channel)(REQUEST, metadata=((MARK, sent),)))
                assert refused.reason == "AGENT_NOT_ATTACHED"
            assert marks == [mark]
    await entries.close()


async def test_a_mark_that_a_client_sends_does_not_reach_the_agent(store: str) -> None:
    async with two(store) as (one, other), attached_raw(answer, one.address):
        for address in (one.address, other.address):
            async with channel_to(address) as channel:
                await seen(channel)
                call = unary(channel)(REQUEST, metadata=(("x-a", "1"),))
                assert [key for key, _ in (await ended(call))[4]] == ["x-a", "x-b-bin"]
        async with channel_to(one.address) as channel:
            call = unary(channel)(REQUEST, metadata=((MARK, "forged"), ("x-a", "1")))
            assert [key for key, _ in (await ended(call))[4]] == ["x-a", "x-b-bin"]


async def test_the_agent_sees_the_caller_of_the_other_sentinel_and_nobody_can_forge_one(store: str) -> None:
    settings: dict[str, Any] = {"store": store}
    async with sentinel((known,), **settings) as one, sentinel((known,), **settings) as other:
        async with attached(told(), one.address, token="agent") as served, channel_to(other.address) as channel:
            there = type(served)(served.server, channel, A2AServiceStub(channel))

            async def reached() -> None:
                assert (await ended(listed(there.stub, *as_caller("jwt"))))[1] is grpc.StatusCode.OK

            await eventually(reached, within_s=20)
            for caller in (as_caller("jwt"), as_caller("jwt", "bob"), as_caller("key")):
                assert await said(there, caller) == await said(served, caller)
            assert (await refusal(listed(there.stub))).code is grpc.StatusCode.UNAUTHENTICATED
            stranger = Hops()
            stranger.use(b"x" * 32)
            forged = stranger.mark(Principal("ann", "jwt", "https://a.example"), ADDRESS)
            for stub in (there.stub, served.stub):
                assert (await refusal(listed(stub, (MARK, forged)))).code is grpc.StatusCode.UNAUTHENTICATED


async def test_an_agent_of_another_sentinel_has_the_address_for_itself_unless_a_store_is_shared(
    store: str, tmp_path: Path
) -> None:
    async with two(store) as (one, other), attached_raw(answer, one.address, shared_store="s"):
        async with channel_to(other.address) as channel:
            await seen(channel)
        for named in ("", "other"):
            async with attachment(other.address, fail_fast=True, shared_store=named) as refused:
                with pytest.raises(UnavailableError, match="to another sentinel"):
                    await refused.welcome()
        async with attachment(other.address, shared_store="s") as second:
            await second.welcome()
    for name in ("ada", "bob"):
        (tmp_path / name).write_text(name)
    async with sentinel((by_token,), store=store) as one, sentinel((by_token,), store=store) as other:
        async with attached_raw(answer, one.address, attach_token_file=str(tmp_path / "ada")):
            entries = open_entries(store)
            await entries.open()
            await eventually(lambda: _has(entries))
            await entries.close()
            async with attachment(other.address, attach_token_file=str(tmp_path / "bob")) as foreign:
                with pytest.raises(PermissionDeniedError):
                    await foreign.welcome()


async def _has(entries: Any) -> None:
    assert await entries.at(ADDRESS)


def program(store: str, *options: str) -> Program:
    command = ("-m", "a2a_grpc", "sentinel", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "off")
    return Program(*command, "--store", store, *options)


@pytest.mark.long
async def test_kill_9_of_a_sentinel_ends_its_routes_within_the_lease_and_loses_no_stream(store: str) -> None:
    """The agent is attached to two sentinels, and the client calls at a third one."""
    lease = ("--registry-lease-s", "3")
    async with program(store, *lease) as lost, program(store, *lease) as stays, sentinel(store=store) as third:
        both = f"{lost.address},{stays.address}"
        async with attached(scripted_agent(), both):
            entries = open_entries(store)
            await entries.open()

            async def sentinels(expected: set[str]) -> None:
                assert {entry.key.sentinel for entry in await entries.at(ADDRESS)} == expected

            await eventually(lambda: sentinels({lost.address, stays.address}), within_s=20)
            async with connect(ADDRESS, sentinel=third.address) as client:
                pieces: list[str] = []
                async with client.stream({"script": [{"chunks": {"count": 100, "interval_s": 0.02}}]}) as events:
                    async for event in events:
                        if isinstance(event, TaskArtifactUpdateEvent):
                            pieces.append(text_of(event.artifact))
                        if len(pieces) == 10 and lost.process.returncode is None:
                            lost.process.kill()
                            await lost.process.wait()
                assert "".join(pieces).split() == [word for number in range(100) for word in ("chunk", str(number))]
                for _ in range(4):
                    assert isinstance(await client.send("hello"), Task)
            await eventually(lambda: sentinels({stays.address}), within_s=20)
            await entries.close()


async def test_a_sentinel_that_cannot_be_reached_fails_no_call_if_the_agent_is_at_another_one(store: str) -> None:
    entries = open_entries(store)
    await entries.open()
    for port in range(1, 6):
        await entries.add(Entry(key=Key(ADDRESS, f"i-{port}", f"127.0.0.1:{port}"), tenant=ADDRESS, store="s"))
    async with two(store) as (one, other), attached_raw(answer, one.address, shared_store="s"):
        await eventually(lambda: _there(entries, one.address))
        async with channel_to(other.address) as channel:
            codes = [(await ended(unary(channel)(REQUEST)))[1] for _ in range(10)]
            assert codes == [grpc.StatusCode.OK] * 10
    await entries.close()


async def _there(entries: Any, sentinel: str) -> None:
    assert sentinel in {entry.key.sentinel for entry in await entries.at(ADDRESS)}


@pytest.mark.long
async def test_calls_go_on_while_the_database_of_the_sentinels_is_down(postgres_server: Postgres) -> None:
    async with two(postgres_server.url(), registry_lease_s=30.0) as (one, other):
        async with (
            attached_raw(answer, one.address),
            channel_to(other.address) as there,
            channel_to(one.address) as here,
        ):
            await seen(there)
            await postgres_server.kill()
            await asyncio.sleep(1.2)  # until the answer of the store is not new any more
            assert [(await ended(unary(there)(REQUEST)))[1] for _ in range(20)] == [grpc.StatusCode.OK] * 20
            assert (await ended(unary(here)(REQUEST)))[1] is grpc.StatusCode.OK
            await postgres_server.start()
            await seen(there)


@pytest.mark.long
async def test_of_two_agents_that_attach_while_the_database_is_down_the_first_one_stays(
    postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "a2a_grpc.sentinel")
    async with two(postgres_server.url(), registry_lease_s=3.0) as (one, other):
        await postgres_server.kill()
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(attachment(one.address))
            await first.welcome()
            async with attachment(other.address) as second:
                await second.welcome()
                assert [len(running._routes.all()) for running in (one, other)] == [1, 1]
                await postgres_server.start()

                async def is_refused() -> None:
                    assert other._routes.all() == []
                    assert "another agent is attached at this address, to another sentinel" in caplog.text
                    assert [entry.key.sentinel for entry in await one.entries.at(ADDRESS)] == [one.address]

                await eventually(is_refused, within_s=60)
                assert len(one._routes.all()) == 1
                await stack.aclose()

                async def has_come() -> None:
                    assert len(other._routes.all()) == 1

                await eventually(has_come, within_s=60)


async def test_an_agent_whose_only_sentinel_cannot_be_reached_is_not_attached(store: str) -> None:
    entries = open_entries(store)
    await entries.open()
    async with sentinel(store=store) as running, channel_to(running.address) as channel:
        for place in ("127.0.0.1:9", "no address"):
            await entries.add(Entry(key=Key(ADDRESS, "i", place), tenant=ADDRESS))
            refused = await refusal(unary(channel)(REQUEST))
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_NOT_ATTACHED")
            await entries.remove(Key(ADDRESS, "i", place), "")
    await entries.close()


async def test_a_sentinel_of_several_needs_an_address_for_the_others(store: str) -> None:
    with pytest.raises(ConfigurationError, match="peer_address"):
        Sentinel(SentinelSettings(listen="0.0.0.0:0", insecure=True, store=store, http_listen="off"))
    with pytest.raises(ConfigurationError, match=r"peer_address is '0\.0\.0\.0:8000'"):
        SentinelSettings(peer_address="0.0.0.0:8000")
    with pytest.raises(ConfigurationError, match="--peer-plaintext and certificates exclude"):
        SentinelSettings(peer_plaintext=True, peer_ca_cert="ca.pem")
    with pytest.raises(ConfigurationError, match="--route-plaintext and --route-ca-cert exclude"):
        SentinelSettings(route_plaintext=True, route_ca_cert="ca.pem")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"peer_cert": "c", "peer_key": "k"}, "store is 'memory:', which no other sentinel shares; --peer-cert has no"),
        ({"peer_plaintext": True}, "store is 'memory:', which no other sentinel shares; --peer-plaintext has no"),
        ({"route_ca_cert": "ca"}, "--route is missing; --route-ca-cert has no effect without it"),
    ],
)
async def test_a_setting_that_has_no_effect_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Sentinel(SentinelSettings(**options))


async def test_files_for_calls_to_others_that_cannot_be_read_are_named_at_the_start(store: str) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"peer_ca_cert": "/no/file"}, "cannot read peer_ca_cert '/no/file'"),
        ({"peer_cert": "/no/file"}, "peer_key is missing"),
        ({"peer_cert": "/no/file", "peer_key": "/no/key"}, "cannot read peer_key '/no/key'"),
        ({"route": "a@b=c:1", "route_ca_cert": "/no/file"}, "cannot read route_ca_cert '/no/file'"),
    ]
    for options, named in wrong:
        with pytest.raises(ConfigurationError, match=named):
            async with sentinel(store=store, **options):
                pass


async def test_sentinels_call_one_another_with_tls_and_client_certificates(store: str, tmp_path: Path) -> None:
    servers, clients = Authority(), Authority("Sentinels")
    certificate, key = servers.issue("localhost", dns=("localhost",)).write(tmp_path)
    peer_cert, peer_key = clients.issue("sentinel", dns=("sentinel.example",)).write(tmp_path, "peer")
    settings: dict[str, Any] = {
        "store": store, "listen": "localhost:0/mtls,localhost:0/tls", "tls_cert": str(certificate), "tls_key": str(key),
        "tls_client_ca": str(write(tmp_path / "clients.pem", clients.pem)),
        "peer_ca_cert": str(write(tmp_path / "servers.pem", servers.pem)),
    }  # fmt: skip
    trust = {"ca_cert": settings["peer_ca_cert"]}
    mutual: dict[str, Any] = {"peer_cert": str(peer_cert), "peer_key": str(peer_key)}
    async with sentinel(**settings, **mutual) as one, sentinel(**settings, **mutual) as other:
        attach = {"attach_ca_cert": settings["peer_ca_cert"]}
        async with attached(scripted_agent(), one.addresses[1], attach=attach):
            async with connect(ADDRESS, sentinel=other.addresses[1], **trust) as client:
                assert isinstance(await client.send("hello"), Task)


def test_marks_are_for_one_address_one_secret_and_two_minutes() -> None:
    now = 1000.0
    hops = Hops(clock=lambda: now)
    ann = Principal("ann", "jwt", "https://a.example", claims={"a": [1]}, scopes=frozenset(["x"]), expires_at=2000.0)
    hops.use(b"s" * 32)
    mark = hops.mark(ann, ADDRESS)
    assert hops.caller([mark]) == hops.caller([mark], ADDRESS) == ann
    assert hops.caller([mark], "other@fame.fabric") is None
    payload, _, code = mark.partition(".")
    wrong: list[list[str | bytes]] = [
        [],
        [mark, mark],
        [mark[:-1]],
        [payload],
        [f"{payload}A.{code}"],
        ["."],
        [""],
        [b"x"],
        ["é.é"],
        [mark * 999],
    ]
    assert [hops.caller(values) for values in wrong] == [None] * len(wrong)
    nobody = hops.caller([hops.mark(Principal(), ADDRESS)])
    assert nobody is not None
    assert nobody.is_anonymous
    now = 1121.0
    assert hops.caller([mark]) is None
    assert Hops().caller([mark]) is None


def _assert(holds: bool) -> None:
    assert holds
