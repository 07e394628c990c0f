"""The caller that a client certificate names."""

import datetime
from typing import Any

import pytest

from a2a_grpc.auth import CallCredentials, ClientCertificates, Described, Refused
from a2a_grpc.auth.certificates import certificate_of
from a2a_grpc.principal import Principal
from tests.auth.pki import Authority

CLIENTS = Authority("Clients")


async def caller(
    *names: str, authenticator: ClientCertificates | None = None, ca: Authority = CLIENTS, **options: Any
) -> Principal:
    certificate = certificate_of({"x509_pem_cert": [ca.issue(*names, **options).certificate]})
    found = await (authenticator or ClientCertificates())(CallCredentials(certificate=certificate))
    assert found is not None
    return found


async def test_a_caller_is_named_by_its_spiffe_id_else_its_dns_name_else_its_common_name() -> None:
    spiffe: dict[str, Any] = {"uris": ("https://x.example", "spiffe://prod.example/ns/a/sa/b")}
    both = await caller("cn", dns=("A.Example", "b.example"), **spiffe)
    assert (both.method, both.issuer, both.subject) == (
        "certificate",
        "spiffe://prod.example",
        "spiffe://prod.example/ns/a/sa/b",
    )
    dns = await caller("cn", dns=("A.Example", "b.example"), uris=("https://x.example",))
    assert (dns.issuer, dns.subject) == ("dns:CN=Clients", "a.example")
    common = await caller("Büro 7")
    assert (common.issuer, common.subject) == ("cn:CN=Clients", "Büro 7")
    assert common.tenants is None
    assert common.scopes == frozenset()


async def test_equal_names_of_two_kinds_or_two_cas_are_two_callers() -> None:
    other = Authority("Others")
    same = "a.example"
    owners = {
        (await caller(same)).owner,
        (await caller(dns=(same,))).owner,
        (await caller(same, ca=other)).owner,
        (await caller(dns=(same,), ca=other)).owner,
    }
    assert len(owners) == 4
    assert (await caller(dns=(same,))).owner == (await caller(dns=(same,))).owner  # a renewed certificate
    renewed = {(await caller(uris=("spiffe://a/b",), ca=ca)).owner for ca in (CLIENTS, other)}
    assert len(renewed) == 1


@pytest.mark.parametrize(
    ("names", "options", "reason"),
    [
        ((), {"uris": ("spiffe://a/b", "spiffe://a/c")}, "several SPIFFE IDs"),
        ((), {"uris": ("spiffe://a/b", "spiffe://a/b")}, "several SPIFFE IDs"),
        (("cn",), {"uris": ("spiffe://",)}, "malformed SPIFFE ID"),
        ((), {"uris": ("spiffe://a/b/../c",)}, "malformed SPIFFE ID"),
        ((), {"uris": ("SPIFFE://a/b",)}, "malformed SPIFFE ID"),
        ((), {"uris": ("spiffe://a/b?c",)}, "malformed SPIFFE ID"),
        ((), {"uris": ("spiffe://a/",)}, "malformed SPIFFE ID"),
        ((), {}, "certificate without name"),
        (("one", "two"), {}, "certificate without name"),
        ((), {"dns": ("bank.example\0.evil.example",)}, "malformed name"),
        (("bank\0.evil",), {}, "malformed name"),
    ],
)
async def test_a_certificate_with_several_spiffe_ids_or_no_usable_name_is_refused(
    names: tuple[str, ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        await caller(*names, **options)
    assert (refused.value.reason, refused.value.problem) == (reason, "invalid_token")


async def test_a_certificate_that_ends_while_its_connection_is_open_counts_for_a_minute_more() -> None:
    late = await caller("a", ends=datetime.timedelta(seconds=-50))
    assert late.expires_at is not None
    with pytest.raises(Refused) as refused:
        await caller("a", ends=datetime.timedelta(seconds=-62))
    assert (refused.value.reason, refused.value.problem) == ("expired certificate", "expired")


async def test_tenants_and_scopes_belong_to_names() -> None:
    known = ClientCertificates(tenants={"a": ["t1", "t2"]}, scopes={"a": ["write"]})
    one = await caller("a", authenticator=known)
    assert (one.tenants, one.scopes) == (frozenset({"t1", "t2"}), frozenset({"write"}))
    other = await caller("b", authenticator=known)
    assert (other.tenants, other.scopes) == (frozenset(), frozenset())


async def test_a_connection_without_a_certificate_is_left_to_other_authenticators() -> None:
    assert certificate_of({"transport_security_type": [b"ssl"]}) is None
    assert await ClientCertificates()(CallCredentials()) is None


async def test_what_cannot_be_parsed_names_no_caller() -> None:
    certificate = certificate_of({"x509_pem_cert": [b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]})
    with pytest.raises(Refused, match="certificate without name"):
        await ClientCertificates()(CallCredentials(certificate=certificate))


def test_the_card_says_mutual_tls() -> None:
    described = ClientCertificates()
    assert isinstance(described, Described)
    assert [scheme.WhichOneof("scheme") for scheme in described.schemes().values()] == ["mtls_security_scheme"]
    assert described.challenge() == ""
