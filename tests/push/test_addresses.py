"""Which urls a webhook may have, and that nothing is dialled for the others."""

import ipaddress
import socket
import ssl

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.push.addresses import is_public
from a2a_grpc.push.allowed import DestinationPolicy, parse
from a2a_grpc.push.delivery import Verdict
from a2a_grpc.push.dialling import RestrictedResolver, dialling, open_session
from a2a_grpc.push.place import PlaceError, read
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.push.webhooks import Webhooks
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.covers import covers
from tests.push.sockets import PUBLIC, Names, delivery, hook, trap

pytestmark = covers("PUSH-8", "PUSH-9")

PRIVATE = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
    *("168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
    *("192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250"),
    *("240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:2::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "5f00::1", "fc00::1"),
    *("fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "fe80::1%eth0"),
)
ODD = (
    # spellings of 127.0.0.1, and of a metadata service
    *("https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://127.1/"),
    *("https://127.0.0.1./", "https://127.0.0.01/", "https://2852039166/", "https://a.b.0x7f/", "https://1.2.3.4.5/"),
    *("https://127。0。0。1/", "https://①②⑦.0.0.1/", "https://%31%32%37.0.0.1/", "https://[::1%25lo]/"),
    *("https://[fe80::1%eth0]/", "https://[::ffff:127.0.0.1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::]/"),
    # names of this machine
    *("https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://metadata/", "https://example.com./"),
    # other schemes, no schemes, no hosts
    *("http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/"),
    *("https:example.com", "https:///", "https://", "", "example.com", "javascript:alert(1)", "https://:443/"),
    # other ports
    *("https://example.com:8443/", "https://example.com:22/", "https://example.com:0/", "https://example.com:99999/"),
    *("https://example.com:+443/", "https://example.com:４４３/"),
    # user names, and what two programs read in two ways
    *("https://user@example.com/", "https://user:password@example.com/", "https://example.com@127.0.0.1/"),
    *("https://127.0.0.1#@example.com/", "https://127.0.0.1\\@example.com/", "https://example.com\\.evil.example/"),
    *("https://exa mple.com/", "https://example.com/\r\nHost: x", "https://example.com/\n", " https://example.com/"),
    *("https://example.com\t/", "https://example.com/\x00", "https://example.com/#fragment", "https://exämple.com/"),
    *("https://example..com/", "https://-example.com/", "https://" + "a" * 64 + ".com/", "https://[1.2.3.4]/"),
    "https://example.com/" + "a" * 2048,
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_public_internet_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "192.0.1.0", "2600::1", "2a00:1450:4001::1"]
)
def test_an_address_of_the_public_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_no_address_is_public_that_python_calls_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert not is_public(address)


async def refused(webhooks: Webhooks, url: str) -> str:
    """Check that a url is refused when it is registered, and again when it is delivered to. Return the message."""
    with pytest.raises(InvalidRequestError) as found:
        await webhooks.check(TaskPushNotificationConfig(task_id="t-1", url=url))
    assert [violation.field for violation in found.value.violations] == ["url"], url
    outcome = await webhooks.deliver(delivery(url))
    assert outcome.verdict is Verdict.REFUSED, url
    return str(found.value)


async def test_odd_urls_are_refused_without_a_connection() -> None:
    webhooks = Webhooks(resolver=Names({"example.com": [[PUBLIC]], "localhost": [["127.0.0.1"]]}))
    for url in ODD:
        await refused(webhooks, url)
    await webhooks.close()


async def test_private_addresses_are_refused_without_a_connection_to_a_trap() -> None:
    async with trap() as caught:
        names = Names({f"host-{at}.example": [[address]] for at, address in enumerate(PRIVATE)})
        port = caught.port
        allowing_the_port_only = Webhooks(
            WebhookSettings(push_allow=f"[2001:db8:ffff::]:{port},nowhere.example:{port}"), resolver=names
        )
        for at, address in enumerate(PRIVATE):
            host = f"[{address}]" if ":" in address else address
            for scheme in ("https", "http"):
                for target in (host, f"host-{at}.example"):
                    await refused(allowing_the_port_only, f"{scheme}://{target}:{port}/")
                    await refused(allowing_the_port_only, f"{scheme}://{target}/")
        await allowing_the_port_only.close()
        assert caught.connections == 0
        socket.create_connection(("127.0.0.1", port)).close()  # the trap does count
        socket.create_connection(("::1", port)).close()


async def test_the_message_for_a_private_host_does_not_reveal_its_address() -> None:
    webhooks = Webhooks(resolver=Names({"intranet.example": [["10.1.2.3"]]}))
    private = await refused(webhooks, "https://intranet.example/")
    with pytest.raises(InvalidRequestError) as unknown:
        await webhooks.check(TaskPushNotificationConfig(url="https://nowhere.example/"))
    assert private == (
        "url: is 'https://intranet.example/', which has no public address for its host 'intranet.example'"
    )
    assert str(unknown.value) == private.replace("intranet", "nowhere")
    await webhooks.close()


async def test_a_name_server_that_changes_its_answer_leads_nowhere() -> None:
    """Rebinding: the first answer is public, the next one is this machine."""
    async with trap() as caught:
        names = Names({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
        webhooks = Webhooks(WebhookSettings(push_allow=f"8.8.8.0/24:{caught.port}"), resolver=names)
        url = f"https://rebind.example:{caught.port}/"
        await webhooks.check(TaskPushNotificationConfig(url=url))
        outcome = await webhooks.deliver(delivery(url))
        assert outcome.verdict is Verdict.REFUSED
        assert "not allowed for this host" in outcome.reason
        assert (names.asked, caught.connections) == (["rebind.example"] * 2, 0)
        await webhooks.close()


async def test_a_host_with_one_private_address_among_public_ones_is_refused() -> None:
    webhooks = Webhooks(resolver=Names({"mixed.example": [[PUBLIC, "2600::1", "169.254.169.254"]]}))
    await refused(webhooks, "https://mixed.example/")
    await webhooks.close()


async def test_the_socket_is_checked_even_if_the_url_was_not() -> None:
    """aiohttp dials an IP address of a url without a lookup."""
    async with trap() as caught:
        policy, url = DestinationPolicy(), f"https://127.0.0.1:{caught.port}/"
        session = open_session(policy, RestrictedResolver(policy, Names({})), ssl.create_default_context())
        dial = dialling(read(url))
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post(url)
        await session.close()
        assert "not allowed" in dial.forbidden
        assert caught.connections == 0


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "https://127.0.0.1/", "/other"])
async def test_a_redirect_is_not_followed(location: str) -> None:
    async with hook() as receiver:

        async def redirect(request: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": location})

        receiver.answer = redirect
        webhooks = Webhooks(WebhookSettings(push_allow="127.0.0.1"))
        outcome = await webhooks.deliver(delivery(f"http://127.0.0.1:{receiver.port}/"))
        assert outcome.verdict is Verdict.RETRY
        assert "redirects are not followed" in outcome.reason
        assert len(receiver.received) == 1
        await webhooks.close()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with trap() as caught, hook() as receiver:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{caught.port}")
        webhooks = Webhooks(WebhookSettings(push_allow="127.0.0.1"))
        outcome = await webhooks.deliver(delivery(f"http://127.0.0.1:{receiver.port}/"))
        assert (outcome.verdict, caught.connections) == (Verdict.DELIVERED, 0)
        await webhooks.close()


def problem(allow: str, url: str, address: str) -> str:
    place = read(url)
    policy = DestinationPolicy(parse(allow))
    return policy.problem_before_lookup(place) or policy.problem(place, ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("allow", "url", "address"),
    [
        ("", "https://example.com/", PUBLIC),
        ("", "https://example.com:443/", PUBLIC),
        ("", f"https://{PUBLIC}/", PUBLIC),
        ("10.0.0.0/8", "http://intranet.example:8080/", "10.1.2.3"),
        ("10.0.0.0/8:8080", "http://intranet.example:8080/", "10.1.2.3"),
        ("fd00::/8", "https://[fd00::1]:8443/", "fd00::1"),
        ("[fd00::/8]:8443", "https://[fd00::1]:8443/", "fd00::1"),
        ("[::1]", "http://[::1]:80/", "::1"),
        ("localhost:9000", "http://LOCALHOST:9000/", "127.0.0.1"),
        ("hooks.example:8443, 10.0.0.1", "https://hooks.example:8443/", PUBLIC),
        ("hooks.example:8443, 10.0.0.1", "https://10.0.0.1/", "10.0.0.1"),
    ],
)
def test_what_is_allowed(allow: str, url: str, address: str) -> None:
    assert problem(allow, url, address) == ""


@pytest.mark.parametrize(
    ("allow", "url", "address"),
    [
        ("10.0.0.0/8", "https://intranet.example/", "192.168.0.1"),
        ("10.0.0.0/8:8080", "http://intranet.example:8081/", "10.1.2.3"),
        ("10.0.0.0/8", "http://example.com/", PUBLIC),
        ("localhost:9000", "http://localhost:9001/", "127.0.0.1"),
        ("hooks.example", "http://other.example/", PUBLIC),
        ("hooks.example", "https://sub.hooks.example/", "10.0.0.1"),
        ("127.0.0.1", "https://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
    ],
)
def test_what_a_rule_does_not_allow(allow: str, url: str, address: str) -> None:
    assert problem(allow, url, address) != ""


@pytest.mark.parametrize(
    ("allow", "message"),
    [
        ("10.0.0.1/8", "10.0.0.1/8 has host bits set"),
        ("10.0.0.0/33", "does not appear to be an IPv4 or IPv6 network"),
        ("http://example.com", "its port must be from 1 to 65535"),
        ("example.com:0", "its port must be from 1 to 65535"),
        ("example.com:http", "its port must be from 1 to 65535"),
        ("user@example.com", "which has a host that is not a name in the DNS"),
        ("*.example.com", "which has a host that is not a name in the DNS"),
        ("127.1", "which has an IPv4 address in an unusual spelling"),
        ("[::1", "it must be HOST, HOST:PORT, CIDR or CIDR:PORT"),
        ("[::1]x", "it must be HOST, HOST:PORT, CIDR or CIDR:PORT"),
        ("a.example,,b.example", "with an empty part between its commas"),
        ("exämple.com", "which has a host that is not a name in the DNS"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(allow: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match="push_allow is '") as found:
        WebhookSettings(push_allow=allow)
    assert message in str(found.value)


@given(st.text(max_size=60) | st.from_regex(r"https?://[^/]{0,20}(:[0-9]{1,6})?(/.{0,10})?", fullmatch=True))
def test_each_text_is_read_or_refused_and_the_url_of_a_place_leads_to_the_same_place(text: str) -> None:
    try:
        place = read(text)
    except PlaceError:
        return
    assert read(place.url) == place
    assert place.url.isascii()
    assert place.url.isprintable()
