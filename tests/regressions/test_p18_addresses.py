"""P18: whatever form an address is given in, the card says host:port."""

import socket

import aiohttp
import grpc.aio
import pytest

from a2a_grpc.config import ConfigurationError
from a2a_grpc.listening.ports import ListenError
from a2a_grpc.wire import A2AServiceStub
from tests.covers import covers
from tests.harness import V1, request, scripted_agent, serving, texts

FORMS = {
    "agents.example:7000": "agents.example:7000",
    "http://agents.example": "agents.example:80",
    "http://agents.example:7000": "agents.example:7000",
    "https://agents.example": "agents.example:443",
    "https://agents.example/": "agents.example:443",
    "https://agents.example:7000/a2a/v1": "agents.example:7000",
    "grpc://agents.example:7000": "agents.example:7000",
    "grpcs://agents.example": "agents.example:443",
    "10.0.0.7:7000": "10.0.0.7:7000",
    "[2001:db8::7]:7000": "[2001:db8::7]:7000",
    "https://[2001:db8::7]": "[2001:db8::7]:443",
    "https://[2001:db8::7]:7000": "[2001:db8::7]:7000",
}


@covers("P18")
@pytest.mark.parametrize("given", FORMS)
async def test_an_advertised_address_of_any_form_is_host_and_port_in_the_card(given: str) -> None:
    async with serving(scripted_agent(), advertise=given) as served:
        [interface] = served.server.card.supported_interfaces
        assert interface.url == FORMS[given]
        assert (interface.protocol_binding, interface.protocol_version) == ("GRPC", "1.0")


@covers("P18")
async def test_the_card_that_is_fetched_says_the_same() -> None:
    async with (
        serving(scripted_agent(), advertise="https://agents.example", http_listen="127.0.0.1:0") as served,
        aiohttp.ClientSession() as http,
    ):
        async with http.get(f"{served.server.http_url}/.well-known/agent-card.json") as response:
            card = await response.json()
    assert [interface["url"] for interface in card["supportedInterfaces"]] == ["agents.example:443"]


@covers("P18")
async def test_without_an_advertised_address_the_card_has_the_one_that_is_listened_on() -> None:
    async with serving(scripted_agent()) as served:
        assert [interface.url for interface in served.server.card.supported_interfaces] == [served.server.grpc_address]
        assert not served.server.grpc_address.endswith(":0")


@covers("P18")
@pytest.mark.parametrize("given", ["ftp://agents.example", "agents.example", "https://", "https://agents.example:x"])
async def test_an_address_that_cannot_be_is_refused_by_name(given: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        async with serving(scripted_agent(), advertise=given):
            pass
    assert str(refused.value).startswith("advertise is '")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6 is not reachable here, or not on a port of IPv4")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_the_ports_of_every_address_take_both_families_for_http_as_for_grpc(host: str) -> None:
    every = {"listen": "[::]:0", "http_listen": "[::]:0", "insecure": True}
    async with serving(scripted_agent(), **every) as served, aiohttp.ClientSession() as http:
        assert served.server.http_url is not None
        port = served.server.http_url.rpartition(":")[2]
        async with http.get(f"http://{host}:{port}/livez") as response:
            assert response.status == 200
        port = served.server.grpc_address.rpartition(":")[2]
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            sent = await A2AServiceStub(channel).SendMessage(request(), metadata=V1)
        assert texts(sent.task) == ["hello"]


async def test_a_port_of_every_address_is_refused_if_it_is_taken_in_one_family() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match="for HTTP: address already in use"):
            async with serving(scripted_agent(), http_listen=f"[::]:{port}", insecure=True):
                pass
