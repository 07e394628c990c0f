"""What a webhook is sent, and what follows from what its receiver does."""

import asyncio
import base64
import json
import ssl
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf import json_format
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.push.answer import outcome_of, retry_after_s
from a2a_grpc.push.delivery import Outcome, Verdict
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.push.signing import SigningKey
from a2a_grpc.push.webhooks import MAX_ANSWER_BYTES, Webhooks
from a2a_grpc.wire import AuthenticationInfo, StreamResponse, TaskPushNotificationConfig
from tests.covers import covers
from tests.harness import eventually
from tests.push.sockets import Hook, Names, bare, delivery, hook, tls_of

HERE = WebhookSettings(push_allow="127.0.0.1")
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


async def post(receiver: Hook, webhooks: Webhooks | None = None, **config: Any) -> Outcome:
    used = webhooks or Webhooks(HERE)
    try:
        return await used.deliver(delivery(f"http://127.0.0.1:{receiver.port}/hook?x=%2F1", **config))
    finally:
        if webhooks is None:
            await used.close()


@covers("PUSH-1", "PUSH-2", "PUSH-3", "PUSH-7")
async def test_a_notification_is_a_post_of_a_stream_response_with_the_credentials_and_the_token() -> None:
    async with hook() as receiver:
        outcome = await post(
            receiver, text="grüße", token="t0ken", authentication=AuthenticationInfo(scheme="Bearer", credentials="abc")
        )
        (got,) = receiver.received
        headers = {name: value for name, value in got.headers.items() if name not in ("Host", "User-Agent")}
        assert headers.pop("webhook-timestamp").isdecimal()
        assert headers == {
            "Content-Type": "application/a2a+json",
            "Content-Length": str(len(got.body)),
            "A2A-Version": "1.0",
            "Authorization": "Bearer abc",
            "X-A2A-Notification-Token": "t0ken",
            "webhook-id": "t-1:3",
            "Accept-Encoding": "identity",
        }
        assert json_format.Parse(got.body, StreamResponse()) == delivery("", text="grüße").event
        assert list(json.loads(got.body)) == ["task"]
        assert got.path == "/hook?x=%2F1"
        assert outcome == Outcome(Verdict.DELIVERED, "the receiver answered 204")


async def test_each_attempt_has_the_same_id_and_its_own_time() -> None:
    times = iter((1000.0, 1000.0, 2000.0, 2000.0))
    async with hook() as receiver:
        webhooks = Webhooks(HERE, clock=lambda: next(times))
        for attempt in (1, 2):
            await webhooks.deliver(delivery(f"http://127.0.0.1:{receiver.port}/", attempt=attempt))
        await webhooks.close()
        assert [got.headers["webhook-id"] for got in receiver.received] == ["t-1:3", "t-1:3"]
        assert [got.headers["webhook-timestamp"] for got in receiver.received] == ["1000", "2000"]


async def test_standardwebhooks_verifies_a_signature_with_a_secret() -> None:
    async with hook() as receiver:
        secret = AuthenticationInfo(scheme="Standard-Webhooks", credentials=SECRET)
        await post(receiver, text="ä", authentication=secret)
        (got,) = receiver.received
        assert "Authorization" not in got.headers
        assert SECRET not in str(got.headers)
        Webhook(SECRET).verify(got.body, dict(got.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(got.body + b" ", dict(got.headers))


async def test_a_signature_with_the_key_is_verified_by_the_published_key_set(tmp_path: Path) -> None:
    key = SigningKey.from_file(tmp_path / "key.pem")
    async with hook() as receiver:
        webhooks = Webhooks(HERE, key=key)
        await post(receiver, webhooks)
        await webhooks.close()
        (got,) = receiver.received
    version, _, signature = got.headers["webhook-signature"].partition(",")
    (jwk,) = json.loads(key.jwks())["keys"]
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "="))
    content = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    public.verify(base64.b64decode(signature), content)
    assert (version, jwk["kid"]) == ("v1a", got.headers["X-A2A-Notification-Key-Id"])
    assert "d" not in jwk


def test_the_file_of_the_key_is_private_and_read_by_the_next_program(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    first = SigningKey.from_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.from_file(path).jwks() == first.jwks()
    other = SigningKey.from_file(tmp_path / "other.pem")
    path.write_text((tmp_path / "other.pem").read_text() + path.read_text())
    changed = SigningKey.from_file(path)
    assert changed.key_id == other.key_id
    assert [key["kid"] for key in json.loads(changed.jwks())["keys"]] == [other.key_id, first.key_id]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has no private key"),
        ("-----BEGIN PRIVATE KEY-----\nxxxx\n-----END PRIVATE KEY-----\n", "a block that is no private key"),
        ("x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_a_file_without_a_key_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "key.pem"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=f"push_signing_key .*{message}"):
        SigningKey.from_file(path)


def test_a_key_of_another_kind_or_in_no_folder_is_refused_by_name(tmp_path: Path) -> None:
    trustme.CA().private_key_pem.write_to_path(tmp_path / "ec.pem")
    with pytest.raises(ConfigurationError, match="not of the kind ed25519"):
        SigningKey.from_file(tmp_path / "ec.pem")
    with pytest.raises(ConfigurationError, match="cannot be used: No such file"):
        SigningKey.from_file(tmp_path / "missing" / "key.pem")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"token": "a\r\nX: y"}, "token"),
        ({"token": "a\nb"}, "token"),
        ({"token": " a"}, "token"),
        ({"token": "ä"}, "token"),
        ({"token": "a" * 4097}, "token"),
        ({"authentication": AuthenticationInfo(scheme="Bearer\r\n", credentials="x")}, "authentication.scheme"),
        ({"authentication": AuthenticationInfo(scheme="Bearer x", credentials="x")}, "authentication.scheme"),
        ({"authentication": AuthenticationInfo(credentials="x")}, "authentication.scheme"),
        ({"authentication": AuthenticationInfo(scheme="Bearer")}, "authentication.credentials"),
        ({"authentication": AuthenticationInfo(scheme="Bearer", credentials="x\r\ny")}, "authentication.credentials"),
        (
            {"authentication": AuthenticationInfo(scheme="Standard-Webhooks", credentials="secret")},
            "authentication.credentials",
        ),
        (
            {"authentication": AuthenticationInfo(scheme="standard-webhooks", credentials="whsec_c2hvcnQ=")},
            "authentication.credentials",
        ),
    ],
)
async def test_what_cannot_stand_in_a_header_is_refused_by_name(config: dict[str, Any], field: str) -> None:
    webhooks = Webhooks(resolver=Names({"example.com": [["8.8.8.8"]]}))
    with pytest.raises(InvalidRequestError) as found:
        await webhooks.check(TaskPushNotificationConfig(url="https://example.com/", **config))
    assert [violation.field for violation in found.value.violations] == [field]
    assert (await webhooks.deliver(delivery("https://example.com/", **config))).verdict is Verdict.REFUSED
    await webhooks.close()


async def test_a_good_config_is_accepted() -> None:
    webhooks = Webhooks(resolver=Names({"example.com": [["8.8.8.8", "2600::1"]]}))
    await webhooks.check(TaskPushNotificationConfig(url="https://example.com/hook", token="t"))
    await webhooks.close()


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome"),
    [
        (200, None, (Verdict.DELIVERED, None)),
        (299, "5", (Verdict.DELIVERED, None)),
        (302, "5", (Verdict.RETRY, None)),
        (400, "5", (Verdict.RETRY, None)),
        (401, None, (Verdict.UNAUTHORIZED, None)),
        (403, None, (Verdict.UNAUTHORIZED, None)),
        (404, None, (Verdict.RETRY, None)),
        (410, None, (Verdict.GONE, None)),
        (429, "120", (Verdict.RETRY, 120.0)),
        (500, "120", (Verdict.RETRY, None)),
        (503, formatdate(1060, usegmt=True), (Verdict.RETRY, 60.0)),
        (503, formatdate(900, usegmt=True), (Verdict.RETRY, 0.0)),
        (503, "9" * 400, (Verdict.RETRY, 86400.0)),
        (503, formatdate(10**10, usegmt=True), (Verdict.RETRY, 86400.0)),
        (503, "-5", (Verdict.RETRY, None)),
        (503, "soon", (Verdict.RETRY, None)),
        (503, "Thu, 99 Jan 1970 00:17:40 GMT", (Verdict.RETRY, None)),
        (503, None, (Verdict.RETRY, None)),
    ],
)
def test_what_follows_from_an_answer(status: int, retry_after: str | None, outcome: tuple[Verdict, float]) -> None:
    got = outcome_of(status, retry_after, 1000.0)
    assert (got.verdict, got.retry_after_s) == outcome
    assert str(status) in got.reason


def test_a_date_without_a_zone_is_in_utc() -> None:
    assert retry_after_s("Thu, 01 Jan 1970 00:17:40 -0000", 1000.0) == 60.0


@covers("PUSH-5")
async def test_a_receiver_that_says_nothing_is_left_when_the_time_is_over() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with bare(say_nothing) as port:
        webhooks = Webhooks(WebhookSettings(push_allow="127.0.0.1", push_timeout_s=0.2))
        outcome = await webhooks.deliver(delivery(f"http://127.0.0.1:{port}/"))
        assert outcome == Outcome(Verdict.RETRY, "no answer within 0.2 s")
        await webhooks.close()


async def test_a_receiver_that_drips_its_head_is_left_when_the_time_is_over() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with bare(drip) as port:
        webhooks = Webhooks(WebhookSettings(push_allow="127.0.0.1", push_timeout_s=0.3))
        outcome = await webhooks.deliver(delivery(f"http://127.0.0.1:{port}/"))
        assert outcome.verdict is Verdict.RETRY
        await webhooks.close()


ENDLESS = {
    "content": b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a gzip bomb": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10000000000\r\n\r\n",
    "headers": b"HTTP/1.1 200 OK\r\n",
    "interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "a header": b"HTTP/1.1 200 OK\r\nX: ",
    "a first line": b"HTTP/1.1 200 ",
}


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_endless_answer_is_not_read(kind: str) -> None:
    """10 GB are offered as fast as they are read. What the kernel takes for a slow reader counts as sent."""
    piece = {
        "chunks": b"8000\r\n" + bytes(0x8000) + b"\r\n",
        "headers": b"X-Header: " + b"x" * 1000 + b"\r\n",
        "interim answers": ENDLESS["interim answers"],
    }.get(kind, b"x" * 0x8000)
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(ENDLESS[kind])
        while sent < 10**10:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    async with bare(flood) as port:
        webhooks = Webhooks(WebhookSettings(push_allow="127.0.0.1", push_timeout_s=1.0))
        outcome = await webhooks.deliver(delivery(f"http://127.0.0.1:{port}/"))
        await webhooks.close()
        has_status = kind in ("content", "a gzip bomb", "chunks")
        assert outcome.verdict is (Verdict.DELIVERED if has_status else Verdict.RETRY)
        if kind != "interim answers":  # these are dropped one by one until the time is over
            assert sent < 32 * 1024 * 1024


async def test_a_receiver_that_drips_the_content_of_its_answer_has_the_notification() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nx")
        await asyncio.Event().wait()

    async with bare(drip) as port:
        webhooks = Webhooks(HERE)
        outcome = await webhooks.deliver(delivery(f"http://127.0.0.1:{port}/"))
        assert outcome == Outcome(Verdict.RETRY, "the receiver answered 500")
        await webhooks.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 99 ?\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"])
async def test_what_is_no_answer_is_no_success(answer: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with bare(say) as port:
        webhooks = Webhooks(HERE)
        outcome = await webhooks.deliver(delivery(f"http://127.0.0.1:{port}/", token="s3cret-token"))
        assert outcome.verdict is Verdict.RETRY
        assert outcome.reason
        assert "s3cret" not in outcome.reason
        await webhooks.close()


async def test_a_host_that_is_down_or_unknown_is_tried_again() -> None:
    webhooks = Webhooks(WebhookSettings(push_allow="127.0.0.1,nowhere.example"), resolver=Names({}))
    down = await webhooks.deliver(delivery("http://127.0.0.1:1/"))
    unknown = await webhooks.deliver(delivery("https://nowhere.example/"))
    assert (down.verdict, unknown.verdict) == (Verdict.RETRY, Verdict.RETRY)
    assert (down.reason, unknown.reason) == ("Connection refused", "no such name")
    await webhooks.close()


async def test_a_receiver_without_a_valid_certificate_gets_nothing(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = WebhookSettings(push_allow="hooks.example", push_ca_cert=str(tmp_path / "ca.pem"))
    webhooks = Webhooks(settings, resolver=Names({"hooks.example": [["127.0.0.1"]]}))

    async def outcome(tls: ssl.SSLContext) -> tuple[Verdict, int]:
        async with hook(tls) as receiver:
            got = await webhooks.deliver(delivery(f"https://hooks.example:{receiver.port}/"))
            return got.verdict, len(receiver.received)

    assert await outcome(tls_of(authority, "hooks.example")) == (Verdict.DELIVERED, 1)
    assert await outcome(tls_of(authority, "127.0.0.1")) == (Verdict.RETRY, 0)
    assert await outcome(tls_of(other, "hooks.example")) == (Verdict.RETRY, 0)
    await webhooks.close()


def test_a_file_without_cas_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        with pytest.raises(ConfigurationError, match="push_ca_cert"):
            Webhooks(WebhookSettings(push_ca_cert=str(path)))
        (tmp_path / "empty.pem").touch()


async def test_a_connection_is_used_again_and_cookies_are_not_kept() -> None:
    async with hook() as receiver:

        async def with_cookie(request: web.Request) -> web.Response:
            return web.Response(text="x" * MAX_ANSWER_BYTES, headers={"Set-Cookie": "session=1; Path=/"})

        receiver.answer = with_cookie
        webhooks = Webhooks(HERE)
        for _ in range(3):
            await post(receiver, webhooks)
        await webhooks.close()
        assert len({got.connection for got in receiver.received}) == 1
        assert not any("Cookie" in got.headers for got in receiver.received)


@pytest.mark.parametrize(
    ("settings", "tenants", "at_work"),
    [
        (WebhookSettings(push_allow="127.0.0.1", push_posts_per_host=2), ["a", "b"], 2),
        (WebhookSettings(push_allow="127.0.0.1", push_posts_per_tenant=2), ["a", "a"], 2),
        (WebhookSettings(push_allow="127.0.0.1", push_posts_per_tenant=2), ["a", "b"], 4),
    ],
)
async def test_only_so_many_posts_are_at_work(settings: WebhookSettings, tenants: list[str], at_work: int) -> None:
    go_on = asyncio.Event()
    async with hook() as receiver:

        async def wait(request: web.Request) -> web.Response:
            await go_on.wait()
            return web.Response()

        receiver.answer = wait
        webhooks = Webhooks(settings)
        posts = [asyncio.create_task(post(receiver, webhooks, tenant=tenants[at % 2])) for at in range(10)]

        def all_that_may() -> None:
            assert len(receiver.received) == at_work

        await eventually(all_that_may)
        for _ in range(20):  # no further one comes while these are at work
            await asyncio.sleep(0)
        all_that_may()
        go_on.set()
        assert {outcome.verdict for outcome in await asyncio.gather(*posts)} == {Verdict.DELIVERED}
        await webhooks.close()
        assert len(webhooks._hosts) == len(webhooks._tenants) == 0


async def test_a_large_notification_is_sent() -> None:
    async with hook() as receiver:
        outcome = await post(receiver, text="x" * 3_000_000)
        assert outcome.verdict is Verdict.DELIVERED
        assert len(receiver.received[0].body) > 3_000_000


async def test_a_host_that_does_not_answer_does_not_hold_up_the_other_hosts_of_its_tenant() -> None:
    go_on = asyncio.Event()
    settings = WebhookSettings(push_allow="127.0.0.1", push_posts_per_host=1, push_posts_per_tenant=2)
    async with hook() as stalled, hook() as healthy:

        async def wait(request: web.Request) -> web.Response:
            await go_on.wait()
            return web.Response()

        stalled.answer = wait
        webhooks = Webhooks(settings)
        posts = [asyncio.create_task(post(stalled, webhooks)) for _ in range(10)]

        def one_is_at_work() -> None:
            assert len(stalled.received) == 1

        await eventually(one_is_at_work)
        assert (await post(healthy, webhooks)).verdict is Verdict.DELIVERED
        assert len(stalled.received) == 1
        go_on.set()
        await asyncio.gather(*posts)
        await webhooks.close()


async def test_an_event_that_json_cannot_express_is_refused() -> None:
    async with hook() as receiver:
        webhooks = Webhooks(HERE)
        asked = delivery(f"http://127.0.0.1:{receiver.port}/")
        asked.event.task.metadata.fields["ratio"].number_value = float("nan")
        outcome = await webhooks.deliver(asked)
        await webhooks.close()
        assert outcome.verdict is Verdict.REFUSED
        assert "cannot be written as JSON" in outcome.reason
        assert receiver.received == []
