"""How often keys are read, and from which places: real HTTP servers that answer, hang, lie or are gone."""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc.auth import CallCredentials, Jwt, Refused
from a2a_grpc.auth import discovery as sources
from a2a_grpc.auth.discovery import MAX_DOCUMENT_BYTES, WELL_KNOWN, Discovery, KeyFile, KeyUrl, SourceError, url_problem
from a2a_grpc.auth.jwks import KeyCache
from a2a_grpc.auth.keyset import MAX_KEYS, KeySetError, parse
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnavailableError
from tests.auth.issuer import AUDIENCE, KEYS, Issuer, bearer, hang, jwk, private_key
from tests.harness import eventually


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as running:
        yield running


@asynccontextmanager
async def keys_of(issuer: Issuer, clock: Clock | None = None) -> AsyncIterator[KeyCache]:
    cache = KeyCache(issuer.url, Discovery(issuer.url), clock=clock or Clock())
    try:
        yield cache
    finally:
        await cache.close()


async def unknown(cache: KeyCache, key_id: str = "") -> None:
    with pytest.raises(Refused, match="unknown key"):
        await cache.find(key_id or secrets.token_hex(8), "RS256")


async def is_known(cache: KeyCache, key_id: str = "k1") -> bool:
    return (await cache.find(key_id, "RS256")).key_id == key_id


# -- how often


async def test_100_calls_on_a_cold_cache_are_one_read(issuer: Issuer) -> None:
    async with keys_of(issuer) as cache:
        assert all(await asyncio.gather(*(is_known(cache) for _ in range(100))))
    assert issuer.reads == {WELL_KNOWN: 1, KEYS: 1}


async def test_1000_tokens_with_random_keys_are_one_read_in_30_s(issuer: Issuer) -> None:
    clock = Clock()
    async with keys_of(issuer, clock) as cache:
        await cache.open()
        issuer.reads.clear()
        await asyncio.gather(*(unknown(cache) for _ in range(1000)))
        for _ in range(100):
            await unknown(cache)
        assert issuer.reads[KEYS] == 1
        clock.now += 29
        await asyncio.gather(*(unknown(cache) for _ in range(100)))
        assert issuer.reads[KEYS] == 1
        clock.now += 2
        await asyncio.gather(*(unknown(cache) for _ in range(100)))
        assert issuer.reads[KEYS] == 2


async def test_1000_tokens_with_random_keys_on_a_cold_cache_are_one_read(issuer: Issuer) -> None:
    async with keys_of(issuer) as cache:
        await asyncio.gather(*(unknown(cache) for _ in range(1000)))
    assert issuer.reads[KEYS] == 1


async def test_fresh_keys_are_used_for_five_minutes_and_read_ahead_in_the_last(issuer: Issuer) -> None:
    clock = Clock()
    async with keys_of(issuer, clock) as cache:
        await cache.open()
        clock.now += 239
        assert await is_known(cache)
        assert issuer.reads[KEYS] == 1
        clock.now += 2
        release = asyncio.Event()
        issuer.answers[KEYS] = answering_after(release, issuer)
        assert await is_known(cache)  # although the read hangs
        release.set()
        await eventually(lambda: assert_equal(issuer.reads[KEYS], 2))
        await cache._end_of_reading()
        clock.now += 239
        assert await is_known(cache)
        assert issuer.reads[KEYS] == 2


async def test_keys_that_are_too_old_are_read_before_the_call_goes_on(issuer: Issuer) -> None:
    clock = Clock()
    async with keys_of(issuer, clock) as cache:
        await cache.open()
        issuer.keys = [jwk(private_key("RS", 1), "k2")]
        clock.now += 301
        await unknown(cache, "k1")
        assert await is_known(cache, "k2")
        assert issuer.reads[KEYS] == 2


async def test_a_new_key_is_found_at_once_and_a_removed_one_until_the_next_read(issuer: Issuer) -> None:
    clock = Clock()
    async with keys_of(issuer, clock) as cache:
        await cache.open()
        issuer.keys = [jwk(private_key("RS", 1), "k2")]
        assert await is_known(cache, "k1")
        assert await is_known(cache, "k2")
        await unknown(cache, "k1")
        assert issuer.reads[KEYS] == 2


async def test_a_read_that_takes_long_stays_the_only_one(issuer: Issuer) -> None:
    clock, release = Clock(), asyncio.Event()
    issuer.answers[KEYS] = answering_after(release, issuer)
    async with keys_of(issuer, clock) as cache:
        calls = [asyncio.create_task(is_known(cache))]
        await eventually(lambda: assert_equal(issuer.reads[KEYS], 1))
        for _ in range(5):
            clock.now += 31
            calls.append(asyncio.create_task(is_known(cache)))
            await asyncio.sleep(0.01)
        release.set()
        assert all(await asyncio.gather(*calls))
    assert issuer.reads[KEYS] == 1


# -- faults


async def test_old_keys_are_used_for_an_hour_if_the_provider_is_gone_then_calls_are_unavailable(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with keys_of(issuer, clock) as cache:
        await cache.open()
        await issuer.stop()
        for _ in range(11):
            clock.now += 300
            assert await is_known(cache)
        clock.now += 299
        assert await is_known(cache)
        clock.now += 2
        with pytest.raises(UnavailableError) as raised:
            await is_known(cache)
        assert raised.value.retry_after_s
        assert "127.0.0.1" not in str(raised.value)
        assert "so the former keys are used" in caplog.text
        await issuer.start()
        clock.now += 31
        assert await is_known(cache)


async def test_calls_do_not_wait_for_a_provider_that_has_failed_already(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FETCH_TIMEOUT_S", 0.2)
    clock = Clock()
    async with keys_of(issuer, clock) as cache:
        await cache.open()
        issuer.answers[KEYS] = hang
        clock.now += 301
        assert await is_known(cache)  # waits once
        clock.now += 31
        await asyncio.gather(*(is_known(cache) for _ in range(50)))
        assert cache._reading is not None  # hangs
        del issuer.answers[KEYS]
        await eventually(lambda: assert_equal(cache._reading, None))
        clock.now += 31
        assert await is_known(cache)
        await cache._end_of_reading()
        assert cache._problem is None


async def test_a_token_with_an_unknown_key_is_unavailable_while_keys_cannot_be_read(issuer: Issuer) -> None:
    clock = Clock()
    async with keys_of(issuer, clock) as cache:
        await cache.open()
        await issuer.stop()
        with pytest.raises(UnavailableError):
            await cache.find("k2", "RS256")
        assert await is_known(cache)


async def test_a_cold_cache_without_a_provider_is_unavailable_and_tries_again_after_five_seconds(
    issuer: Issuer,
) -> None:
    clock = Clock()
    issuer.answers[WELL_KNOWN] = answering(web.Response, status=503)
    async with keys_of(issuer, clock) as cache:
        await cache.open()
        for _ in range(10):
            with pytest.raises(UnavailableError):
                await is_known(cache)
        assert issuer.reads[WELL_KNOWN] == 1
        issuer.answers.clear()
        clock.now += 6
        assert await is_known(cache)


async def test_a_hanging_provider_does_not_affect_the_callers_of_another_issuer() -> None:
    async with Issuer() as hanging, Issuer() as good:
        hanging.answers[KEYS] = hang
        one, two = Jwt(hanging.url, [AUDIENCE]), Jwt(good.url, [AUDIENCE])
        stuck = [asyncio.create_task(show(one, hanging.token(sub=f"u{number}"))) for number in range(50)]
        await eventually(lambda: assert_equal(hanging.reads[KEYS], 1))
        for number in range(50):
            assert await show(one, good.token(sub=f"u{number}")) is None
            assert await show(two, good.token(sub=f"u{number}"))
        assert not any(task.done() for task in stuck)
        await one.close()
        await two.close()
        for task in stuck:
            with pytest.raises(UnavailableError):
                await task
        assert hanging.reads[KEYS] == 1


async def test_a_call_that_is_canceled_does_not_end_the_read_of_others(issuer: Issuer) -> None:
    release = asyncio.Event()
    issuer.answers[KEYS] = answering_after(release, issuer)
    async with keys_of(issuer) as cache:
        first, second = asyncio.create_task(is_known(cache)), asyncio.create_task(is_known(cache))
        await eventually(lambda: assert_equal(issuer.reads[KEYS], 1))
        first.cancel()
        await asyncio.wait([first])
        release.set()
        assert await second
        assert issuer.reads[KEYS] == 1


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        (KEYS, {"body": b"{" + b" " * MAX_DOCUMENT_BYTES + b"}"}, f"has more than {MAX_DOCUMENT_BYTES} bytes"),
        (KEYS, {"status": 404}, "answers 404"),
        (KEYS, {"text": "<html>"}, "it is not a JSON web key set"),
        (KEYS, {"text": "[]"}, "it is not a JSON web key set"),
        (KEYS, {"text": '{"keys": {}}'}, "it is not a JSON web key set"),
        (KEYS, {"body": b"\xff\xfe"}, "it is not a JSON web key set"),
        (KEYS, {"text": "[" * 100_000}, "it is not a JSON web key set"),
        (KEYS, {"text": json.dumps({"keys": [{}] * (MAX_KEYS + 1)})}, f"it has {MAX_KEYS + 1} keys"),
        (KEYS, {"body": b"x", "headers": {"Content-Encoding": "gzip"}}, "is compressed"),
        (KEYS, {"status": 302, "headers": {"Location": "http://localhost:9/keys"}}, "redirects to another server"),
        (KEYS, {"status": 302, "headers": {"Location": "http://169.254.169.254/"}}, "redirects to another server"),
        (KEYS, {"status": 307, "headers": {"Location": "file:///etc/passwd"}}, "redirects to another server"),
        (KEYS, {"status": 307, "headers": {"Location": KEYS}}, "redirects in circles"),
        (KEYS, {"status": 302}, "redirects in circles"),
        (WELL_KNOWN, {"text": "[]"}, "is not a JSON object"),
        (WELL_KNOWN, {"text": "no"}, "is not a JSON object"),
    ],
)
async def test_an_answer_that_is_no_key_set_is_an_error_that_says_why(
    issuer: Issuer, path: str, answer: dict[str, Any], said: str
) -> None:
    issuer.answers[path] = answering(web.Response, **answer)
    with pytest.raises(SourceError, match=said):
        await Discovery(issuer.url).load()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "has no jwks_uri"),
        ({"jwks_uri": 7}, "has no jwks_uri"),
        ({"jwks_uri": "http://id.example/keys"}, "begins with http://"),
        ({"jwks_uri": "file:///etc/passwd"}, "is not a URL"),
        ({"jwks_uri": "https://u:p@id.example/keys"}, "has a user name or a password"),
    ],
)
async def test_the_keys_of_a_document_are_read_at_safe_places_only(
    issuer: Issuer, document: dict[str, Any], said: str
) -> None:
    issuer.document = {"issuer": issuer.url, **document}
    with pytest.raises(SourceError, match=said):
        await Discovery(issuer.url).load()


def test_a_document_of_another_machine_names_no_place_on_this_machine() -> None:
    assert "begins with http://" in url_problem("http://127.0.0.1/keys", may_be_local=False)
    assert url_problem("http://127.0.0.1/keys") == url_problem("https://id.example/keys") == ""


async def test_a_document_of_another_issuer_is_a_wrong_configuration(issuer: Issuer) -> None:
    issuer.document["issuer"] = "https://evil.example"
    with pytest.raises(ConfigurationError, match=r"is that of the issuer 'https://evil\.example'"):
        await Discovery(issuer.url).load()


async def test_a_redirect_on_the_same_server_is_followed(issuer: Issuer) -> None:
    issuer.answers[KEYS] = answering(web.Response, status=302, headers={"Location": "/moved"})
    issuer.answers["/moved"] = answering(web.json_response, data={"keys": issuer.keys})
    assert len(await Discovery(issuer.url).load()) == 1


async def test_a_server_that_drips_is_bounded_in_time(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FETCH_TIMEOUT_S", 0.3)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    issuer.answers[KEYS] = drip
    with pytest.raises(SourceError, match=r"no answer within 0\.3 s"):
        await KeyUrl(issuer.keys_url).load()


async def test_a_server_whose_certificate_is_not_trusted_gives_no_keys(issuer: Issuer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
            await KeyUrl(f"https://127.0.0.1:{port}/keys").load()


async def test_an_issuer_with_a_path_has_its_document_under_the_path() -> None:
    async with Issuer(path="/realms/a") as issuer:
        assert len(await Discovery(issuer.url).load()) == 1
        assert issuer.reads[WELL_KNOWN] == 1


# -- files


async def test_a_changed_file_counts_after_a_second_and_a_wrong_one_keeps_the_former_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, file = Clock(), tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [jwk(private_key("RS"), "k1")]}))
    cache = KeyCache("our-gateway", KeyFile(file), clock=clock)
    await cache.open()
    file.write_text(json.dumps({"keys": [jwk(private_key("RS", 1), "k2")]}))
    assert await is_known(cache, "k1")
    clock.now += 1.1
    assert await is_known(cache, "k2")
    await unknown(cache, "k1")
    file.write_text("{")
    clock.now += 1e6
    assert await is_known(cache, "k2")
    assert "so the former keys are used issuer=our-gateway" in caplog.text
    file.unlink()
    clock.now += 1e6
    assert await is_known(cache, "k2")
    await cache._end_of_reading()
    file.write_text(json.dumps({"keys": [jwk(private_key("RS"), "k1")]}))
    clock.now += 2
    assert await is_known(cache, "k2")  # the read has begun, and calls do not wait for it after a failure
    await cache._end_of_reading()
    await unknown(cache, "k2")
    await cache.close()


async def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(b" " * (MAX_DOCUMENT_BYTES + 1))
    with pytest.raises(ConfigurationError, match=f"it has more than {MAX_DOCUMENT_BYTES} bytes"):
        await KeyFile(file).load()


# -- key sets


def keys_in(*members: Any) -> list[str]:
    return sorted(parse(json.dumps({"keys": members}).encode()).ids)


def test_only_keys_that_verify_signatures_are_taken() -> None:
    good = jwk(private_key("RS"), "good")
    symmetric = {"kty": "oct", "kid": "oct", "k": "c2VjcmV0", "alg": "HS256"}
    short = jwk(rsa.generate_private_key(65537, 1024), "short")
    assert keys_in(
        good,
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "wrap", "key_ops": ["wrapKey"]},
        {**good, "kid": "verify", "key_ops": ["verify"], "use": "sig"},
        {**good, "kid": "oaep", "alg": "RSA-OAEP"},
        {**good, "kid": "hs", "alg": "HS256"},
        {**good, "kid": "es", "alg": "ES256"},
        {**good, "kid": "odd", "alg": 7},
        {**good, "kid": 7},
        {**good, "kid": "no n", "n": None},
        {**good, "kid": "no number", "n": "!!"},
        symmetric,
        short,
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "no point"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "curve"},
        {"kty": ["RSA"], "kid": "list"},
        {"kid": "no kind"},
        7,
        None,
    ) == ["good", "verify"]


def test_a_private_key_in_a_set_is_read_as_its_public_key() -> None:
    private = private_key("EC").private_numbers().private_value.to_bytes(32, "big")
    found = parse(json.dumps({"keys": [jwk(private_key("EC"), "k", d=private.hex())]}).encode()).find("k", "ES256")
    assert found is not None
    assert not hasattr(found.public, "sign")


def test_a_key_fits_the_algorithm_that_it_names_and_else_those_of_its_kind() -> None:
    keys = parse(json.dumps({"keys": [jwk(private_key("RS"), "a", alg="PS256"), jwk(private_key("RS"), "b")]}).encode())
    assert keys.find("a", "PS256")
    assert keys.find("a", "RS256") is None
    assert keys.find("b", "RS512")
    assert keys.find("b", "ES256") is None
    assert keys.find(None, "RS256") is keys.find("b", "RS256")
    assert keys.find(None, "PS256") is None  # two keys fit
    assert keys.find("", "RS256") is None


values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
member_names = st.sampled_from(["kty", "use", "alg", "kid", "n", "e", "crv", "x", "y", "d", "key_ops"])
member_values = st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "RS256", "AQAB", "AA", "AQ"]) | values


@given(members=st.lists(st.dictionaries(member_names, member_values) | values, max_size=4), content=st.binary())
def test_any_document_is_a_key_set_or_an_error(members: list[Any], content: bytes) -> None:
    parse(json.dumps({"keys": members}).encode())
    try:
        parse(content)
    except KeySetError:
        pass


# -- helpers


async def show(authenticator: Jwt, token: str) -> Any:
    return await authenticator(CallCredentials(metadata={"authorization": bearer(token)}))


def answering(make: Any, **arguments: Any) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = make(**arguments)
        return response

    return answer


def answering_after(release: asyncio.Event, issuer: Issuer) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"keys": issuer.keys})

    return answer


def assert_equal(one: object, other: object) -> None:
    assert one == other
