"""Callers with tokens: which tokens are accepted, what their claims mean, and which errors are possible."""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt import PyJWS

from a2a_grpc.auth import Authenticator, CallCredentials, Described, Jwt, Opened, Refused
from a2a_grpc.auth.jwt import REMEMBERED, REMEMBERED_S
from a2a_grpc.config import ConfigurationError
from a2a_grpc.principal import Principal
from tests.auth.issuer import (
    AUDIENCE,
    LEFT,
    REFUSED,
    Issuer,
    bearer,
    claims_of,
    encoded,
    jwk,
    private_key,
    signed,
)
from tests.harness import ROOT


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
async def authenticator(issuer: Issuer) -> AsyncIterator[Jwt]:
    async with opened(Jwt(issuer.url, [AUDIENCE])) as made:
        yield made


class opened:
    """An authenticator, opened for a block."""

    def __init__(self, authenticator: Jwt) -> None:
        self.authenticator = authenticator

    async def __aenter__(self) -> Jwt:
        await self.authenticator.open()
        return self.authenticator

    async def __aexit__(self, *_: object) -> None:
        await self.authenticator.close()


class Clock:
    """The Unix time, which a test moves."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


async def show(authenticator: Jwt, *entries: str) -> Principal | None:
    """Return what an authenticator says of a call with these entries `authorization`."""
    metadata: dict[str, tuple[str | bytes, ...]] = {"authorization": entries} if entries else {}
    return await authenticator(CallCredentials(metadata=metadata))


async def accepted(authenticator: Jwt, token: str) -> Principal:
    principal = await show(authenticator, *bearer(token))
    assert principal is not None
    return principal


async def refused(authenticator: Jwt, token: str) -> Refused:
    with pytest.raises(Refused) as raised:
        await show(authenticator, *bearer(token))
    return raised.value


# -- which tokens


async def test_a_good_token_names_its_caller(issuer: Issuer, authenticator: Jwt) -> None:
    claims = claims_of(issuer.url, scope="read write", act={"sub": "helper"}, department=["a", {"b": None}])
    principal = await accepted(authenticator, signed(claims))
    assert (principal.method, principal.issuer, principal.subject) == ("jwt", issuer.url, "user-1")
    assert principal.scopes == {"read", "write"}
    assert principal.actor == "helper"
    assert principal.tenants is None
    assert principal.group == ""
    assert principal.expires_at == claims["exp"] + 60
    assert principal.claims == claims
    assert Principal.from_json(principal.to_json(), tenant="").owner == principal.owner


@pytest.mark.parametrize("name", REFUSED)
async def test_a_wrong_token_is_refused_with_a_short_reason(issuer: Issuer, authenticator: Jwt, name: str) -> None:
    reason, entries = REFUSED[name]
    with pytest.raises(Refused) as raised:
        await show(authenticator, *entries(issuer))
    assert raised.value.reason == reason
    assert raised.value.problem == ("expired" if name == "expired" else "invalid_token")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("name", LEFT)
async def test_what_is_not_of_this_issuer_is_left_to_the_next_one(
    issuer: Issuer, authenticator: Jwt, name: str
) -> None:
    assert await show(authenticator, *LEFT[name](issuer)) is None


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer", "bEaReR"])
async def test_the_scheme_is_read_in_any_case(issuer: Issuer, authenticator: Jwt, scheme: str) -> None:
    assert await show(authenticator, f"{scheme} {issuer.token()}") is not None
    assert await show(authenticator, f"{scheme}   {issuer.token()}") is not None


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
async def test_access_tokens_are_accepted_by_any_of_their_types(
    issuer: Issuer, authenticator: Jwt, kind: str | None
) -> None:
    assert await accepted(authenticator, signed(claims_of(issuer.url), typ=kind))


async def test_one_of_several_audiences_is_enough(issuer: Issuer) -> None:
    async with opened(Jwt(issuer.url, ["other", AUDIENCE])) as authenticator:
        assert await accepted(authenticator, issuer.token(aud=["x", AUDIENCE, "y"]))
        assert await accepted(authenticator, issuer.token(aud="other"))
        assert (await refused(authenticator, issuer.token(aud=["x"]))).reason == "audience"


async def test_every_asymmetric_algorithm_is_accepted_with_a_key_that_fits_it() -> None:
    async with Issuer() as issuer:
        issuer.keys = [jwk(private_key("RS"), "rs"), jwk(private_key("EC"), "ec"), jwk(private_key("ED"), "ed")]
        async with opened(Jwt(issuer.url, [AUDIENCE])) as authenticator:
            for key, algorithms in (("RS", ("RS256", "RS512", "PS384")), ("EC", ("ES256",)), ("ED", ("EdDSA",))):
                for algorithm in algorithms:
                    named = {"key": private_key(key), "algorithm": algorithm}
                    assert await accepted(authenticator, issuer.token(key_id=key.lower(), **named))
                    if key != "RS":  # a single key fits the algorithm
                        assert await accepted(authenticator, issuer.token(key_id=None, **named))
            crossed = issuer.token(key=private_key("EC"), algorithm="ES256", key_id="rs")
            assert (await refused(authenticator, crossed)).reason == "unknown key"
        async with opened(Jwt(issuer.url, [AUDIENCE], algorithms=["ES256"])) as strict:
            assert await accepted(strict, issuer.token(key=private_key("EC"), algorithm="ES256", key_id="ec"))
            assert (await refused(strict, issuer.token(key_id="rs"))).reason == "algorithm"


async def test_a_token_without_a_key_id_needs_a_single_key() -> None:
    async with Issuer() as issuer:
        async with opened(Jwt(issuer.url, [AUDIENCE])) as authenticator:
            assert await accepted(authenticator, issuer.token(key_id=None))
        issuer.keys.append(jwk(private_key("RS", 1), "k2", alg="RS256"))
        async with opened(Jwt(issuer.url, [AUDIENCE])) as authenticator:
            assert (await refused(authenticator, issuer.token(key_id=None))).reason == "unknown key"


async def test_two_issuers_stand_in_one_list_and_a_key_of_one_makes_no_token_of_the_other() -> None:
    async with Issuer() as first, Issuer() as second:
        second.keys = [jwk(private_key("RS", 1), "k2", alg="RS256")]
        async with opened(Jwt(first.url, [AUDIENCE])) as one, opened(Jwt(second.url, [AUDIENCE])) as two:
            token = second.token(key=private_key("RS", 1), key_id="k2")
            assert await show(one, *bearer(token)) is None
            caller = await accepted(two, token)
            assert caller.owner != (await accepted(one, first.token())).owner
            forged = first.token(key=private_key("RS", 1), key_id="k2")
            assert (await refused(one, forged)).reason == "unknown key"
            assert await show(two, *bearer(forged)) is None


# -- times and the cache


async def test_the_leeway_counts_at_both_ends(issuer: Issuer, authenticator: Jwt) -> None:
    now = int(time.time())
    assert await accepted(authenticator, issuer.token(exp=now - 50))
    assert await accepted(authenticator, issuer.token(nbf=now + 50))
    async with opened(Jwt(issuer.url, [AUDIENCE], leeway_s=0)) as strict:
        assert (await refused(strict, issuer.token(exp=now - 1))).problem == "expired"
        assert (await refused(strict, issuer.token(nbf=now + 50))).reason == "claim nbf ahead"


async def test_a_remembered_token_is_not_accepted_after_its_end(issuer: Issuer) -> None:
    clock = Clock()
    async with opened(Jwt(issuer.url, [AUDIENCE], clock=clock)) as authenticator:
        token = issuer.token(exp=int(time.time()) - 40)  # with the leeway it ends in 20 s
        first = await accepted(authenticator, token)
        clock.ahead_s = 15
        assert await accepted(authenticator, token) is first
        clock.ahead_s = 25
        assert (await refused(authenticator, token)).problem == "expired"


async def test_a_token_is_verified_once_a_minute(issuer: Issuer) -> None:
    clock = Clock()
    async with opened(Jwt(issuer.url, [AUDIENCE], clock=clock)) as authenticator:
        token = issuer.token()
        first = await accepted(authenticator, token)
        clock.ahead_s = REMEMBERED_S - 5
        assert await accepted(authenticator, token) is first
        clock.ahead_s = REMEMBERED_S + 5
        assert await accepted(authenticator, token) is not first


async def test_a_remembered_token_is_found_by_all_of_it(issuer: Issuer, authenticator: Jwt) -> None:
    token = issuer.token()
    await accepted(authenticator, token)
    assert (await refused(authenticator, token[:-10] + "A" * 10)).reason == "signature"


async def test_remembered_tokens_are_bounded(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert REMEMBERED == 4096
    monkeypatch.setattr("a2a_grpc.auth.jwt.REMEMBERED", 3)
    async with opened(Jwt(issuer.url, [AUDIENCE])) as authenticator:
        tokens = [issuer.token(sub=f"user-{number}") for number in range(4)]
        first, *_ = [await accepted(authenticator, token) for token in tokens[:3]]
        assert await accepted(authenticator, tokens[0]) is first  # used last
        await accepted(authenticator, tokens[3])
        assert await accepted(authenticator, tokens[0]) is first
        assert len(authenticator._verified) == 3


# -- what claims mean


MAPPED: dict[str, Any] = {"tenant_claim": "tenants", "scopes_claim": "permissions", "owner_claim": "team"}


@pytest.mark.parametrize(
    ("claims", "tenants"),
    [
        ({"tenants": "acme"}, {"acme"}),
        ({"tenants": ["acme", "umbra"]}, {"acme", "umbra"}),
        ({"tenants": []}, set()),
        ({"tenants": ""}, {""}),
        ({}, {""}),
    ],
)
async def test_the_tenant_claim_names_the_tenants(issuer: Issuer, claims: dict[str, Any], tenants: set[str]) -> None:
    async with opened(Jwt(issuer.url, [AUDIENCE], **MAPPED)) as authenticator:
        assert (await accepted(authenticator, issuer.token(**claims))).tenants == frozenset(tenants)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"permissions": "read  write"}, {"read", "write"}),
        ({"permissions": ["read", "write"]}, {"read", "write"}),
        ({"permissions": ""}, set()),
        ({"scp": "read write"}, {"read", "write"}),
        ({"scp": ["read"]}, {"read"}),
        ({"permissions": "read", "scp": "write"}, {"read"}),
        (
            {"permissions": " ".join(f"scope-{number:03}" for number in range(100))},
            {f"scope-{n:03}" for n in range(100)},
        ),
        ({"scope": "read"}, set()),
        ({}, set()),
    ],
)
async def test_the_scopes_claim_names_the_scopes(issuer: Issuer, claims: dict[str, Any], scopes: set[str]) -> None:
    async with opened(Jwt(issuer.url, [AUDIENCE], **MAPPED)) as authenticator:
        assert (await accepted(authenticator, issuer.token(**claims))).scopes == scopes


async def test_members_of_a_group_are_one_owner(issuer: Issuer) -> None:
    async with opened(Jwt(issuer.url, [AUDIENCE], **MAPPED)) as authenticator:
        ann = await accepted(authenticator, issuer.token(sub="ann", team="blue"))
        bob = await accepted(authenticator, issuer.token(sub="bob", team="blue"))
        alone = await accepted(authenticator, issuer.token(sub="ann"))
        named = await accepted(authenticator, issuer.token(sub="blue"))
    assert ann.owner == bob.owner
    assert len({ann.owner, alone.owner, named.owner}) == 3


@pytest.mark.parametrize("name", ["tenants", "permissions", "team"])
@pytest.mark.parametrize("value", [7, True, {"a": 1}, [1], ["a\0b"], "a\0b", "x" * 300])
async def test_a_mapped_claim_of_an_odd_type_is_refused(issuer: Issuer, name: str, value: Any) -> None:
    async with opened(Jwt(issuer.url, [AUDIENCE], **MAPPED)) as authenticator:
        assert (await refused(authenticator, issuer.token(**{name: value}))).reason == f"claim {name}"


async def test_claims_of_a_principal_cannot_be_changed(issuer: Issuer, authenticator: Jwt) -> None:
    principal = await accepted(authenticator, issuer.token())
    with pytest.raises(TypeError):
        principal.claims["scope"] = "admin"  # type: ignore[index]


async def test_further_required_claims_must_be_there(issuer: Issuer) -> None:
    async with opened(Jwt(issuer.url, [AUDIENCE], required=["sub", "jti"])) as authenticator:
        assert (await refused(authenticator, issuer.token())).reason == "claim jti missing"
        forever = await accepted(authenticator, issuer.token(jti="1", exp=None))
        assert forever.expires_at is None


# -- how it is configured


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"algorithms": ["HS256"]}, "algorithms has 'HS256'"),
        ({"algorithms": ["RS256", "none"]}, "algorithms has 'none'"),
        ({"algorithms": []}, "algorithms is []"),
        ({"algorithms": "RS256"}, "algorithms is 'RS256'"),
        ({"audiences": "a2a"}, "audiences is 'a2a'; it must be a list of texts"),
        ({"audiences": []}, "audiences is []"),
        ({"issuer": ""}, "issuer is empty"),
        ({"issuer": "http://id.example"}, "issuer 'http://id.example' begins with http://"),
        ({"issuer": "id.example"}, "issuer 'id.example' is not a URL"),
        ({"issuer": "https://id.example?a=b"}, "has a query"),
        ({"issuer": "https://u:secret-of-mine@id.example"}, "has a user name or a password"),
        ({"issuer": "https://id.example:99999"}, "is not a URL"),
        ({"jwks_url": "http://id.example/keys"}, "jwks_url 'http://id.example/keys' begins with http://"),
        ({"jwks_url": "https://id.example/keys", "jwks_file": "x"}, "are both given"),
        ({"required": ["exp"]}, "required has no 'sub'"),
        ({"leeway_s": float("nan")}, "leeway_s is nan"),
        ({"leeway_s": -1}, "leeway_s is -1"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Jwt(**{"issuer": "https://id.example", "audiences": ["a2a"], **options})
    assert said in str(raised.value)
    assert "secret-of-mine" not in str(raised.value)


def test_an_issuer_of_any_form_goes_with_a_file_or_a_url() -> None:
    assert Jwt("our-gateway", ["a2a"], jwks_file="keys.json").issuer == "our-gateway"
    assert Jwt("our-gateway", ["a2a"], jwks_url="https://id.example/keys?v=2").issuer == "our-gateway"


async def test_an_issuer_that_its_document_spells_otherwise_is_named_at_the_start(issuer: Issuer) -> None:
    with pytest.raises(ConfigurationError, match=r"is that of the issuer 'http://127.*', not of 'http://127.*/'"):
        await Jwt(issuer.url + "/", [AUDIENCE]).open()


def test_the_card_names_discovery_or_a_bearer_token() -> None:
    found = Jwt("https://id.example/realms/a", ["a2a"])
    [(name, scheme)] = found.schemes().items()
    assert name == "jwt_id.example_realms_a"
    url = "https://id.example/realms/a/.well-known/openid-configuration"
    assert scheme.open_id_connect_security_scheme.open_id_connect_url == url
    [scheme] = Jwt("https://id.example", ["a2a"], jwks_url="https://id.example/keys").schemes().values()
    assert scheme.http_auth_security_scheme.scheme == "Bearer"
    assert scheme.http_auth_security_scheme.bearer_format == "JWT"
    assert found.challenge() == "Bearer"
    assert isinstance(found, Described)
    assert isinstance(found, Opened)
    seam: Authenticator = found
    assert seam is found


def test_a_missing_package_is_named_with_its_extra() -> None:
    program = """
import sys
sys.modules["jwt"] = None
import importlib.util
find = importlib.util.find_spec
from a2a_grpc.auth import keyset
keyset.find_spec = lambda name: None if name == "jwt" else find(name)
from a2a_grpc.auth import Jwt
from a2a_grpc.config import ConfigurationError
try:
    Jwt("https://id.example", ["a2a"])
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == 'tokens (JWT) need PyJWT: pip install "a2a-grpc[auth]"\n'


async def test_keys_come_from_a_file_which_is_read_again(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    authenticator = Jwt(issuer.url, [AUDIENCE], jwks_file=file)
    with pytest.raises(ConfigurationError, match=r"keys\.json: cannot be read: No such file"):
        await authenticator.open()
    file.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"keys\.json: it is not a JSON web key set"):
        await Jwt(issuer.url, [AUDIENCE], jwks_file=file).open()
    file.write_text(json.dumps({"keys": issuer.keys}))
    async with opened(Jwt(issuer.url, [AUDIENCE], jwks_file=file)) as authenticator:
        assert await accepted(authenticator, issuer.token())


# -- any input


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "act", "scope", "scp", "tenants", "team", "x"])
headers = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "b64", "x"]), json_values, max_size=4)
values = st.sampled_from([AUDIENCE, "RS256", "none", "HS256", "k1", 0, 1e308, -1, 2**70]) | json_values


@given(header=headers, claims=st.dictionaries(names, values), good=st.booleans(), tail=st.text(max_size=8))
async def test_any_token_is_refused_or_left_or_accepted(
    issuer: Issuer, authenticator: Jwt, header: dict[str, Any], claims: dict[str, Any], good: bool, tail: str
) -> None:
    named = {"alg": "RS256", "kid": "k1", **header}
    said = {**claims_of(issuer.url), **claims} if good else claims
    unsigned = f"{encoded(named)}.{encoded(said)}.{encoded(b'x' * 256)}{tail}"
    await show_anything(authenticator, f"Bearer {unsigned}")


@given(claims=st.dictionaries(names, values))
async def test_any_claims_of_a_well_signed_token_are_refused_or_accepted(
    issuer: Issuer, claims: dict[str, Any]
) -> None:
    async with opened(Jwt(issuer.url, [AUDIENCE], **MAPPED)) as authenticator:
        body = json.dumps({**claims_of(issuer.url), **claims}).encode()
        token = PyJWS().encode(body, private_key("RS"), "RS256", headers={"kid": "k1"})
        principal = await show_anything(authenticator, *bearer(token))
        if principal is not None:
            assert Principal.from_json(principal.to_json(), tenant="").owner == principal.owner


@given(entries=st.lists(st.text() | st.from_regex(r"[Bb]earer [A-Za-z0-9_.=-]{0,40}"), max_size=2))
async def test_any_entries_are_refused_or_left(authenticator: Jwt, entries: list[str]) -> None:
    assert await show_anything(authenticator, *entries) is None


async def show_anything(authenticator: Jwt, *entries: str) -> Principal | None:
    reason = ""
    try:
        principal = await show(authenticator, *entries)
    except Refused as refused:
        principal, reason = None, refused.reason
    assert len(reason) < 40
    assert principal is None or isinstance(principal, Principal)
    return principal


async def test_nothing_of_a_token_is_in_a_representation(issuer: Issuer, authenticator: Jwt) -> None:
    token = issuer.token(sub="canary-subject")
    await accepted(authenticator, token)
    assert "canary" not in repr(authenticator)
    assert token.split(".")[2] not in repr(vars(authenticator))
