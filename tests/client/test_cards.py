"""Agent cards as clients use them: read, checked, an interface chosen, its tenant on every request (spec §8)."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import Client, connect, text_of
from a2a_grpc.client import AgentCardError
from a2a_grpc.client.card import (
    choose_interface,
    interface_address,
    missing_fields,
    problems_of,
    read_card,
    usable_interface,
)
from a2a_grpc.errors import (
    InvalidRequestError,
    PushNotificationNotSupportedError,
    UnsupportedOperationError,
)
from a2a_grpc.lifecycle import CANCELED, COMPLETED
from a2a_grpc.wire import AgentCard, AgentInterface, Task
from tests.client.peers import CONFIG, OPERATIONS, RPCS, Page, Site, card_json, collected, interface_json, peering
from tests.covers import covers
from tests.harness import scripted_agent, serving

HTTP = "127.0.0.1:0"
WAITING: Any = {"script": [{"input": "Which?"}]}


def card_of(*interfaces: dict[str, Any], **members: Any) -> AgentCard:
    """A valid card with these interfaces."""
    return read_card(json.dumps(card_json("", supportedInterfaces=list(interfaces), **members)), "here")


def chosen(*interfaces: dict[str, Any]) -> str:
    """The URL of the interface that is chosen."""
    return choose_interface(card_of(*interfaces), "here").url


# -- an interface is chosen


@covers("SEL-1", "VER-7")
def test_the_first_grpc_interface_is_taken_whatever_stands_before_it() -> None:
    assert (
        chosen(
            interface_json("https://a.example/rpc", binding="JSONRPC"),
            interface_json("first:1"),
            interface_json("second:2"),
        )
        == "first:1"
    )


@covers("SEL-4", "VER-7")
def test_an_interface_of_another_version_is_passed_over() -> None:
    assert (
        chosen(interface_json("old:1", version="0.3"), interface_json("new:2", version="2.0"), interface_json("it:3"))
        == "it:3"
    )


@covers("VER-4")
@pytest.mark.parametrize("version", ["1.0", "1.0.0", "1.0.3"])
def test_the_patch_number_of_a_version_does_not_count(version: str) -> None:
    assert chosen(interface_json("it:1", version=version)) == "it:1"


@covers("SEL-4", "VER-9", "VER-6")
@pytest.mark.parametrize("version", ["0.3", "0.3.0", "1.1", "1", "10.0", "2.0", "v1.0"])
def test_no_other_version_will_do(version: str) -> None:
    with pytest.raises(AgentCardError, match=r"no GRPC interface for A2A 1\.0"):
        chosen(interface_json("it:1", version=version))


@covers("SEL-4")
@pytest.mark.parametrize("binding", ["HTTP+JSON", "JSONRPC", "https://bindings.example/grpc", ""])
def test_the_binding_is_the_word(binding: str) -> None:
    with pytest.raises(AgentCardError, match="no GRPC interface"):
        chosen(interface_json("it:1", binding=binding))


def test_a_card_without_a_grpc_interface_says_what_it_has_instead() -> None:
    with pytest.raises(AgentCardError) as refused:
        chosen(interface_json("https://a.example/rpc", binding="JSONRPC"), interface_json("a.example:1", version="0.3"))
    assert "the card at here" in str(refused.value)
    assert "JSONRPC 1.0 at https://a.example/rpc" in str(refused.value)
    assert "GRPC 0.3 at a.example:1" in str(refused.value)


# -- it is read


@covers("WIRE-5")
def test_members_that_this_client_does_not_know_are_ignored_at_every_depth() -> None:
    members = card_json("a.example:1", iconColour="red", novelty={"deep": [1, 2]})
    members["skills"][0]["price"] = 5
    members["supportedInterfaces"][0]["weight"] = 1
    card = read_card(json.dumps(members), "here")
    assert missing_fields(card) == []
    assert (card.name, card.supported_interfaces[0].url) == ("Elsewhere", "a.example:1")


@covers("WIRE-5")
def test_names_as_in_the_proto_are_read_too() -> None:
    members = card_json("a.example:1")
    members["supported_interfaces"] = members.pop("supportedInterfaces")
    assert read_card(json.dumps(members), "here").supported_interfaces[0].url == "a.example:1"


V03 = {
    "name": "Old",
    "description": "Of another time.",
    "url": "https://old.example/a2a",
    "preferredTransport": "JSONRPC",
    "protocolVersion": "0.3.0",
    "version": "1.0.0",
    "capabilities": {},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [],
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"<!doctype html><title>Welcome</title>", "is not JSON"),
        (b'{"name": "cut', "is not JSON"),
        (b'{"name": ' + b"9" * 5000 + b"}", "is not JSON: a number has 5000 digits"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[]", "is a JSON list, not an object"),
        (b'"card"', "is a JSON str, not an object"),
        (b"null", "not an object"),
        (json.dumps(V03).encode(), "is for A2A 0.3.0; this client speaks 1.0"),
        (b'{"iconUrl": "a", "icon_url": "b"}', "is no agent card"),
    ],
    ids=["empty", "HTML", "cut off", "many digits", "not text", "list", "string", "null", "0.3", "two spellings"],
)
def test_what_is_no_card_is_told_as_such_with_where_it_came_from(content: bytes, said: str) -> None:
    with pytest.raises(AgentCardError) as refused:
        read_card(content, "https://a.example/card")
    assert "the card at https://a.example/card" in str(refused.value)
    assert said in str(refused.value)


def test_a_card_nested_deeper_than_anybody_reads_is_no_card() -> None:
    with pytest.raises(AgentCardError):
        read_card(b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "here")


def test_a_message_does_not_repeat_a_large_card() -> None:
    with pytest.raises(AgentCardError) as refused:
        read_card(json.dumps({"supportedInterfaces": [], "supported_interfaces": "y" * 100_000}), "here")
    assert len(str(refused.value)) < 2000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*card_json("x"), "url", "tenant", "id", "uri", "params"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_valid_card_or_an_agent_card_error(content: Any) -> None:
    try:
        card = read_card(json.dumps(content), "here")
        interface, _ = usable_interface(card, "here", card_host="", any_host=False)
    except AgentCardError:
        return
    assert interface.url


@given(st.binary(max_size=60))
def test_bytes_that_are_no_card_are_an_agent_card_error(content: bytes) -> None:
    with pytest.raises(AgentCardError):
        choose_interface(read_card(content, "here"), "here")


# -- it is checked

REQUIRED = ["name", "description", "version", "supportedInterfaces", "capabilities", "skills"]
REQUIRED += ["defaultInputModes", "defaultOutputModes"]


@covers("CARD-9")
@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_field_that_is_missing_is_named(name: str) -> None:
    card = read_card(json.dumps(card_json("a.example:1", **cast("Any", {name: None}))), "here")
    assert problems(card)[0] == f"{name} is missing"


def problems(card: AgentCard) -> list[str]:
    return problems_of(card, "here", card_host="", any_host=False)


@covers("CARD-9")
def test_fields_deep_inside_are_named_by_their_path() -> None:
    members = card_json("a.example:1")
    members["skills"].append({"id": "t", "name": "T", "description": "Does."})
    del members["supportedInterfaces"][0]["protocolVersion"]
    assert problems(read_card(json.dumps(members), "here")) == [
        "supportedInterfaces[0].protocolVersion is missing",
        "skills[1].tags is missing",
    ]


# -- where its interface may be


def where(url: str, *, card_host: str = "", any_host: bool = False) -> str:
    return str(interface_address(AgentInterface(url=url), "here", card_host=card_host, any_host=any_host))


@pytest.mark.parametrize(
    "url", ["agents.example:443", "Agents.Example:50051", "https://agents.example/a2a", "grpcs://agents.example:7000"]
)
def test_the_interface_may_be_at_any_port_of_the_cards_own_host(url: str) -> None:
    assert where(url, card_host="agents.example")


@pytest.mark.parametrize(
    "url",
    [
        "evil.example:443",
        "agents.example.evil.example:443",
        "x.agents.example:443",
        "127.0.0.1:443",
        "unix:/run/x.sock",
    ],
)
def test_an_interface_on_another_host_than_the_cards_is_refused_unless_allowed(url: str) -> None:
    with pytest.raises(AgentCardError) as refused:
        where(url, card_host="agents.example")
    assert "another host" in str(refused.value)
    assert url in str(refused.value)
    assert "--any-card-host" in str(refused.value)
    assert where(url, card_host="agents.example", any_host=True) == url


@pytest.mark.parametrize("url", ["localhost:1", "127.0.0.1:1", "[::1]:1"])
@pytest.mark.parametrize("card_host", ["localhost", "127.0.0.1", "::1"])
def test_all_names_of_this_machine_are_one_host(url: str, card_host: str) -> None:
    assert where(url, card_host=card_host) == url


def test_a_card_from_a_file_may_name_any_host() -> None:
    assert where("agents.example:443") == "agents.example:443"


@covers("CARD-8")
@pytest.mark.parametrize("url", ["ftp://agents.example", "agents.example:x", "http://"])
def test_an_interface_that_cannot_be_called_is_the_cards_fault(url: str) -> None:
    with pytest.raises(AgentCardError) as refused:
        where(url)
    assert "the card at here" in str(refused.value)
    assert url.removesuffix("://") in str(refused.value)


async def test_a_client_is_held_to_the_cards_host_and_may_be_let_go() -> None:
    async with peering() as peer, Site(Page.card(peer.address)) as site:
        elsewhere = site.url.replace("127.0.0.1", "0.0.0.0")
        with pytest.raises(AgentCardError, match="another host"):
            async with connect(elsewhere):
                pass
        assert peer.calls == []
        async with connect(elsewhere, any_card_host=True) as client:
            assert (await client.get("t-1")).id == "t-1"


# -- its tenant


@covers("OP-3", "SEL-2")
@pytest.mark.few(6)
@pytest.mark.parametrize("rpc", RPCS)
async def test_the_tenant_of_the_interface_goes_on_every_request(rpc: str) -> None:
    async with peering() as peer, Site(Page.card(peer.address, tenant="acme")) as site:
        async with connect(site.url) as client:
            await OPERATIONS[rpc](client)
    assert [call.request.tenant for call in peer.of(rpc)] == ["acme"]


@covers("SEL-2")
@pytest.mark.few(6)
@pytest.mark.parametrize("rpc", RPCS)
async def test_without_a_tenant_the_field_stays_unset(rpc: str) -> None:
    async with peering() as peer, Site(Page.card(peer.address)) as site:
        async with connect(site.url) as client:
            await OPERATIONS[rpc](client)
    assert [call.request.tenant for call in peer.of(rpc)] == [""]


@pytest.mark.few(6)
@pytest.mark.parametrize("rpc", RPCS)
async def test_a_tenant_of_the_callers_choice_replaces_that_of_the_card(rpc: str) -> None:
    async with peering() as peer, Site(Page.card(peer.address, tenant="acme")) as site:
        async with connect(site.url, tenant="other") as client:
            await OPERATIONS[rpc](client)
    assert [call.request.tenant for call in peer.of(rpc)] == ["other"]


@covers("SEL-2")
async def test_the_interface_that_is_chosen_gives_the_tenant_and_not_another_one() -> None:
    interfaces = [interface_json("x:1", binding="JSONRPC", tenant="wrong"), interface_json("", tenant="right")]
    async with peering() as peer:
        interfaces[1]["url"] = peer.address
        async with Site(Page.card(supportedInterfaces=interfaces)) as site, connect(site.url) as client:
            await client.get("t-1")
    assert [call.request.tenant for call in peer.calls] == ["right"]


@covers("Q9")
async def test_a_push_config_that_is_created_is_not_changed_by_it() -> None:
    async with peering() as peer, Site(Page.card(peer.address, tenant="acme")) as site:
        async with connect(site.url) as client:
            await client.create_push_config(CONFIG)
    assert CONFIG.tenant == ""


@covers("OP-3")
async def test_a_server_of_one_tenant_serves_a_client_that_read_its_card() -> None:
    async with serving(scripted_agent(), tenant="acme", only_tenant=True, http_listen=HTTP) as served:
        assert served.server.http_url is not None
        async with connect(served.server.http_url) as client:
            await every_operation_of_our_server(client)
        async with connect(served.server.grpc_address) as stranger:
            with pytest.raises(InvalidRequestError, match="tenant"):
                await stranger.send("hello")


async def every_operation_of_our_server(client: Client) -> None:
    """Each of the eleven RPCs gets past the gate."""
    done = await client.send("hello")
    assert isinstance(done, Task)
    assert done.status.state == COMPLETED
    started = await client.start(WAITING)
    assert isinstance(started, Task)
    waiting = await client.wait(started.id)
    async with client.subscribe(waiting.id) as events:
        assert (await anext(events)) == waiting
    assert (await client.cancel(waiting.id)).status.state == CANCELED
    assert (await client.get(done.id)).id == done.id
    assert {task.id for task in await collected(client.list())} == {done.id, waiting.id}
    for push in (
        client.create_push_config(CONFIG),
        client.get_push_config(done.id, "p-1"),
        client.delete_push_config(done.id, "p-1"),
        collected(client.list_push_configs(done.id)),
    ):
        with pytest.raises(PushNotificationNotSupportedError):
            await push
    with pytest.raises(UnsupportedOperationError):
        await client.extended_card()


# -- from anywhere


async def test_a_card_that_our_server_serves_leads_to_it() -> None:
    async with serving(scripted_agent(), http_listen=HTTP) as served:
        assert served.server.http_url is not None
        async with connect(served.server.http_url) as client:
            assert await client.card() == served.server.card
            assert text_of(await client.send("hello")) == "hello"


async def test_a_card_in_a_file_leads_to_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cards").mkdir()
    async with peering() as peer:
        for name in ("agent.json", "cards/agent"):
            (tmp_path / name).write_text(json.dumps(card_json(peer.address, tenant="acme")))
        for target in (
            "agent.json",
            "./agent.json",
            "cards/agent",
            f"{tmp_path}/agent.json",
            f"file://{tmp_path}/agent.json",
        ):
            async with connect(target) as client:
                assert (await client.get("t-1")).id == "t-1"
    assert [call.request.tenant for call in peer.calls] == ["acme"] * 5


@pytest.mark.parametrize("target", ["./missing.json", "./", "./a\0b.json"], ids=["missing", "a folder", "no path"])
async def test_a_card_file_that_cannot_be_read_is_named(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AgentCardError) as refused:
        async with connect(target):
            pass
    assert target in str(refused.value)


@covers("P18")
async def test_a_card_with_an_interface_of_an_older_form_leads_to_the_agent() -> None:
    async with peering() as peer:
        for url in (f"http://{peer.address}", f"grpc://{peer.address}/a2a/v1", f"dns:///{peer.address}"):
            async with Site(Page.card(url)) as site, connect(site.url) as client:
                assert (await client.get("t-1")).id == "t-1"


@covers("CARD-10")
async def test_an_agent_whose_card_says_that_it_does_not_stream_is_not_asked_to() -> None:
    async with peering() as peer, Site(Page.card(peer.address, capabilities={"streaming": False})) as site:
        async with connect(site.url) as client:
            assert isinstance(await client.send("hello"), Task)
    assert [call.rpc for call in peer.calls] == ["SendMessage"]


async def test_an_agent_that_is_called_by_its_address_has_no_public_card() -> None:
    async with peering() as peer, connect(peer.address) as client:
        with pytest.raises(UnsupportedOperationError, match=r"connect to its http\(s\):// URL"):
            await client.card()
