"""Encryption: on by default beyond this machine, verified, and told apart from plaintext."""

import ssl
from pathlib import Path
from typing import Any, cast

import pytest
import trustme

from a2a_grpc import connect
from a2a_grpc.client import AgentCardError, ClientSettings, UnreachableError
from a2a_grpc.client.channel import speaks_tls
from a2a_grpc.client.target import grpc_address
from a2a_grpc.config import ConfigurationError
from tests.client.peers import Certificate, Page, Site, certificate, collected, peering
from tests.covers import covers
from tests.harness import scripted_agent, serving

ELSEWHERE = "0.0.0.0"
"""A host that is not loopback by its name, and yet is reached on this machine."""


@pytest.fixture
def ours(tmp_path: Path) -> Certificate:
    """A certificate for this machine."""
    return certificate(tmp_path, "127.0.0.1", "localhost", ELSEWHERE)


def by_other_name(address: str) -> str:
    return address.replace("127.0.0.1", ELSEWHERE)


async def use(target: str, **settings: Any) -> None:
    async with connect(target, connect_timeout_s=1.0, **settings) as client:
        assert (await client.get("t-1")).id == "t-1"


async def why_not(target: str, **settings: Any) -> str:
    """Why the agent cannot be reached, in one line; the same for a unary call and for a stream."""
    async with connect(target, connect_timeout_s=1.0, **settings) as client:
        with pytest.raises(UnreachableError) as failed:
            await client.get("t-1")
        with pytest.raises(UnreachableError) as also_failed:
            await collected(client.stream("hello"))
    assert str(failed.value) == str(also_failed.value)
    assert "\n" not in str(failed.value)
    return str(failed.value)


# -- what is spoken


@covers("OPEN-6", "SEC-1", "WIRE-3")
@pytest.mark.parametrize(
    ("target", "tls"),
    [
        ("127.0.0.1:50051", False),
        ("localhost:50051", False),
        ("[::1]:50051", False),
        ("unix:/run/agent.sock", False),
        ("grpc://127.0.0.1", False),
        ("agents.example:443", True),
        ("grpc://agents.example", True),
        ("http://agents.example", True),
        ("dns:///agents.example", True),
        ("10.0.0.7:50051", True),
        ("0.0.0.0:50051", True),
        ("grpcs://127.0.0.1:50051", True),
        ("https://localhost:50051", True),
        ("grpcs://agents.example", True),
    ],
)
def test_tls_is_the_default_beyond_this_machine_and_plaintext_on_it(target: str, tls: bool) -> None:
    assert speaks_tls(grpc_address(target), ClientSettings()) is tls


@covers("S0-12")
@pytest.mark.parametrize("target", ["agents.example:443", "grpc://10.0.0.7", "127.0.0.1:1", "unix:/run/agent.sock"])
def test_plaintext_is_spoken_beyond_this_machine_only_when_asked_for(target: str) -> None:
    assert speaks_tls(grpc_address(target), ClientSettings(plaintext=True)) is False


def test_with_certificates_tls_is_spoken_on_this_machine_too() -> None:
    assert speaks_tls(grpc_address("127.0.0.1:50051"), ClientSettings(ca_cert="roots.pem")) is True


@covers("OPEN-6")
async def test_beyond_this_machine_a_plaintext_agent_is_not_spoken_to() -> None:
    async with peering() as peer:
        assert "speaks plaintext, and was called with TLS" in await why_not(by_other_name(peer.address))
        assert peer.calls == []


@covers("S0-12")
async def test_beyond_this_machine_a_plaintext_agent_is_called_if_that_is_asked_for() -> None:
    async with peering() as peer:
        await use(by_other_name(peer.address), plaintext=True)


@covers("OPEN-6")
async def test_beyond_this_machine_an_encrypted_agent_is_reached_without_a_scheme(ours: Certificate) -> None:
    async with peering(credentials=ours.server_credentials()) as peer:
        await use(by_other_name(peer.address), ca_cert=ours.roots_file)


async def test_plaintext_and_a_target_that_wants_tls_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:1 wants TLS, the settings want plaintext"):
        async with connect("grpcs://127.0.0.1:1", plaintext=True):
            pass


@pytest.mark.parametrize("settings", [{"ca_cert": "a.pem"}, {"client_cert": "a.pem", "client_key": "a.key"}])
def test_plaintext_and_certificates_contradict_each_other(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="plaintext and certificates exclude each other"):
        connect("127.0.0.1:1", plaintext=True, **settings)


@pytest.mark.parametrize(("given", "missing"), [("client_cert", "client_key"), ("client_key", "client_cert")])
def test_a_client_certificate_and_its_key_come_together(given: str, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{missing} is missing"):
        connect("127.0.0.1:1", **cast("Any", {given: "a.pem"}))


# -- whom to trust


async def test_roots_of_ones_own_are_trusted(ours: Certificate) -> None:
    async with peering(credentials=ours.server_credentials()) as peer:
        await use(f"grpcs://{peer.address}", ca_cert=ours.roots_file)
        await use(peer.address, ca_cert=ours.roots_file)
        await use(f"dns:///{peer.address}", ca_cert=ours.roots_file)


@covers("SEC-2")
async def test_an_unknown_authority_is_told_with_what_to_do(ours: Certificate, tmp_path: Path) -> None:
    other = certificate(tmp_path, "127.0.0.1")
    async with peering(credentials=ours.server_credentials()) as peer:
        for roots in (None, other.roots_file):
            said = await why_not(f"grpcs://{peer.address}", ca_cert=roots)
            assert f"the certificate of {peer.address} is not accepted" in said
            assert "--ca-cert" in said
        assert peer.calls == []


@covers("SEC-2")
async def test_a_certificate_for_another_host_is_told_with_what_to_do(tmp_path: Path) -> None:
    another = certificate(tmp_path, "agents.example")
    async with peering(credentials=another.server_credentials()) as peer:
        said = await why_not(f"grpcs://{peer.address}", ca_cert=another.roots_file)
        assert f"the certificate of {peer.address} is not accepted" in said
        assert "not valid for '127.0.0.1'" in said
        assert "--authority" in said


async def test_the_name_in_the_certificate_may_be_given(tmp_path: Path) -> None:
    another = certificate(tmp_path, "agents.example")
    async with peering(credentials=another.server_credentials()) as peer:
        await use(f"grpcs://{peer.address}", ca_cert=another.roots_file, authority="agents.example")
        said = await why_not(f"grpcs://{peer.address}", ca_cert=another.roots_file, authority="other.example")
        assert "not valid for 'other.example'" in said


async def test_an_agent_that_wants_a_client_certificate_gets_it(ours: Certificate, tmp_path: Path) -> None:
    client = certificate(tmp_path, "client.example")
    credentials = ours.server_credentials(client_roots=client.roots)
    async with peering(credentials=credentials) as peer:
        await use(
            f"grpcs://{peer.address}",
            ca_cert=ours.roots_file,
            client_cert=client.cert_file,
            client_key=client.key_file,
        )


async def test_an_agent_that_wants_a_client_certificate_and_gets_none_is_told_as_such(
    ours: Certificate, tmp_path: Path
) -> None:
    client = certificate(tmp_path, "client.example")
    async with peering(credentials=ours.server_credentials(client_roots=client.roots)) as peer:
        said = await why_not(f"grpcs://{peer.address}", ca_cert=ours.roots_file)
        assert peer.address in said
        assert "certificate" in said
        assert "client_cert" in said


async def test_a_client_certificate_of_an_authority_that_the_agent_does_not_know_is_told_as_such(
    ours: Certificate, tmp_path: Path
) -> None:
    client, stranger = certificate(tmp_path, "client.example"), certificate(tmp_path, "client.example")
    async with peering(credentials=ours.server_credentials(client_roots=client.roots)) as peer:
        said = await why_not(
            f"grpcs://{peer.address}",
            ca_cert=ours.roots_file,
            client_cert=stranger.cert_file,
            client_key=stranger.key_file,
        )
        assert peer.address in said
        assert "certificate" in said
        assert "client_cert" in said


@pytest.mark.parametrize("name", ["ca_cert", "client_cert", "client_key"])
async def test_a_certificate_file_that_is_missing_is_named(ours: Certificate, tmp_path: Path, name: str) -> None:
    files = {"ca_cert": ours.roots_file, "client_cert": ours.cert_file, "client_key": ours.key_file}
    files[name] = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigurationError, match=name) as refused:
        await use("grpcs://127.0.0.1:1", **files)
    assert files[name] in str(refused.value)


@pytest.mark.parametrize("name", ["ca_cert", "client_cert", "client_key"])
async def test_a_certificate_file_that_holds_something_else_is_named(
    ours: Certificate, tmp_path: Path, name: str
) -> None:
    files = {"ca_cert": ours.roots_file, "client_cert": ours.cert_file, "client_key": ours.key_file}
    files[name] = str(tmp_path / "garbage.pem")
    (tmp_path / "garbage.pem").write_text("garbage")
    async with peering(credentials=ours.server_credentials()) as peer:
        with pytest.raises(ConfigurationError, match=name):
            await use(f"grpcs://{peer.address}", **files)


# -- TLS and plaintext


async def test_tls_against_plaintext_is_told_as_such() -> None:
    async with peering() as peer:
        said = await why_not(f"grpcs://{peer.address}")
    assert f"{peer.address} speaks plaintext, and was called with TLS" in said
    assert "--plaintext" in said


async def test_plaintext_against_tls_is_told_as_such(ours: Certificate) -> None:
    async with peering(credentials=ours.server_credentials()) as peer:
        said = await why_not(peer.address)
    assert f"{peer.address} speaks TLS, and was called in plaintext" in said
    assert f"grpcs://{peer.address}" in said
    assert "--ca-cert" in said


async def test_a_mismatch_is_told_at_once_as_waiting_would_not_help(ours: Certificate) -> None:
    """With an hour to connect, this test would not end."""
    async with peering(credentials=ours.server_credentials()) as peer, peering() as plain:
        for target in (peer.address, f"grpcs://{plain.address}"):
            async with connect(target, connect_timeout_s=3600.0, timeout_s=3600.0) as client:
                with pytest.raises(UnreachableError):
                    await client.get("t-1")


async def test_a_web_server_with_tls_is_not_taken_for_an_agent(ours: Certificate) -> None:
    async with Site(Page(b"hello"), tls=context(ours)) as site:
        said = await why_not(f"grpcs://127.0.0.1:{site.port}", ca_cert=ours.roots_file)
    assert "speaks TLS but not HTTP/2" in said


# -- the card's own encryption


def context(ours: Certificate) -> ssl.SSLContext:
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(ours.cert_file, ours.key_file)
    return found


async def test_an_encrypted_card_leads_to_an_encrypted_agent(ours: Certificate) -> None:
    async with serving(
        scripted_agent(), http_listen="127.0.0.1:0", tls_cert=ours.cert_file, tls_key=ours.key_file
    ) as served:
        assert served.server.http_url is not None
        assert served.server.http_url.startswith("https://127.0.0.1:")
        async with connect(served.server.http_url, ca_cert=ours.roots_file) as client:
            assert [task async for task in client.list()] == []


async def test_a_card_whose_certificate_is_not_accepted_is_not_read(ours: Certificate, tmp_path: Path) -> None:
    other = certificate(tmp_path, "127.0.0.1")
    async with Site(Page.card(), tls=context(ours)) as site:
        for roots in (None, other.roots_file):
            with pytest.raises(UnreachableError, match="is not accepted") as failed:
                async with connect(site.url, ca_cert=roots):
                    pass
            assert site.url in str(failed.value)
            assert "--ca-cert" in str(failed.value)
    assert site.requests == []


async def test_a_card_from_a_host_with_anothers_certificate_is_not_read(tmp_path: Path) -> None:
    another = certificate(tmp_path, "agents.example")
    async with Site(Page.card(), tls=context(another)) as site:
        with pytest.raises(UnreachableError, match="is not accepted"):
            async with connect(site.url, ca_cert=another.roots_file):
                pass
    assert site.requests == []


async def test_a_card_asked_for_with_tls_where_plaintext_is_spoken_is_told_as_such() -> None:
    async with Site(Page.card()) as site:
        with pytest.raises(UnreachableError, match="does not speak TLS; try http:// in place of https://"):
            async with connect(site.url.replace("http://", "https://")):
                pass


async def test_a_card_asked_for_in_plaintext_where_tls_is_spoken_is_told_as_such(ours: Certificate) -> None:
    async with Site(Page.card(), tls=context(ours)) as site:
        with pytest.raises(UnreachableError, match="https://"):
            async with connect(site.url.replace("https://", "http://")):
                pass


@pytest.mark.parametrize("content", [None, "garbage"], ids=["missing", "garbage"])
async def test_roots_for_a_card_that_cannot_be_read_are_named(
    ours: Certificate, tmp_path: Path, content: str | None
) -> None:
    roots = tmp_path / "my-roots.pem"
    if content is not None:
        roots.write_text(content)
    async with Site(Page.card(), tls=context(ours)) as site:
        with pytest.raises(ConfigurationError, match="ca_cert") as refused:
            async with connect(site.url, ca_cert=str(roots)):
                pass
    assert str(roots) in str(refused.value)


async def test_an_encrypted_card_cannot_send_credentials_to_another_host(ours: Certificate) -> None:
    async with Site(Page.card("agents.example:443"), tls=context(ours)) as site:
        with pytest.raises(AgentCardError, match="another host"):
            async with connect(site.url, ca_cert=ours.roots_file):
                pass


async def test_one_authority_may_vouch_for_agent_and_client(tmp_path: Path) -> None:
    authority = trustme.CA()
    agent = certificate(tmp_path, "127.0.0.1", authority=authority)
    client = certificate(tmp_path, "client.example", authority=authority)
    async with peering(credentials=agent.server_credentials(client_roots=agent.roots)) as peer:
        await use(
            f"grpcs://{peer.address}",
            ca_cert=agent.roots_file,
            client_cert=client.cert_file,
            client_key=client.key_file,
        )
