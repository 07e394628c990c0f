"""No card, and no server of cards, makes the client call another host, read without end, or fail untyped."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import connect
from a2a_grpc.client import AgentCardError, Cards, ClientManager, RemoteAgent, UnreachableError
from a2a_grpc.client.card import interface_address, read_card
from a2a_grpc.client.fresh import lifetime_s
from a2a_grpc.client.target import CardUrl, parse
from a2a_grpc.errors import A2AError
from a2a_grpc.wire import AgentInterface
from tests.client.peers import Page, Site, card_json, certificate, peering
from tests.client.test_hostile_answers import Peak
from tests.harness import stop_listening


def at(url: str) -> CardUrl:
    found = parse(url)
    assert isinstance(found, CardUrl)
    return found


def moved(location: str, status: int = 302) -> Page:
    return Page(status=status, headers=[("Location", location)])


# -- redirects

ELSEWHERE = [
    "http://127.0.0.1:{other}/card.json",  # another port is another server
    "http://localhost:{port}/card.json",
    "http://127.1:{port}/card.json",
    "http://2130706433:{port}/card.json",
    "http://[::1]:{port}/card.json",
    "http://[::ffff:127.0.0.1]:{port}/card.json",
    "http://127.0.0.1.:{port}/card.json",
    "http://127.0.0.1:{port}@127.0.0.2/card.json",
    "http://user@127.0.0.1:{port}/card.json",
    "//localhost:{other}/card.json",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/card.json",
    "http://[fe80::1]/card.json",
    "ftp://127.0.0.1:{port}/card.json",
    "file:///etc/passwd",
    "data:application/json,%7B%7D",
    "http://[/card.json",
    "http://127.0.0.1:99999/",
]


@pytest.mark.parametrize("location", ELSEWHERE)
async def test_a_redirect_to_another_place_is_refused_and_named(location: str) -> None:
    async with Site(Page.card()) as other:
        site = Site(moved("?"), Page.card(name="Followed"))
        async with site, Cards(timeout_s=2) as cards:
            site.pages[0] = moved(location.format(port=site.port, other=other.port))
            with pytest.raises(AgentCardError, match="redirects to"):
                await cards.load(at(site.url))
    assert len(site.requests) == 1
    assert other.requests == []


NO_HOST = [
    "\\\\localhost:{other}\\card.json",
    "http:///card.json",
    "/\\localhost:{other}/",
    "http:\\\\localhost:{other}\\card.json",
]


@pytest.mark.parametrize("location", NO_HOST)
async def test_a_redirect_that_names_no_host_stays_on_its_own(location: str) -> None:
    async with Site(Page.card()) as other:
        site = Site(moved(location.format(other=other.port)), Page.card(name="Followed"))
        async with site, Cards(timeout_s=2) as cards:
            assert (await cards.load(at(site.url))).name == "Followed"
    assert len(site.requests) == 2
    assert other.requests == []


async def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path) -> None:
    issued = certificate(tmp_path, "127.0.0.1")
    async with Site(Page.card()) as plain:
        site = Site(moved(f"{plain.url}/card.json"), tls=server_context(issued))
        async with site, Cards(ca_cert=issued.roots_file) as cards:
            with pytest.raises(AgentCardError, match="redirects to another place, http://127"):
                await cards.load(at(site.url))
    assert plain.requests == []


async def test_a_redirect_from_http_to_https_on_the_same_host_is_followed(tmp_path: Path) -> None:
    issued = certificate(tmp_path, "127.0.0.1")
    async with Site(Page.card(name="Safe"), tls=server_context(issued)) as safe:
        site = Site(moved(f"{safe.url}/card.json"))
        async with site, Cards(ca_cert=issued.roots_file) as cards:
            assert (await cards.load(at(site.url))).name == "Safe"


def server_context(issued: Any) -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert_file, issued.key_file)
    return context


async def test_redirects_are_few() -> None:
    async with Site(moved("/again")) as site, Cards() as cards:
        with pytest.raises(UnreachableError, match="redirects in circles"):
            await cards.load(at(site.url))
    assert len(site.requests) == 6


async def test_a_redirect_without_a_place_is_no_card() -> None:
    async with Site(Page(status=302)) as site, Cards() as cards:
        with pytest.raises(AgentCardError, match="answers 302"):
            await cards.load(at(site.url))


# -- other hosts


@pytest.mark.parametrize(
    "url",
    [
        "other.example:443",
        "grpcs://other.example",
        "https://other.example/agents.example",
        "dns:///other.example:443",
        "dns://agents.example/other.example:443",
        "unix:/run/agent.sock",
        "unix:///run/agent.sock",
        "127.0.0.1:50051",
        "localhost:50051",
        "[::1]:50051",
        "169.254.169.254:80",
        "2130706433:50051",
        "0x7f000001:50051",
        "agents.example.:443",
        "agents.example.other.example:443",
        "agents.example@other.example:443",
        "https://agents.example@other.example",
        "agents.example:443,other.example:443",
        "other.example:443,agents.example:443",
        "agents%2eexample:443",
        "agents.example\\@other.example:443",
        "agents.example#@other.example:443",
        "agents.example?@other.example:443",
        "agents.example\x00.other.example:443",
        "agents.example \u202e:443",
        "ipv4:127.0.0.1:80",
        "ipv6:[::1]:80",
        "unix-abstract:agent",
        "vsock:1:50051",
        "xds:///agents.example",
        "passthrough:///other.example:443",
        "\u0430gents.example:443",  # a Cyrillic letter
        "",
        "x" * 100_000,
    ],
)
def test_a_card_sends_calls_to_its_own_host_only(url: str) -> None:
    interface = AgentInterface(url=url)
    with pytest.raises(AgentCardError) as failed:
        interface_address(interface, "agents.example", card_host="agents.example", any_host=False)
    assert len(str(failed.value)) < 1000


@pytest.mark.parametrize("url", ["agents.example:50051", "grpcs://AGENTS.example", "dns:///agents.example:443"])
def test_a_card_may_name_any_port_of_its_own_host(url: str) -> None:
    interface = AgentInterface(url=url)
    address = interface_address(interface, "agents.example", card_host="agents.example", any_host=False)
    assert address.host.lower() == "agents.example"


async def test_no_other_url_of_a_card_is_ever_called() -> None:
    async with peering() as peer, Site(Page.card()) as other:
        urls: dict[str, Any] = {
            "documentationUrl": f"{other.url}/docs",
            "iconUrl": f"{other.url}/icon",
            "provider": {"organization": "O", "url": f"{other.url}/provider"},
            "securitySchemes": {
                "oidc": {"openIdConnectSecurityScheme": {"openIdConnectUrl": f"{other.url}/openid"}},
            },
        }
        async with Site(Page.card(peer.address, **urls)) as site:
            async with connect(site.url) as client, RemoteAgent(client=client) as agent, ClientManager() as agents:
                await client.send("hello")
                await client.extended_card()
                await agent.run("hello")
                agent.describe()
                await agents.discover([site.url])
    assert other.requests == []


# -- content


def encoded(encoding: str, content: bytes) -> Page:
    return Page(content, [("Content-Encoding", encoding)])


CARD = json.dumps(card_json("127.0.0.1:1")).encode()


@pytest.mark.parametrize(
    ("encoding", "squeeze"), [("gzip", gzip.compress), ("GZip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_card_may_be_compressed(encoding: str, squeeze: Callable[[bytes], bytes]) -> None:
    async with Site(encoded(encoding, squeeze(CARD))) as site, Cards() as cards:
        assert (await cards.load(at(site.url))).name == "Elsewhere"


async def test_a_card_that_is_inflated_to_gigabytes_is_refused_before() -> None:
    squeezer = zlib.compressobj(wbits=31)
    bomb = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(300)) + squeezer.flush()
    async with Site(encoded("gzip", bomb)) as site, Cards() as cards:
        with Peak() as peak, pytest.raises(AgentCardError, match="more than 1048576 bytes"):
            await cards.load(at(site.url))
    assert peak.grown_mib < 64


@pytest.mark.parametrize("page", [encoded("br", CARD), encoded("gzip, gzip", CARD), encoded("gzip", b"\x1f\x8bx" * 9)])
async def test_an_encoding_that_cannot_be_read_is_told(page: Page) -> None:
    async with Site(page) as site, Cards() as cards:
        with pytest.raises(AgentCardError, match=r"encoded as|cannot be read"):
            await cards.load(at(site.url))


DEEP = '{"capabilities": {"extensions": [{"uri": "u", "params": %s}]}}'

BROKEN = {
    "no UTF-8": b'{"name": "\xff"}',
    "half a surrogate as a name": rb'{"\ud800": 1}',
    "half a surrogate in bytes": b'{"\xed\xa0\x80": 1}',
    "a member twice": b'{"name": "A", "name": "B"}',
    "a member of params twice": (DEEP % '{"a": 1, "a": 2}').encode(),
    "a member in both spellings": b'{"iconUrl": "a", "icon_url": "b"}',
    "NaN": (DEEP % '{"a": NaN}').encode(),
    "infinity": (DEEP % '{"a": 1e999}').encode(),
    "a number of 5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "nested 100,000 deep": b"[" * 100_000,
    "a list": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_card_is_an_error_of_the_tree(kind: str) -> None:
    with pytest.raises(AgentCardError, match="the card at source"):
        read_card(BROKEN[kind], "source")


WRONG = {
    "half a surrogate as a value": (rb'{"name": "\ud800"}', "name"),
    "half a surrogate in params": ((DEEP % r'{"a": ["\udc00"]}').encode(), "capabilities.extensions[0].params"),
    "nested 100 deep": ((DEEP % ('{"a":' * 100 + "1" + "}" * 100)).encode(), "capabilities.extensions[0].params"),
    "a number as a name": (b'{"name": 5}', "name"),
    "null as a skill": (b'{"skills": [null]}', "skills[0]"),
    "a key of 100,000 characters": (b'{"securitySchemes": {"%s": 1}}' % (b"x" * 100_000), "securitySchemes.xxx"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_in_a_card_costs_the_member_that_has_it(kind: str) -> None:
    content, path = WRONG[kind]
    problems: list[str] = []
    read_card(content, "source", problems)
    [problem] = problems
    assert problem.startswith(path)
    assert len(problem) < 200


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=3),
    max_leaves=8,
)
members = st.dictionaries(st.sampled_from([*card_json("a:1"), "securitySchemes", "signatures", "provider"]), anything)
capabilities = st.fixed_dictionaries(
    {"capabilities": st.fixed_dictionaries({"extensions": st.lists(st.fixed_dictionaries({"params": anything}))})}
)


@given(st.binary() | (members | capabilities | anything).map(lambda found: json.dumps(found).encode()))
def test_whatever_a_card_holds_it_is_read_or_is_an_error_of_the_tree(content: bytes) -> None:
    try:
        card = read_card(content, "source")
    except A2AError as error:
        str(error).encode("utf-8", "surrogatepass")
        return
    json_format.MessageToJson(card)
    assert type(card).FromString(card.SerializeToString()) == card


class Told(dict[str, str]):
    """Headers of a response."""

    def getall(self, name: str, default: list[str]) -> list[str]:
        return [self[name]] if name in self else default


odd = st.text(st.characters(max_codepoint=0x2FF)) | st.from_regex(
    r"(Thu, )?[0-9]{1,5} [A-Z][a-z]{2} [0-9]{1,6} [0-9]{1,3}:[0-9]{2}:[0-9]{2} ([+-][0-9]{1,12}|GMT|-0000)"
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("ETag", "Cache-Control"), odd)))
def test_whatever_the_headers_say_a_card_has_a_lifetime(told: dict[str, str]) -> None:
    assert (lifetime_s(Told(told)) or 0.0) >= 0.0


async def test_a_validator_that_cannot_be_sent_back_is_not() -> None:
    pages = [Page.card("127.0.0.1:1", ("Cache-Control", "no-cache"), ("ETag", '"\xff\x80"'))]
    async with Site(*pages) as site, Cards() as cards:
        for _ in range(2):
            await cards.load(at(site.url))
    assert "If-None-Match" not in site.requests[1][1]


# -- servers that speak no proper HTTP


@asynccontextmanager
async def answering(play: Callable[[asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    """The URL of a server that answers a request by `play`, until the client has gone."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await play(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await stop_listening(server)


async def repeated(writer: asyncio.StreamWriter, begin: bytes, piece: bytes, pause_s: float = 0.0) -> None:
    writer.write(begin)
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)


OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "a drip of content": (OK + b"Content-Length: 9999\r\n\r\n", b" ", 0.01),
    "a drip of headers": (OK, b"X: y\r\n", 0.01),
    "headers": (OK, b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzz\r\n" * 1000, 0.0),
    "one header": (OK + b"X-Y: ", b"z" * 10_000, 0.0),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 100, 0.0),
    "a chunk's extension": (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 10_000, 0.0),
    "content": (OK + b"\r\n", b" " * 10_000, 0.0),
    "interim responses": (b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 100, 0.0),
    "no status line": (b"", b"x" * 10_000, 0.0),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_response_without_an_end_costs_bounded_time_and_memory(kind: str) -> None:
    begin, piece, pause_s = ENDLESS[kind]
    async with answering(lambda writer: repeated(writer, begin, piece, pause_s)) as url, Cards(timeout_s=0.5) as cards:
        with Peak() as peak, pytest.raises(A2AError) as failed:
            await cards.load(at(url))
    assert url.partition("://")[2].partition("/")[0] in str(failed.value)
    assert peak.grown_mib < 64


@pytest.mark.few(4)
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 " + b"x" * 4000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/9.9 999 ?\r\n\r\n",
        b"HTTP/1.1 -1 ?\r\n\r\n",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\nzz\r\n",
        OK + b"\x00: \x00\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: " + b"x" * 5000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"",
    ],
    ids=lambda head: head[:24].hex(),
)
async def test_what_is_no_proper_response_is_an_error_of_the_tree(head: bytes) -> None:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await writer.drain()
        writer.write_eof()
        await asyncio.sleep(0.2)

    async with answering(play) as url, Cards(timeout_s=1) as cards:
        with pytest.raises(A2AError) as failed:
            await cards.load(at(url))
    assert len(str(failed.value)) < 1000
