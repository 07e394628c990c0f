"""What a receiver accepts, and how it answers: over aiohttp, as an ASGI application, and from other senders."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from a2a.server.tasks import BasePushNotificationSender, InMemoryPushNotificationConfigStore
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from a2a_grpc import Notification, PushReceiver
from a2a_grpc.config import ConfigurationError
from a2a_grpc.lifecycle import COMPLETED, WORKING
from a2a_grpc.push.delivery import Verdict
from a2a_grpc.push.repeats import Repeats
from a2a_grpc.push.reply import Reply
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.push.signing import SigningKey
from a2a_grpc.push.webhooks import Webhooks
from a2a_grpc.wire import (
    AuthenticationInfo,
    Message,
    Task,
    TaskArtifactUpdateEvent,
    TaskPushNotificationConfig,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from tests.covers import covers
from tests.harness import eventually
from tests.push.sockets import delivery

pytestmark = covers("RECV-1")

NOW = 1_000_000
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
TASK = b'{"task": {"id": "t-1", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}}'
GOOD = {"Content-Type": "application/a2a+json", "X-A2A-Notification-Token": "t0ken"}


class Kept:
    """A callback that keeps its notifications, and fails if `fault` is set."""

    def __init__(self) -> None:
        self.notifications: list[Notification] = []
        self.fault: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, notification: Notification) -> None:
        await self.go_on.wait()
        self.notifications.append(notification)
        if self.fault:
            raise self.fault


def config(
    task_id: str = "t-1", token: str = "", scheme: str = "", credentials: str = ""
) -> TaskPushNotificationConfig:
    made = TaskPushNotificationConfig(task_id=task_id, token=token)
    if scheme:
        made.authentication.CopyFrom(AuthenticationInfo(scheme=scheme, credentials=credentials))
    return made


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def answer(
    receiver: PushReceiver, headers: dict[str, str] | list[tuple[str, str]] = GOOD, body: bytes = TASK
) -> Reply:
    listed = list(headers.items()) if isinstance(headers, dict) else headers
    return await receiver.receive("POST", listed, pieces(body))


@asynccontextmanager
async def serving(receiver: PushReceiver) -> AsyncIterator[str]:
    """Serve a receiver with aiohttp, as a part of another application, and return its url."""
    application = web.Application()
    application.add_subapp("/push", receiver.application())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/push/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (TASK, Task),
        (b'{"statusUpdate": {"taskId": "t-1", "status": {"state": "TASK_STATE_WORKING"}}}', TaskStatusUpdateEvent),
        (b'{"artifactUpdate": {"taskId": "t-1", "artifact": {"artifactId": "a"}}}', TaskArtifactUpdateEvent),
        (b'{"message": {"messageId": "m", "taskId": "t-1", "role": "ROLE_AGENT"}}', Message),
        (b'{"task": {"id": "t-1", "new": 1}, "later": {}}', Task),
    ],
)
async def test_the_callback_gets_the_event_of_a_stream(body: bytes, kind: type) -> None:
    kept = Kept()
    receiver = PushReceiver(kept)
    receiver.expect(config(token="t0ken"))
    assert await answer(receiver, body=body) == Reply(204)
    (notification,) = kept.notifications
    assert (type(notification.event), notification.task_id, notification.id) == (kind, "t-1", "")


CASES: dict[str, tuple[dict[str, str], dict[str, str | None], int]] = {
    "no token": ({"token": "t0ken"}, {"X-A2A-Notification-Token": None}, 401),
    "a wrong token": ({"token": "t0ken"}, {"X-A2A-Notification-Token": "t0keN"}, 401),
    "a token that no header has": ({"token": "t0ken"}, {"X-A2A-Notification-Token": "\udcff"}, 401),
    "no authorization": ({"scheme": "Bearer", "credentials": "abc"}, {}, 401),
    "wrong credentials": ({"scheme": "Bearer", "credentials": "abc"}, {"Authorization": "Bearer abd"}, 401),
    "another scheme": ({"scheme": "Bearer", "credentials": "abc"}, {"Authorization": "Basic abc"}, 401),
    "good credentials": ({"scheme": "Bearer", "credentials": "abc"}, {"Authorization": "bearer abc"}, 204),
    "the token only": ({"token": "t0ken", "scheme": "Bearer", "credentials": "abc"}, {}, 401),
    "a secret without a signature": ({"scheme": "Standard-Webhooks", "credentials": SECRET}, {}, 401),
    "an unknown task": ({"task_id": "t-2", "token": "t0ken"}, {}, 404),
    "any task": ({"task_id": "", "token": "t0ken"}, {}, 204),
    "any task, and another token": ({"task_id": "", "token": "other"}, {}, 401),
    "a time long ago": ({"token": "t0ken"}, {"webhook-timestamp": str(NOW - 301)}, 401),
    "a time to come": ({"token": "t0ken"}, {"webhook-timestamp": str(NOW + 301)}, 401),
    "a time that is none": ({"token": "t0ken"}, {"webhook-timestamp": "１"}, 401),
    "a time with many digits": ({"token": "t0ken"}, {"webhook-timestamp": "9" * 5000}, 401),
    "a good time": ({"token": "t0ken"}, {"webhook-timestamp": str(NOW - 299)}, 204),
    "a long id": ({"token": "t0ken"}, {"webhook-id": "x" * 257}, 400),
    "JSON": ({"token": "t0ken"}, {"Content-Type": "Application/JSON; charset=utf-8"}, 204),
    "a form": ({"token": "t0ken"}, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "no media type": ({"token": "t0ken"}, {"Content-Type": None}, 415),
    "a compressed body": ({"token": "t0ken"}, {"Content-Encoding": "gzip"}, 415),
    "a declared large body": ({"token": "t0ken"}, {"Content-Length": "4194305"}, 413),
    "a length that is none": ({"token": "t0ken"}, {"Content-Length": "-1"}, 413),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_how_a_request_is_answered(case: str) -> None:
    asked, changes, status = CASES[case]
    kept = Kept()
    receiver = PushReceiver(kept, clock=lambda: NOW)
    receiver.expect(config(**asked))
    headers = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    assert (await answer(receiver, headers)).status == status
    assert len(kept.notifications) == (status == 204)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"{", b"{}", b'{"task": {}}', b'{"task": []}', b'{"task": {"id": 1}}', b"\xff\xfe"),
        *(b'{"statusUpdate": {"status": {}}}', b'{"task": {"id": "t-1", "status": {"state": "NO_STATE_AT_ALL" }}, '),
        *(b'{"task": {"id": "t-1"}, "message": {"taskId": "t-1"}}', b"[" * 100_000, b'{"task": {"id": "\\ud800"}}'),
    ],
)
async def test_a_body_that_is_no_notification_is_refused(body: bytes) -> None:
    receiver = PushReceiver(Kept())
    receiver.expect(config("", token="t0ken"))
    assert (await answer(receiver, body=body)).status == 400


HEADERS = ("content-type", "x-a2a-notification-token", "x-a2a-notification-key-id", "authorization", "webhook-id",
           "webhook-timestamp", "webhook-signature", "content-length", "content-encoding")  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["task", "id", "status", "state", "message", "parts", "text", "metadata", "taskId"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), st.text(max_size=30) | st.sampled_from(["v1,", "v1a,AA=="]))),
    body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
    is_good=st.booleans(),
)
async def test_no_request_is_accepted_without_the_token_and_none_is_a_fault(
    headers: list[tuple[str, str]], body: bytes, is_good: bool
) -> None:
    kept = Kept()
    receiver = PushReceiver(kept)
    receiver.expect(config("", token="a token that is not guessed"))
    more = [("Content-Type", "application/json")] if is_good else []
    reply = await receiver.receive("POST", [*more, *headers], pieces(body))
    assert reply.status in (400, 401, 413, 415)
    assert not kept.notifications
    assert reply.reason.isascii()


@pytest.mark.parametrize("name", ["X-A2A-Notification-Token", "webhook-id", "webhook-signature", "Authorization"])
async def test_a_header_that_is_checked_is_not_given_twice(name: str) -> None:
    receiver = PushReceiver(Kept())
    receiver.expect(config(token="t0ken"))
    assert (await answer(receiver, [*GOOD.items(), (name.lower(), "a"), (name, "b")])).status == 400


async def test_other_methods_are_refused() -> None:
    reply = await PushReceiver(Kept()).receive("GET", [], pieces())
    assert (reply.status, reply.headers) == (405, (("Allow", "POST"),))


async def test_a_body_without_an_end_is_not_read_further_than_the_limit() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield bytes(1000)

    receiver = PushReceiver(Kept(), max_body_bytes=10_000)
    reply = await receiver.receive("POST", list(GOOD.items()), endless())
    assert (reply.status, read) == (413, 11_000)


async def test_a_config_without_a_secret_is_not_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the config of task 't-1' has neither a token nor credentials"):
        PushReceiver(Kept()).expect(config())
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    PushReceiver(Kept(), jwks_file=tmp_path / "jwks.json").expect(config())


async def test_a_forgotten_task_is_unknown() -> None:
    receiver = PushReceiver(Kept())
    receiver.expect(config(token="t0ken"))
    receiver.forget("t-1")
    assert await answer(receiver) == Reply(404, "the task is not expected")


async def test_each_of_several_configs_of_a_task_is_enough() -> None:
    kept = Kept()
    receiver = PushReceiver(kept)
    for token in ("one", "two"):
        receiver.expect(config(token=token))
    for token in ("one", "two"):
        assert (await answer(receiver, {**GOOD, "X-A2A-Notification-Token": token})).status == 204
    assert len(kept.notifications) == 2


async def test_a_repeat_is_answered_without_the_callback() -> None:
    kept = Kept()
    receiver = PushReceiver(kept, remembered=2)
    receiver.expect(config(token="t0ken"))
    for webhook_id in ("a", "a", "b", "a", "c", "b", "a"):  # b is the oldest when c comes
        assert (await answer(receiver, {**GOOD, "webhook-id": webhook_id})).status == 204
    assert [notification.id for notification in kept.notifications] == ["a", "b", "c", "b", "a"]


async def test_a_notification_whose_callback_fails_is_handed_over_again(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    receiver = PushReceiver(kept)
    receiver.expect(config(token="t0ken"))
    kept.fault = RuntimeError("the database is away")
    headers = {**GOOD, "webhook-id": "a"}
    assert await answer(receiver, headers) == Reply(500, "the notification cannot be handled now")
    assert "the callback for notifications failed task=t-1" in caplog.text
    kept.fault = None
    assert (await answer(receiver, headers)).status == 204
    assert (await answer(receiver, headers)).status == 204
    assert len(kept.notifications) == 2


async def test_a_repeat_waits_for_the_callback_that_works_on_it() -> None:
    kept = Kept()
    kept.go_on.clear()
    receiver = PushReceiver(kept)
    receiver.expect(config(token="t0ken"))
    answers = [asyncio.create_task(answer(receiver, {**GOOD, "webhook-id": "a"})) for _ in range(5)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(one.done() for one in answers)
    kept.go_on.set()
    assert [reply.status for reply in await asyncio.gather(*answers)] == [204] * 5
    assert len(kept.notifications) == 1


async def test_only_so_many_ids_are_remembered() -> None:
    repeats = Repeats(3)

    async def nothing() -> None:
        pass

    for key in range(100):
        await repeats.once(key, nothing)
    assert (len(repeats._done), len(repeats._running)) == (3, 0)


async def test_our_receiver_verifies_a_signature_of_standardwebhooks() -> None:
    kept = Kept()
    receiver = PushReceiver(kept)
    receiver.expect(config(scheme="Standard-Webhooks", credentials=SECRET))
    now = datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": f"v1,AAAA v9,x {Webhook(SECRET).sign('msg_1', now, TASK.decode())}",
    }
    assert (await answer(receiver, headers)).status == 204
    for name, value in (
        ("webhook-id", "msg_2"), ("webhook-timestamp", str(int(now.timestamp()) + 1)), ("webhook-signature", "v1,AAAA"),
    ):  # fmt: skip
        assert (await answer(receiver, {**headers, name: value})).status == 401
    assert (await answer(receiver, headers, TASK + b" ")).status == 401
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert (await answer(receiver, {key: value for key, value in headers.items() if key != name})).status == 401
    assert len(kept.notifications) == 1


@asynccontextmanager
async def published(key: SigningKey) -> AsyncIterator[str]:
    """Serve the key set of a sender, and return its url."""

    async def jwks(_: web.Request) -> web.Response:
        return web.Response(body=key.jwks(), content_type="application/json")

    application = web.Application()
    application.router.add_get("/.well-known/jwks.json", jwks)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/.well-known/jwks.json"
    finally:
        await runner.cleanup()


async def test_our_webhooks_and_our_receiver_agree_on_signatures_with_a_key(tmp_path: Path) -> None:
    kept, key, stranger = Kept(), *(SigningKey.from_file(tmp_path / name) for name in ("key.pem", "stranger.pem"))
    here = WebhookSettings(push_allow="127.0.0.1")
    async with published(key) as jwks_url:
        receiver = PushReceiver(kept, jwks_url=jwks_url)
        receiver.expect(config(token="t0ken"))
        async with serving(receiver) as url:
            for signer, verdict in (
                (key, Verdict.DELIVERED), (stranger, Verdict.UNAUTHORIZED), (None, Verdict.UNAUTHORIZED),
            ):  # fmt: skip
                webhooks = Webhooks(here, key=signer)
                assert (await webhooks.deliver(delivery(url, token="t0ken"))).verdict is verdict
                await webhooks.close()
    (notification,) = kept.notifications
    assert (notification.id, notification.event) == ("t-1:3", delivery(url).settled)


async def test_a_sender_whose_keys_cannot_be_read_is_asked_to_come_again() -> None:
    receiver = PushReceiver(Kept(), jwks_url="http://127.0.0.1:1/jwks.json")
    receiver.expect(config(token="t0ken"))
    async with serving(receiver) as url, aiohttp.ClientSession() as session:
        headers = {
            **GOOD, "webhook-id": "a", "webhook-timestamp": str(int(datetime.now(UTC).timestamp())),
            "webhook-signature": "v1a,AAAA",
        }  # fmt: skip
        async with session.post(url, data=TASK, headers=headers) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jwks_url": "ftp://x"}, "jwks_url is 'ftp://x', which is not a URL that begins with https://"),
        ({"jwks_url": "http://example.com/"}, "begins with http://"),
        ({"jwks_url": "https://x", "jwks_file": "y"}, "jwks_url and jwks_file are both given"),
    ],
)
def test_a_wrong_place_of_the_keys_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PushReceiver(Kept(), **arguments)


async def test_the_push_sender_of_the_official_sdk_is_received() -> None:
    from a2a.server.context import ServerCallContext
    from a2a.types import a2a_pb2 as sdk

    kept = Kept()
    receiver = PushReceiver(kept)
    receiver.expect(config(token="t0ken", scheme="Bearer", credentials="abc"))
    async with serving(receiver) as url, httpx.AsyncClient() as client:
        store = InMemoryPushNotificationConfigStore()
        registered = sdk.TaskPushNotificationConfig(
            task_id="t-1", id="p", url=url, token="t0ken",
            authentication=sdk.AuthenticationInfo(scheme="Bearer", credentials="abc"),
        )  # fmt: skip
        await store.set_info("t-1", registered, ServerCallContext())
        sender = BasePushNotificationSender(client, store)
        task = Task(id="t-1", context_id="c", status=TaskStatus(state=COMPLETED))
        update = TaskStatusUpdateEvent(task_id="t-1", context_id="c", status=TaskStatus(state=WORKING))
        await sender.send_notification("t-1", update)
        await sender.send_notification("t-1", task)
    assert [notification.event for notification in kept.notifications] == [update, task]


async def test_a_receiver_as_the_samples_of_the_official_sdk_write_it_takes_our_notifications() -> None:
    """It compares the token, and parses the JSON with the SDK's own class."""
    from a2a.types import a2a_pb2 as sdk
    from google.protobuf.json_format import ParseDict

    taken: list[sdk.StreamResponse] = []

    async def notify(request: web.Request) -> web.Response:
        if request.headers.get("X-A2A-Notification-Token") != "t0ken":
            return web.Response(status=401)
        taken.append(ParseDict(await request.json(), sdk.StreamResponse()))
        return web.json_response({"status": "received"}, status=200)

    application = web.Application()
    application.router.add_post("/notifications", notify)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/notifications"
    webhooks = Webhooks(WebhookSettings(push_allow="127.0.0.1"))
    try:
        assert (await webhooks.deliver(delivery(url, token="t0ken"))).verdict is Verdict.DELIVERED
        assert (await webhooks.deliver(delivery(url))).verdict is Verdict.UNAUTHORIZED
    finally:
        await webhooks.close()
        await runner.cleanup()
    assert [element.task.id for element in taken] == ["t-1"]


async def test_a_receiver_is_an_asgi_application() -> None:
    """httpx calls it as an ASGI server does."""
    kept = Kept()
    receiver = PushReceiver(kept)
    receiver.expect(config(token="t0ken"))
    transport = httpx.ASGITransport(app=receiver)
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
        assert (await client.post("/hook", content=TASK, headers=GOOD)).status_code == 204
        refused = await client.post("/hook", content=TASK, headers={**GOOD, "X-A2A-Notification-Token": "x"})
        assert (refused.status_code, refused.text) == (401, "the token is missing or wrong\n")
        assert refused.headers["www-authenticate"] == "A2A-Notification"
        assert (await client.get("/hook")).headers["allow"] == "POST"
    assert len(kept.notifications) == 1


async def asgi(receiver: PushReceiver, scope: dict[str, Any], *events: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a receiver sends to an ASGI server that has these events for it."""
    coming, sent = list(events), []

    async def receive() -> Any:
        return coming.pop(0)

    async def send(event: Any) -> None:
        sent.append(event)

    await receiver(scope, receive, send)
    return sent


async def test_an_asgi_server_starts_and_stops_it_and_clients_may_leave() -> None:
    kept = Kept()
    receiver = PushReceiver(kept)
    receiver.expect(config(token="t0ken"))
    life = await asgi(receiver, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    assert [event["type"] for event in life] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    headers = [(name.lower().encode(), value.encode()) for name, value in GOOD.items()]
    post = {"type": "http", "method": "POST", "headers": headers}
    part = {"type": "http.request", "body": TASK[:20], "more_body": True}
    assert await asgi(receiver, post, part, {"type": "http.disconnect"}) == []
    whole = await asgi(receiver, post, part, {"type": "http.request", "body": TASK[20:]})
    assert whole[0]["status"] == 204
    assert len(kept.notifications) == 1
    closed = await asgi(receiver, {"type": "websocket"}, {"type": "websocket.connect"})
    assert closed == [{"type": "websocket.close", "code": 1008}]


async def test_no_secret_is_in_the_log_or_in_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ("expected-token", "wrong-token", "expected-secret", "wrong-secret")
    receiver = PushReceiver(Kept())
    receiver.expect(config(token=secrets[0], scheme="Bearer", credentials=secrets[2]))
    async with serving(receiver) as url, aiohttp.ClientSession() as session:
        for token, credentials in ((secrets[1], secrets[2]), (secrets[0], secrets[3])):
            headers = {**GOOD, "X-A2A-Notification-Token": token, "Authorization": f"Bearer {credentials}"}
            async with session.post(url, data=TASK, headers=headers) as response:
                text = await response.text()
                assert response.status == 401
                assert not any(secret in text for secret in secrets)

    def both_are_logged() -> None:
        assert "reason=the token is missing or wrong" in caplog.text
        assert "reason=the authorization is missing or wrong" in caplog.text

    await eventually(both_are_logged)
    assert not any(secret in caplog.text for secret in secrets)
