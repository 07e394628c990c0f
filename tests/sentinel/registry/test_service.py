"""The registry's gRPC service at a sentinel: who registers, who finds whom, pages, bad requests."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc.auth import CallCredentials
from a2a_grpc.client import ClientManager, FoundAgent, NoAgentFound, Registry, bearer, find_agent
from a2a_grpc.client.registry import REGISTRY_URL
from a2a_grpc.config import ConfigurationError
from a2a_grpc.principal import Principal
from a2a_grpc.registry.pages import MAX_BYTES
from a2a_grpc.registry.wire import (
    FindRequest,
    GetRequest,
    HeartbeatRequest,
    ListRequest,
    RegisterRequest,
    RegistryStub,
    UnregisterRequest,
)
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.wire import AgentCard
from tests.harness import eventually, refusal, scripted_agent, serving
from tests.ports import free_port
from tests.sentinel.registry.test_entries import card
from tests.sentinel.tunnels import ADDRESS, attached, channel_to

TENANTS = {"narrow": frozenset(["acme"])}


async def by_token(credentials: CallCredentials) -> Principal | None:
    """An authenticator: each bearer token is the name of its caller."""
    shown = credentials.metadata.get("authorization")
    if not shown:
        return None
    name = str(shown[0]).removeprefix("Bearer ")
    return Principal(subject=name, tenants=TENANTS.get(name))


def of(name: str) -> Any:
    return (("authorization", f"Bearer {name}"),)


@asynccontextmanager
async def sentinel(url: str = "memory:", *, is_open: bool = True, **settings: Any) -> AsyncIterator[Sentinel]:
    made = SentinelSettings(
        listen="127.0.0.1:0", http_listen="off", drain_grace_s=0, store=url, pass_credentials=not is_open, **settings
    )
    async with Sentinel(made, auth=[] if is_open else [by_token]) as running:
        yield running


@asynccontextmanager
async def stub_of(running: Sentinel) -> AsyncIterator[Any]:
    async with channel_to(running.address) as channel:
        yield RegistryStub(channel)


def registration(name: str = "poet", instance: str = "i", **fields: Any) -> RegisterRequest:
    values = {"url": f"http://{instance}.example", "card": card(name, "", ("write", "verse")), **fields}
    return RegisterRequest(name=name, instance=instance, **values)


async def test_an_attached_agent_is_in_the_registry_until_it_leaves(url: str) -> None:
    async with sentinel(url) as running, Registry(running.address) as registry:
        async with attached(scripted_agent(), running.address):

            async def is_there() -> None:
                assert [agent.name async for agent in registry.list()] == [ADDRESS]

            await eventually(is_there)
            found = await registry.get(ADDRESS)
            assert (found.target, found.sentinel, found.tenant) == (ADDRESS, running.address, ADDRESS)
            async with found.connect() as client:
                await client.send("hello")

        async def is_gone() -> None:
            assert [agent.name async for agent in registry.list()] == []

        await eventually(is_gone)
        with pytest.raises(NoAgentFound):
            await registry.get(ADDRESS)


async def test_the_card_of_an_attached_agent_can_be_searched() -> None:
    async with sentinel() as running, attached(scripted_agent(), running.address) as served:
        assert served.server.card.name

        async def is_found() -> None:
            async with Registry(running.address) as registry:
                words = served.server.card.name
                assert [agent.name async for agent in registry.find(query=words)] == [ADDRESS]

        await eventually(is_found)


async def test_an_agent_registers_renews_and_unregisters(url: str) -> None:
    async with sentinel(url) as running, stub_of(running) as stub:
        assert (await stub.Register(registration())).lease_s == running.settings.registry_lease_s
        assert (
            await stub.Heartbeat(HeartbeatRequest(name="poet", instance="i"))
        ).lease_s == running.settings.registry_lease_s
        found = await stub.Get(GetRequest(name="poet"))
        assert (found.name, found.url, found.attached) == ("poet", "http://i.example", False)
        assert AgentCard.FromString(found.card).name == "poet"
        await stub.Unregister(UnregisterRequest(name="poet", instance="i"))
        for gone in (
            stub.Heartbeat(HeartbeatRequest(name="poet", instance="i")),
            stub.Unregister(UnregisterRequest(name="poet", instance="i")),
            stub.Get(GetRequest(name="poet")),
            stub.Get(GetRequest(name="po\0et")),
        ):
            assert (await refusal(gone)).reason == "AGENT_NOT_FOUND"


async def test_an_entry_belongs_to_the_principal_that_has_registered_it(url: str) -> None:
    async with sentinel(url, is_open=False) as running, stub_of(running) as stub:
        await stub.Register(registration(), metadata=of("ada"))
        denied = await refusal(stub.Register(registration(instance="j"), metadata=of("bob")))
        assert denied.code is grpc.StatusCode.PERMISSION_DENIED
        renewal = stub.Heartbeat(HeartbeatRequest(name="poet", instance="i"), metadata=of("bob"))
        assert (await refusal(renewal)).reason == "AGENT_NOT_FOUND"
        removal = stub.Unregister(UnregisterRequest(name="poet", instance="i"), metadata=of("bob"))
        assert (await refusal(removal)).reason == "AGENT_NOT_FOUND"
        assert (await refusal(stub.Register(registration()))).code is grpc.StatusCode.UNAUTHENTICATED
        await stub.Heartbeat(HeartbeatRequest(name="poet", instance="i"), metadata=of("ada"))


async def test_a_caller_sees_only_what_its_credentials_cover(url: str) -> None:
    async with sentinel(url, is_open=False) as running, stub_of(running) as stub:
        await stub.Register(registration("a", tenant="acme"), metadata=of("ada"))
        await stub.Register(registration("b", tenant="other"), metadata=of("ada"))
        await stub.Register(registration("c"), metadata=of("ada"))
        for name, seen in (("ada", ["a", "b", "c"]), ("narrow", ["a"])):
            page = await stub.List(ListRequest(), metadata=of(name))
            assert [agent.name for agent in page.agents] == seen
            page = await stub.Find(FindRequest(skill="write"), metadata=of(name))
            assert [agent.name for agent in page.agents] == seen
        hidden = await refusal(stub.Get(GetRequest(name="b"), metadata=of("narrow")))
        missing = await refusal(stub.Get(GetRequest(name="d"), metadata=of("narrow")))
        assert (hidden.code, hidden.reason) == (missing.code, missing.reason)
        token = (await stub.List(ListRequest(page_size=1), metadata=of("ada"))).next_page_token
        stolen = await refusal(stub.List(ListRequest(page_token=token), metadata=of("narrow")))
        assert stolen.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_lists_come_in_pages_in_the_order_of_names(url: str) -> None:
    async with sentinel(url) as running, stub_of(running) as stub:
        names = [f"agent-{number:02}" for number in range(12)]
        for name in reversed(names):
            await stub.Register(registration(name))
        lists: list[Any] = [
            (stub.List, ListRequest(page_size=5)),
            (stub.Find, FindRequest(page_size=5, text="agent")),
        ]
        for call, request in lists:
            read: list[str] = []
            sizes: list[int] = []
            while True:
                page = await call(request)
                read += [agent.name for agent in page.agents]
                sizes.append(len(page.agents))
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
            assert (read, sizes) == (names, [5, 5, 2])
        wrong = FindRequest(page_token=request.page_token, text="another")
        assert (await refusal(stub.Find(wrong))).code is grpc.StatusCode.INVALID_ARGUMENT
        async with Registry(running.address) as registry:
            assert [agent.name async for agent in registry.list()] == names


async def test_pages_of_large_cards_are_shorter() -> None:
    async with sentinel() as running, stub_of(running) as stub:
        large = AgentCard(name="large", description="x" * (200 << 10)).SerializeToString()
        for number in range(14):
            await stub.Register(registration(f"agent-{number:02}", card=large))
        page = await stub.List(ListRequest())
        assert 0 < len(page.agents) < 14
        assert page.ByteSize() <= MAX_BYTES + (1 << 10)
        async with Registry(running.address) as registry:
            assert len([agent async for agent in registry.list()]) == 14


BAD = [
    (registration(""), "name"),
    (registration("a@b"), "name"),
    (registration("a\x1bb"), "name"),
    (registration("n" * 257), "name"),
    (registration(instance=""), "instance"),
    (registration(instance="i" * 65), "instance"),
    (registration(url=""), "url"),
    (registration(url="./card.json"), "url"),
    (registration(url="unix:/run/agent.sock"), "url"),
    (registration(url="ftp://host"), "url"),
    (registration(url="http://user:secret@host"), "url"),
    (registration(tenant="\0"), "tenant"),
    (registration(card=b""), "card"),
    (registration(card=b"\xff\xff"), "card"),
    (registration(card=b"x" * (300 << 10)), "card"),
]


async def test_a_bad_registration_is_refused_with_the_name_of_the_field() -> None:
    async with sentinel() as running, stub_of(running) as stub:
        for request, field in BAD:
            refused = await refusal(stub.Register(request))
            assert refused.code is grpc.StatusCode.INVALID_ARGUMENT, request
            assert f"{field}:" in refused.text
            assert "secret" not in refused.text
        for bad in (ListRequest(page_size=-1), ListRequest(page_token="x"), ListRequest(page_token="é" * 5000)):
            assert (await refusal(stub.List(bad))).code is grpc.StatusCode.INVALID_ARGUMENT
        for wrong in (FindRequest(tags=["t"] * 17), FindRequest(text="t" * 2001), FindRequest(skill="\0")):
            assert (await refusal(stub.Find(wrong))).code is grpc.StatusCode.INVALID_ARGUMENT
        assert not (await stub.List(ListRequest())).agents


async def test_bytes_that_are_no_request_are_refused() -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        call: Any = channel.unary_unary("/a2a_grpc.sentinel.v1.Registry/Register")
        assert (await refusal(call(b"\xff\xff"))).code is grpc.StatusCode.INVALID_ARGUMENT


async def test_find_agent_takes_the_best_or_the_one_that_a_function_selects() -> None:
    async with sentinel() as running, stub_of(running) as stub:
        await stub.Register(registration("a", card=card("Weather", "Tells the weather in a city.")))
        await stub.Register(registration("b", card=card("Translator", "Translates to French.", ("translate", "fr"))))
        assert (await find_agent(running.address, query="translate this to French, please")).name == "b"
        assert (await find_agent(running.address, skill="translate", tags=["FR"])).name == "b"
        offered: list[str] = []

        async def last(agents: Sequence[FoundAgent], query: str) -> FoundAgent | None:
            offered.extend([*(agent.name for agent in agents), query])
            return agents[-1]

        assert (await find_agent(running.address, query="anything", select=last)).name == "b"
        assert offered == ["a", "b", "anything"]
        with pytest.raises(NoAgentFound, match="no agent that you may call with the skill 'sing'"):
            await find_agent(running.address, skill="sing")
        with pytest.raises(NoAgentFound):
            await find_agent(running.address, query="any", select=lambda agents, query: None)
        with pytest.raises(NoAgentFound):
            await find_agent(running.address, query="please do this for me")
        with pytest.raises(TypeError, match="select returned a str"):
            await find_agent(running.address, select=lambda agents, query: "b")  # type: ignore[arg-type,return-value]


async def test_the_registry_is_named_by_argument_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sentinel() as running, stub_of(running) as stub:
        await stub.Register(registration())
        monkeypatch.setenv(REGISTRY_URL, f"http://{running.address}")
        assert (await find_agent()).name == "poet"
        monkeypatch.setenv(REGISTRY_URL, "http://127.0.0.1:1")
        monkeypatch.setenv("A2A_GRPC_SENTINEL", running.address)
        assert (await find_agent()).name == "poet"
        monkeypatch.delenv("A2A_GRPC_SENTINEL")
        monkeypatch.delenv(REGISTRY_URL)
        with pytest.raises(ConfigurationError, match="no registry is named"):
            await find_agent()
        with pytest.raises(ConfigurationError, match="registry is 'ftp://x'"):
            await find_agent("ftp://x")


async def test_credentials_are_shown_to_the_registry() -> None:
    async with sentinel(is_open=False) as running, stub_of(running) as stub:
        await stub.Register(registration(), metadata=of("ada"))
        assert (await find_agent(running.address, credentials=bearer("ada"))).name == "poet"


async def test_discover_reports_each_agent_of_a_registry_and_raises_nothing() -> None:
    async with sentinel() as running, stub_of(running) as stub, ClientManager() as agents:
        gone = f"http://127.0.0.1:{free_port()}"
        async with serving(scripted_agent(), http_listen="127.0.0.1:0") as other:
            here = other.server.http_url
            await stub.Register(registration("alive", url=here))
            await stub.Register(registration("alive", instance="j", url=gone))
            await stub.Register(registration("gone", url=gone))
            async with attached(scripted_agent(), running.address):
                found: list[Any] = []

                async def all_are_there() -> None:
                    found[:] = await agents.discover(running.address)
                    assert [one.url for one in found] == [here, gone, ADDRESS]

                await eventually(all_are_there)
                assert [one.error is None for one in found] == [True, False, True]
                assert agents.names == ["alive", ADDRESS]
                for name in agents.names:
                    await agents.agent(name).run("hello")
        lost = await agents.discover(gone.removeprefix("http://"), timeout_s=2)
        assert [(one.card, one.error is None) for one in lost] == [(None, False)]


@pytest.mark.long
async def test_a_registry_whose_database_is_gone_says_unavailable(postgres_server: Any) -> None:
    async with sentinel(postgres_server.url()) as running, stub_of(running) as stub:
        await stub.Register(registration())
        await postgres_server.kill()
        refused = await refusal(stub.List(ListRequest()))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
        assert "registry does not answer" in refused.text
        async with attached(scripted_agent(), running.address):  # agents attach all the same
            await postgres_server.start()

            async def is_back() -> None:
                page = await stub.List(ListRequest())
                assert ADDRESS in [agent.name for agent in page.agents]

            async with asyncio.timeout(30):
                while True:
                    try:
                        await is_back()
                        return
                    except (AssertionError, grpc.aio.AioRpcError):
                        await asyncio.sleep(0.2)
