"""`-v`: what passes between client and agent, on standard error; and secrets, which are shown nowhere."""

import asyncio
import json

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.status_pb2 import Status

from a2a_grpc.errors import InvalidRequestError, UnauthenticatedError, Violation
from tests.cli.terminal import Done, at, run, run_all
from tests.client.peers import Failure, Page, Peer, Site, peering
from tests.covers import covers
from tests.harness import Served
from tests.ports import free_port

SECRET = "hunter2"


def lines(done: Done, mark: str) -> list[str]:
    """What was sent (`>`), or received (`<`)."""
    return [line.removeprefix(mark).strip() for line in done.err.splitlines() if line.startswith(mark)]


async def test_the_call_its_metadata_and_its_status_are_told_beside_the_answer(served: Served) -> None:
    verbose, as_json = await run_all(
        ("list", at(served), "--verbose", "-H", "traceparent: 00-1-2-01", "--extension", "urn:x", "--extension=urn:y"),
        ("list", at(served), "-v", "-o", "json"),
    )
    assert [(done.code, done.out) for done in (verbose, as_json)] == [(0, "")] * 2
    sent = ["/lf.a2a.v1.A2AService/ListTasks", "traceparent: 00-1-2-01", "a2a-version: 1.0"]
    assert lines(verbose, ">") == [*sent, "a2a-extensions: urn:x,urn:y"]
    assert lines(verbose, "<")[0] == "OK"
    assert "no tasks" in verbose.err.splitlines()
    assert lines(as_json, ">") == ["/lf.a2a.v1.A2AService/ListTasks", "a2a-version: 1.0"]


async def test_a_stream_is_told_and_that_it_was_left_once_the_task_had_ended_is_no_failure(served: Served) -> None:
    done = await run("stream", at(served), "hello", "-v", "--idempotency-key=k-1", "--extension", "urn:x")
    assert (done.code, done.out) == (0, "hello\n")
    sent, received = lines(done, ">"), lines(done, "<")
    assert sent[0] == "/lf.a2a.v1.A2AService/SendStreamingMessage"
    assert sorted(sent[1:]) == ["a2a-extensions: urn:x", "a2a-version: 1.0", "idempotency-key: k-1"]
    assert [line for line in received if line.startswith("a2a-grpc-seq: ")] != []
    assert [line for line in received if line.startswith("CANCELLED")] == []


async def test_metadata_of_this_project_is_shown_as_it_is(served: Served) -> None:
    done = await run("get", "t-1", at(served), "-v", "--no-artifacts")
    assert "a2a-grpc-artifacts: none" in lines(done, ">")


async def test_every_try_is_told() -> None:
    overloaded = Failure(grpc.StatusCode.UNAVAILABLE, "come again")
    async with peering(Peer(failures=[overloaded, None])) as peer:
        done = await run("get", "t-1", f"--agent={peer.address}", "-v")
    assert (done.code, done.err.count("> /lf.a2a.v1.A2AService/GetTask")) == (0, 2)
    assert [line for line in lines(done, "<") if line[:2] in ("UN", "OK")] == ["UNAVAILABLE come again", "OK"]


@covers("ERR-3")
async def test_trailers_are_shown_with_the_status_details_decoded() -> None:
    violation = Violation("message.parts", "must not be empty")
    refused = Failure.of(InvalidRequestError("not like this", violations=[violation], retry_after_s=2.5))
    refused.trailers = (*refused.trailers, ("x-request-id", "r-7"))
    async with peering(Peer(always=refused)) as peer:
        done = await run("get", "t-1", f"--agent={peer.address}", "-v")
    received = lines(done, "<")
    assert received[0] == "INVALID_ARGUMENT not like this"
    assert "x-request-id: r-7" in received
    assert not any("grpc-status-details-bin" in line for line in received)
    details = [json.loads(line) for line in received if line.startswith("{")]
    assert details == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "INVALID_PARAMS",
            "domain": "a2a-protocol.org",
        },
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "message.parts", "description": "must not be empty"}],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.500s"},
    ]
    assert done.err.splitlines()[-1] == "Error: not like this"


async def test_details_that_nobody_can_decode_are_no_reason_to_fail() -> None:
    """A type that is unknown here, and bytes that are no status."""
    code = grpc.StatusCode.INVALID_ARGUMENT
    foreign = Status(code=3, message="no", details=[Packed(type_url="type.googleapis.com/other.Detail", value=b"\x01")])
    failures = [
        Failure(code, "no", (("grpc-status-details-bin", blob),))
        for blob in (foreign.SerializeToString(), b"\xff\xff\xff")
    ]
    for failure in failures:
        async with peering(Peer(always=failure)) as peer:
            done = await run("get", "t-1", f"--agent={peer.address}", "-v")
        assert (done.code, done.err.splitlines()[-1]) == (6, "Error: no")
        assert "INVALID_ARGUMENT no" in lines(done, "<")
        assert "Traceback" not in done.err
        assert "never retrieved" not in done.err


# -- secrets


def hidden(done: Done) -> bool:
    return SECRET not in done.out + done.err


async def test_a_secret_is_masked_whatever_carries_it() -> None:
    """A word before it is no reason to show it: only the scheme of credentials is none."""
    async with peering() as peer:
        token, key = await run_all(
            (
                *("get", "t-1", f"--agent={peer.address}", "-v", "--token", SECRET),
                *("-H", f"x-secret: {SECRET}", "-H", f"x-words: {SECRET} and more", "-H", f"cookie: a=b {SECRET}"),
            ),
            (
                *("get", "t-1", f"--agent={peer.address}", "-v", "--api-key", f"x-api-key={SECRET}"),
                *("-H", f"authorization: {SECRET} and more"),
            ),
        )
    assert sorted(str(call.metadata).count(SECRET) for call in peer.calls) == [2, 4], "they were sent"
    assert {"authorization: Bearer ***", "x-secret: ***"} <= set(lines(token, ">"))
    assert "x-api-key: ***" in lines(key, ">")
    assert [line for line in lines(token, ">") + lines(key, ">") if SECRET in line] == []
    assert hidden(token)
    assert hidden(key)


async def test_a_secret_that_the_agent_sends_back_is_masked() -> None:
    trailers = (("set-cookie", SECRET), ("x-session", SECRET), ("x-token-bin", SECRET.encode()))
    failure = Failure(grpc.StatusCode.PERMISSION_DENIED, "no", trailers)
    async with peering(Peer(always=failure)) as peer:
        done = await run("get", "t-1", f"--agent={peer.address}", "-v")
    received = lines(done, "<")
    assert "set-cookie: ***" in received
    assert "x-session: ***" in received
    assert "x-token-bin: (7 bytes)" in received
    assert hidden(done)


async def test_a_secret_is_in_no_error_whatever_goes_wrong() -> None:
    """Also where the option that carries it is itself what is wrong."""
    secrets = ("--token", SECRET, "-H", f"x-secret: {SECRET}", "-v")
    closed = f"--agent=127.0.0.1:{free_port()}"
    refused = Failure.of(UnauthenticatedError("no"))
    async with peering(Peer(always=refused)) as peer, Site(Page(b"no card")) as site:
        agent = f"--agent={peer.address}"
        commands: list[tuple[str, ...]] = [
            ("get", "t-1", agent, *secrets),
            ("doctor", "--agent", site.url, *secrets),
            ("list", closed, "--connect-timeout-s=0.2", *secrets),
            ("list", closed, "--api-key", SECRET),
            ("list", closed, "-H", f"authorization Bearer {SECRET}"),
            ("list", closed, "-H", f"x secret: {SECRET}"),
            ("list", closed, "--token", f"{SECRET}\u00fc"),
        ]
        ended = await run_all(*commands)
    assert [command for command, done in zip(commands, ended, strict=True) if not hidden(done)] == []
    assert [command for command, done in zip(commands, ended, strict=True) if not done.code] == []


async def test_a_password_in_a_target_is_in_no_error_and_the_error_says_that_it_is_what_is_wrong() -> None:
    targets = [
        f"grpc://me:{SECRET}@127.0.0.1:1",
        f"me:{SECRET}@127.0.0.1:1",
        f"ftp://me:{SECRET}@127.0.0.1:1",
        f"http://:{SECRET}@127.0.0.1:1",
    ]
    ended = await asyncio.gather(*(run("get", "t-1", env={"A2A_GRPC_AGENT": target}) for target in targets))
    told = dict(zip(targets, ended, strict=True))
    assert [target for target, done in told.items() if not hidden(done)] == []
    assert {done.code for done in ended} == {2}
    for done in (ended[0], ended[1], ended[3]):
        assert "password" in done.err or "user" in done.err, done.err
