"""`--as-grpcurl`: a command for a shell that makes the same call; nothing is called, no secret is printed."""

import asyncio
import os
import shlex
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc.parts import struct
from a2a_grpc.wire import (
    ROLE_USER,
    SERVICE_NAME,
    AuthenticationInfo,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from tests.cli.terminal import Done, environment, run, run_all, running
from tests.cli.test_doctor import a2a, stock_server
from tests.client.peers import Page, Peer, Site, certificate
from tests.harness import Served

SECRET = "hunter2"

GRPCURL = shutil.which("grpcurl", path=f"{os.environ.get('PATH', '')}:/tmp/gobin")
"""The program itself, where it is installed; else what it would do is done through grpc."""

NASTY = 'it\'s "$HOME" `id` \\ & ünï\n\ttwo'


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A peer with reflection, by which grpcurl knows its messages."""
    found = Peer()
    async with stock_server(a2a(found), reflects=(SERVICE_NAME,)) as address:
        found.address = address
        yield found


def printed(done: Done) -> str:
    """The one line that was printed."""
    assert (done.code, done.err) == (0, ""), done
    [line] = done.out.splitlines()
    assert shlex.split(line)[0] == "grpcurl"
    return line


async def words_of(line: str, **variables: str) -> list[str]:
    """What a shell makes of the line: grpcurl's arguments."""
    reveal = """grpcurl() { for word in "$@"; do printf '%s\\0' "$word"; done; }\n"""
    async with running("-c", reveal + line, env=variables, program=("/bin/sh",)) as shell:
        done = await shell.finished()
    assert (done.code, done.err) == (0, "")
    return done.out.split("\0")[:-1]


async def perform(line: str, **variables: str) -> None:
    """Runs the line as a user would; an AssertionError unless the call succeeds."""
    if GRPCURL is None:
        return await call(await words_of(line, **variables))
    path = f"{Path(GRPCURL).parent}:{environment()['PATH']}"
    async with running("-c", line, env={"PATH": path, **variables}, program=("/bin/sh",)) as shell:
        done = await shell.finished()
    assert (done.code, done.err) == (0, ""), done
    return None


async def call(words: list[str]) -> None:
    """The call that grpcurl makes when it is given these words."""
    *flags, address, method = words
    given: dict[str, list[str]] = {}
    while flags:
        flag = flags.pop(0)
        given.setdefault(flag, []).append("" if flag in ("-plaintext", "-unix") else flags.pop(0))
    address = f"unix:{address}" if "-unix" in given else address
    options = [("grpc.default_authority", authority) for authority in given.get("-authority", [])]
    options += [("grpc.ssl_target_name_override", authority) for authority in given.get("-authority", [])]
    pems = [Path(given[flag][0]).read_bytes() if flag in given else None for flag in ("-cacert", "-key", "-cert")]
    channel: Any = (
        grpc.aio.insecure_channel(address, options)
        if "-plaintext" in given
        else grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*pems), options)
    )
    service, _, name = method.partition("/")
    described = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    request = json_format.Parse(given.get("-d", ["{}"])[0], message_factory.GetMessageClass(described.input_type)())
    answer = message_factory.GetMessageClass(described.output_type).FromString
    headers = [header.split(": ", 1) for header in given.get("-H", [])]
    make = channel.unary_stream if described.server_streaming else channel.unary_unary
    started = make(f"/{method}", request_serializer=type(request).SerializeToString, response_deserializer=answer)(
        request, metadata=[(name, value) for name, value in headers], timeout=30
    )
    async with channel:
        if described.server_streaming:
            assert [element async for element in started]
        else:
            await started


SENT = Message(role=ROLE_USER, parts=[Part(text=NASTY)])
CONFIG = TaskPushNotificationConfig(
    task_id="t-1",
    id="p-1",
    url="https://hooks.example/a?b=c&d",
    authentication=AuthenticationInfo(scheme="Bearer"),
)

CALLS: dict[tuple[str, ...], tuple[str, Any]] = {
    ("send", NASTY): ("SendMessage", SendMessageRequest(message=SENT, configuration=SendMessageConfiguration())),
    ("send", NASTY, "--no-wait", "-m", "skill=it's"): (
        "SendMessage",
        SendMessageRequest(
            message=SENT,
            configuration=SendMessageConfiguration(return_immediately=True),
            metadata=struct({"skill": "it's"}),
        ),
    ),
    ("stream", NASTY): (
        "SendStreamingMessage",
        SendMessageRequest(message=SENT, configuration=SendMessageConfiguration()),
    ),
    ("subscribe", "t-1"): ("SubscribeToTask", SubscribeToTaskRequest(id="t-1")),
    ("get", "t-1", "--history", "0"): ("GetTask", GetTaskRequest(id="t-1", history_length=0)),
    ("wait", "it's"): ("GetTask", GetTaskRequest(id="it's")),
    ("list", "--state=working", "--context=c-1", "--limit=7"): (
        "ListTasks",
        ListTasksRequest(status=TaskState.TASK_STATE_WORKING, context_id="c-1", page_size=7, include_artifacts=False),
    ),
    ("cancel", "t-1", "-m", "why=done"): (
        "CancelTask",
        CancelTaskRequest(id="t-1", metadata=struct({"why": "done"})),
    ),
    ("push", "create", "t-1", CONFIG.url, "--id=p-1", "--auth-scheme=Bearer"): (
        "CreateTaskPushNotificationConfig",
        CONFIG,
    ),
    ("push", "delete", "t-1", "p-1"): (
        "DeleteTaskPushNotificationConfig",
        DeleteTaskPushNotificationConfigRequest(task_id="t-1", id="p-1"),
    ),
    ("card", "--extended"): ("GetExtendedAgentCard", GetExtendedAgentCardRequest()),
}


async def test_each_verb_prints_a_command_that_makes_its_call_and_does_not_call_itself(peer: Peer) -> None:
    agent = f"--agent={peer.address}"
    done = await run_all(*((*verb, agent, "--as-grpcurl") for verb in CALLS))
    assert peer.calls == []
    for line, (rpc, request) in zip(map(printed, done), CALLS.values(), strict=True):
        words = shlex.split(line)
        assert words[1] == "-plaintext"
        assert words[-2:] == [peer.address, f"{SERVICE_NAME}/{rpc}"]
        assert json_format.Parse(words[words.index("-d") + 1] if "-d" in words else "{}", type(request)()) is not None
        await perform(line)
        made = peer.calls[-1]
        assert made.rpc == rpc
        if isinstance(made.request, SendMessageRequest):
            assert made.request.message.message_id
            made.request.message.message_id = ""
        assert made.request == request, line
        assert made.values("a2a-version") == ["1.0"]
    assert len(peer.calls) == len(CALLS)


async def test_the_command_works_against_an_agent_of_ours(served: Served) -> None:
    task = await served.start({"complete": "done"})
    address = served.server.grpc_address
    await perform(printed(await run("get", task.id, "-a", address, "--as-grpcurl")))


async def test_what_goes_beside_the_request_goes_with_the_command(peer: Peer) -> None:
    agent = f"--agent={peer.address}"
    after, key, headers = await run_all(
        ("subscribe", "t-1", "--after", "5", agent, "--as-grpcurl"),
        ("send", "hello", "--idempotency-key", "k-1", agent, "--as-grpcurl"),
        ("list", "--extension", "urn:x", "--extension=urn:y", "-H", "TraceParent: 00-1-2-01", "-H", "a2a-version: 1.0",
         agent, "--as-grpcurl"),
    )  # fmt: skip
    for line in map(printed, (after, key, headers)):
        await perform(line)
    watched, sent, listed = peer.calls
    assert listed.values("a2a-extensions") == ["urn:x,urn:y"]
    assert listed.values("traceparent") == ["00-1-2-01"]
    assert listed.values("a2a-version") == ["1.0"]
    assert watched.values("a2a-grpc-after") == ["5"]
    assert sent.values("idempotency-key") == ["k-1"]


async def test_a_card_leads_the_command_to_its_interface_and_tenant(peer: Peer) -> None:
    async with Site(Page.card(peer.address, tenant="blue")) as site:
        by_card, by_option = await run_all(
            ("get", "t-1", "-a", site.url, "--as-grpcurl"),
            ("get", "t-1", "-a", peer.address, "--tenant=green", "--as-grpcurl"),
        )
    for line in map(printed, (by_card, by_option)):
        await perform(line)
    assert [call.request.tenant for call in peer.calls] == ["blue", "green"]


# -- encryption, sockets


async def test_certificates_of_ones_own_and_another_name_go_with_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "it's mine"
    folder.mkdir()
    ours, client = certificate(folder, "agents.example"), certificate(folder, "client.example")
    peer = Peer()
    credentials = ours.server_credentials(client_roots=client.roots)
    async with stock_server(a2a(peer), reflects=(SERVICE_NAME,), credentials=credentials) as address:
        options = (
            f"--ca-cert={ours.roots_file}",
            f"--client-cert={client.cert_file}",
            f"--client-key={client.key_file}",
            "--authority=agents.example",
        )
        line = printed(await run("get", "t-1", "-a", f"grpcs://{address}", *options, "--as-grpcurl"))
        words = shlex.split(line)
        assert "-plaintext" not in words
        assert words[words.index("-cacert") + 1] == ours.roots_file
        assert words[words.index("-cert") + 1] == client.cert_file
        assert words[words.index("-key") + 1] == client.key_file
        assert words[words.index("-authority") + 1] == "agents.example"
        await perform(line)
    assert [call.rpc for call in peer.calls] == ["GetTask"]


async def test_tls_is_what_the_command_speaks_beyond_this_machine_and_plaintext_where_that_is_asked_for() -> None:
    secret, plain = await run_all(
        ("list", "-a", "agents.example:443", "--as-grpcurl"),
        ("list", "-a", "dns:///agents.example:443", "--plaintext", "--as-grpcurl"),
    )
    assert "-plaintext" not in shlex.split(printed(secret))
    assert "-plaintext" in shlex.split(printed(plain))
    assert shlex.split(printed(secret))[-2] == shlex.split(printed(plain))[-2] == "agents.example:443"


async def test_a_unix_socket_is_reached_by_the_command_whatever_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "my dir"
    folder.mkdir()
    path, peer = folder / "agent.sock", Peer()
    async with stock_server(a2a(peer), reflects=(SERVICE_NAME,), listen=f"unix:{path}") as target:
        line = printed(await run("get", "t-1", "-a", target, "--as-grpcurl"))
        assert shlex.split(line)[-2] == str(path)
        await perform(line)
    assert [call.rpc for call in peer.calls] == ["GetTask"]


# -- secrets


async def test_credentials_are_left_to_the_shell_and_are_not_printed(peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "it's my token"
    file.write_text(f"{SECRET}\n")
    agent = f"--agent={peer.address}"
    token, token_file, key, from_variable = await asyncio.gather(
        run("get", "t-1", agent, "--token", SECRET, "--as-grpcurl"),
        run("get", "t-1", agent, "--token-file", str(file), "--as-grpcurl"),
        run("get", "t-1", agent, "--api-key", f"X-Api-Key={SECRET}", "--as-grpcurl", "-v"),
        run("get", "t-1", agent, "--as-grpcurl", env={"A2A_GRPC_TOKEN": SECRET}),
    )
    assert SECRET not in "".join(done.out + done.err for done in (token, token_file, key, from_variable))
    for done, header in ((token, "authorization"), (from_variable, "authorization"), (key, "x-api-key")):
        await perform(printed(done), A2A_GRPC_TOKEN=SECRET, A2A_GRPC_API_KEY=f"x-api-key={SECRET}")
        assert peer.calls[-1].values(header)[0].removeprefix("Bearer ") == SECRET
    await perform(printed(token_file))
    assert peer.calls[-1].values("authorization") == [f"Bearer {SECRET}"]


async def test_a_header_that_may_be_a_secret_is_not_printed() -> None:
    secrets = ("-H", f"authorization: Bearer {SECRET}", "-H", f"x-secret: {SECRET}")
    done = await run("list", *secrets, "--as-grpcurl")
    assert done.code == 0
    assert SECRET not in done.out + done.err


async def test_credentials_for_push_that_come_from_the_environment_are_not_printed() -> None:
    done = await run(
        "push", "create", "t-1", "https://hooks.example", "--auth-scheme=Bearer", "--as-grpcurl",
        env={"A2A_GRPC_PUSH_CREDENTIALS": SECRET},
    )  # fmt: skip
    assert done.code == 0
    assert SECRET not in done.out + done.err


# -- verbs that are not of A2A's service


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def Check(self, request: Any, context: Any) -> Any:
        self.asked.append(request.service)
        return health_pb2.HealthCheckResponse(status="SERVING")


async def test_health_and_ping_print_a_health_check_and_do_not_make_it() -> None:
    health = Health()
    name = "grpc.health.v1.Health"
    async with stock_server(
        lambda server: health_pb2_grpc.add_HealthServicer_to_server(health, server), reflects=(name,)
    ) as address:
        whole, one, ping = await run_all(
            ("health", address, "--as-grpcurl"),
            ("health", address, f"--service={SERVICE_NAME}", "--as-grpcurl"),
            ("ping", address, "--count=1", "--as-grpcurl"),
        )
        assert health.asked == []
        for line in map(printed, (whole, one, ping)):
            assert shlex.split(line)[-2:] == [address, f"{name}/Check"]
            await perform(line)
    assert health.asked == ["", SERVICE_NAME, ""]


async def test_the_doctor_who_makes_many_calls_does_not_make_them_where_a_command_is_asked_for(peer: Peer) -> None:
    done = await run("doctor", peer.address, "--as-grpcurl")
    assert peer.calls == []
    assert "Traceback" not in done.err


async def test_a_card_that_is_fetched_over_http_is_no_call_of_grpc(peer: Peer) -> None:
    """The public card has no method: a command that fetches another card is not the same."""
    async with Site(Page.card(peer.address)) as site:
        done = await run("card", site.url, "--as-grpcurl")
    assert (done.code, done.out) == (2, "")
    assert "--extended" in done.err
