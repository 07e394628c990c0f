"""What a user may write for an agent: every form, every default, every refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import connect
from a2a_grpc.client.target import Address, CardFile, CardUrl, grpc_address, parse
from a2a_grpc.config import ConfigurationError
from tests.covers import covers

CARD = "/.well-known/agent-card.json"

ADDRESSES = {
    "127.0.0.1:50051": Address("127.0.0.1:50051", "127.0.0.1", 50051, None),
    "agents.example:443": Address("agents.example:443", "agents.example", 443, None),
    "agents.example": Address("agents.example:443", "agents.example", 443, None),
    "localhost": Address("localhost:443", "localhost", 443, None),
    "[::1]:50051": Address("[::1]:50051", "::1", 50051, None),
    "[2001:db8::7]": Address("[2001:db8::7]:443", "2001:db8::7", 443, None),
    "grpc://agents.example": Address("agents.example:50051", "agents.example", 50051, None),
    "grpc://agents.example:7000": Address("agents.example:7000", "agents.example", 7000, None),
    "grpc://agents.example:7000/a2a/v1": Address("agents.example:7000", "agents.example", 7000, None),
    "grpc://[::1]:7000": Address("[::1]:7000", "::1", 7000, None),
    "GRPC://agents.example:7000": Address("agents.example:7000", "agents.example", 7000, None),
    "grpcs://agents.example": Address("agents.example:443", "agents.example", 443, True),
    "grpcs://agents.example:7000/": Address("agents.example:7000", "agents.example", 7000, True),
    "grpcs://[2001:db8::7]": Address("[2001:db8::7]:443", "2001:db8::7", 443, True),
    "dns:///agents.example:7000": Address("dns:///agents.example:7000", "agents.example", 7000, None),
    "dns:///agents.example": Address("dns:///agents.example:443", "agents.example", 443, None),
    "dns:agents.example:7000": Address("dns:///agents.example:7000", "agents.example", 7000, None),
    "unix:/run/agent.sock": Address("unix:/run/agent.sock", "", 0, None),
    "unix:///run/agent.sock": Address("unix:///run/agent.sock", "", 0, None),
    "unix:agent.sock": Address("unix:agent.sock", "", 0, None),
}

CARD_URLS = {
    "https://agents.example": CardUrl(f"https://agents.example{CARD}", "agents.example"),
    "https://agents.example/": CardUrl(f"https://agents.example{CARD}", "agents.example"),
    "HTTPS://Agents.Example": CardUrl(f"https://Agents.Example{CARD}", "agents.example"),
    "http://127.0.0.1:8080": CardUrl(f"http://127.0.0.1:8080{CARD}", "127.0.0.1"),
    "http://[::1]:8080": CardUrl(f"http://[::1]:8080{CARD}", "::1"),
    "https://agents.example/poet": CardUrl(f"https://agents.example/poet{CARD}", "agents.example"),
    "https://agents.example/cards/poet.json": CardUrl("https://agents.example/cards/poet.json", "agents.example"),
    "https://agents.example/poet.json?v=2#top": CardUrl("https://agents.example/poet.json?v=2", "agents.example"),
}

CARD_FILES = {
    "agent-card.json": CardFile("agent-card.json"),
    "./cards/agent.json": CardFile("./cards/agent.json"),
    "cards/agent": CardFile("cards/agent"),
    "/etc/agent-card.json": CardFile("/etc/agent-card.json"),
    "file:///etc/agent-card.json": CardFile("/etc/agent-card.json"),
    "file:///etc/my%20card.json": CardFile("/etc/my card.json"),
    "file://localhost/etc/agent-card.json": CardFile("/etc/agent-card.json"),
}


@covers("P18")
@pytest.mark.parametrize("target", ADDRESSES)
def test_every_form_of_an_address_is_taken_apart(target: str) -> None:
    assert parse(target) == ADDRESSES[target]


@covers("CARD-2")
@pytest.mark.parametrize("target", CARD_URLS)
def test_a_web_address_is_where_a_card_is_at_its_well_known_path(target: str) -> None:
    assert parse(target) == CARD_URLS[target]


@pytest.mark.parametrize("target", CARD_FILES)
def test_a_path_or_a_file_url_is_a_card_to_be_read(target: str) -> None:
    assert parse(target) == CARD_FILES[target]


@covers("P18", "CARD-8")
@pytest.mark.parametrize(
    ("url", "dial", "tls"),
    [
        ("agents.example:7000", "agents.example:7000", None),
        ("http://agents.example", "agents.example:80", None),
        ("http://agents.example:7000", "agents.example:7000", None),
        ("https://agents.example", "agents.example:443", True),
        ("https://agents.example:7000/a2a/v1", "agents.example:7000", True),
        ("grpc://agents.example", "agents.example:50051", None),
        ("grpcs://agents.example", "agents.example:443", True),
        ("dns:///agents.example:7000", "dns:///agents.example:7000", None),
    ],
)
def test_the_url_of_a_cards_interface_may_have_any_scheme_and_a_path(url: str, dial: str, tls: bool | None) -> None:
    address = grpc_address(url)
    assert (address.dial, address.tls) == (dial, tls)


@covers("OPEN-6")
@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:1",
        "127.8.0.9:1",
        "localhost:1",
        "LOCALHOST:1",
        "agent.localhost:1",
        "[::1]:1",
        "unix:/run/agent.sock",
    ],
)
def test_what_does_not_leave_this_machine_is_local(target: str) -> None:
    assert isinstance(address := parse(target), Address)
    assert address.is_local


@covers("OPEN-6")
@pytest.mark.parametrize(
    "target",
    ["0.0.0.0:1", "10.0.0.7:1", "[::]:1", "agents.example:1", "localhost.example:1", "dns:///agents.example:1"],
)
def test_all_else_is_not_local(target: str) -> None:
    assert isinstance(address := parse(target), Address)
    assert not address.is_local


BAD = [
    "",
    ":50051",
    "agents.example:",
    "agents.example:http",
    "agents.example:70000",
    "agents.example:0",
    "agents.example:-1",
    "agents.example:٣",
    "2001:db8::7:50051",
    "[::1",
    "[]:443",
    "[::1]50051",
    "grpc://",
    "grpc://:50051",
    "grpcs:///path",
    "dns://",
    "dns:///",
    "dns://agents.example:443",
    "unix:",
    "unix://",
    "unix:/" + "n" * 107,
    "http://",
    "https:///path",
    "http://agents.example:99999",
    "http://agents.example:x",
    "http://[::1",
    "file://",
    "file://card.json",
    "ftp://agents.example",
    "ws://agents.example/a2a",
]


@covers("S0-38")
@pytest.mark.parametrize("target", BAD)
def test_a_target_that_cannot_be_is_refused_and_the_text_names_it(target: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(target)
    assert "target is '" in str(refused.value)
    assert (target.rpartition("://")[2] or target) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("target", BAD)
def test_a_client_refuses_it_when_it_is_made_and_not_at_its_first_call(target: str) -> None:
    with pytest.raises(ConfigurationError):
        connect(target)


def test_a_port_of_thousands_of_digits_is_refused_as_any_other() -> None:
    with pytest.raises(ConfigurationError):
        parse("agents.example:" + "9" * 5000)


@pytest.mark.parametrize("target", ["gprc://agents.example", "agents.example:x"])
def test_a_refusal_says_what_would_do(target: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        parse(target)


PASSWORDS = [
    "grpc://user:s3cret@agents.example:50051",
    "grpcs://user:s3cret@agents.example",
    "dns:///user:s3cret@agents.example",
    "https://user:s3cret@agents.example",
    "https://:s3cret@agents.example",
    "http://user:s3cret@",
    "ftp://user:s3cret@agents.example",
    "user:s3cret@agents.example:50051",
    "user:s3cret@agents.example",
]


@pytest.mark.parametrize("target", PASSWORDS)
def test_a_target_with_a_password_is_refused_without_repeating_it(target: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(target)
    assert "target is '" in str(refused.value)
    assert "s3cret" not in str(refused.value)


PIECES = st.sampled_from(
    [
        "grpc",
        "grpcs",
        "http",
        "https",
        "dns",
        "unix",
        "file",
        "://",
        ":///",
        ":",
        "/",
        "[",
        "]",
        "::1",
        "a.b",
        "@",
        "443",
    ]
)


@given(st.text(max_size=40) | st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join))
def test_parsing_anything_gives_a_place_or_a_configuration_error(target: str) -> None:
    try:
        where = parse(target)
    except ConfigurationError:
        return
    match where:
        case Address(dial=dial, host=host, port=port):
            assert (host and 0 < port < 65536) or dial.startswith("unix:")
        case CardUrl(url=url, host=host):
            assert host
            assert url.startswith(("http://", "https://"))
        case CardFile(path=path):
            assert path


@given(st.text(max_size=40) | st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join))
def test_the_url_of_any_interface_gives_an_address_or_a_configuration_error(url: str) -> None:
    try:
        assert grpc_address(url).dial
    except ConfigurationError:
        pass
