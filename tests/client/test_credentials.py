"""What a client shows of itself: on each call, as it is at that moment, and never in a message."""

import asyncio
import traceback
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import connect
from a2a_grpc.client import UnreachableError, api_key, bearer
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, PermissionDeniedError, UnauthenticatedError, UnavailableError
from a2a_grpc.lifecycle import WORKING
from a2a_grpc.wire import Task, TaskStatus
from tests.client.peers import DONE, OPERATIONS, RPCS, Failure, Page, Peer, Site, collected, peering
from tests.covers import covers
from tests.harness import eventually
from tests.ports import free_address

SECRET = "s3cr3t-t0ken"


def authorizations(peer: Peer) -> list[list[str]]:
    return [call.values("authorization") for call in peer.calls]


class Tokens:
    """An async function that gives another token each time."""

    def __init__(self) -> None:
        self.given = 0

    async def __call__(self) -> str:
        await asyncio.sleep(0)
        self.given += 1
        return f"token-{self.given}"


@covers("META-5", "SEC-6")
@pytest.mark.parametrize("rpc", RPCS)
async def test_every_call_carries_the_bearer_token(rpc: str) -> None:
    async with peering() as peer, connect(peer.address, credentials=bearer(SECRET)) as client:
        await OPERATIONS[rpc](client)
    assert authorizations(peer) == [[f"Bearer {SECRET}"]]


@covers("META-5", "SEC-6", "SCHM-1")
@pytest.mark.parametrize("rpc", RPCS)
async def test_every_call_carries_the_api_key_under_its_name_in_lower_case(rpc: str) -> None:
    async with peering() as peer, connect(peer.address, credentials=api_key("X-API-Key", SECRET)) as client:
        await OPERATIONS[rpc](client)
    assert [call.values("x-api-key") for call in peer.calls] == [[SECRET]]
    assert authorizations(peer) == [[]]


async def test_an_api_key_may_come_from_a_file_or_a_function(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    async with peering() as peer:
        for source in (tmp_path / "key", Tokens()):
            async with connect(peer.address, credentials=api_key("x-api-key", source)) as client:
                await client.get("t-1")
    assert [call.values("x-api-key") for call in peer.calls] == [["from-file"], ["token-1"]]


@covers("S2-21")
async def test_a_file_is_read_for_each_call(tmp_path: Path) -> None:
    token = tmp_path / "token"
    async with peering() as peer, connect(peer.address, credentials=bearer(token)) as client:
        for written in ("one", "two\n", "  three  "):
            token.write_text(written)
            await client.get("t-1")
    assert authorizations(peer) == [["Bearer one"], ["Bearer two"], ["Bearer three"]]


@covers("S2-21")
async def test_a_token_that_is_renewed_in_the_middle_of_a_job_counts_from_the_next_call(tmp_path: Path) -> None:
    token, peer = tmp_path / "token", Peer()
    token.write_text("old")
    peer.answers["GetTask"] = Task(id="t-1", context_id="c-1", status=TaskStatus(state=WORKING))
    async with peering(peer), connect(peer.address, credentials=bearer(token)) as client:
        waiting = asyncio.create_task(client.wait("t-1", poll_s=0.01))

        def asked_with(entry: str) -> None:
            assert [entry] in authorizations(peer)

        await eventually(lambda: asked_with("Bearer old"))
        token.write_text("new")
        await eventually(lambda: asked_with("Bearer new"))
        peer.answers["GetTask"] = DONE
        assert await waiting == DONE
    assert authorizations(peer)[-1] == ["Bearer new"]


@covers("S2-21")
async def test_a_function_is_asked_for_each_call_and_for_each_retry() -> None:
    peer, tokens = Peer(failures=[Failure.of(UnavailableError()), None, None]), Tokens()
    async with peering(peer), connect(peer.address, credentials=bearer(tokens), retry_initial_s=0.01) as client:
        await client.get("t-1")
        await collected(client.stream("hello"))
    assert authorizations(peer) == [["Bearer token-1"], ["Bearer token-2"], ["Bearer token-3"]]
    assert tokens.given == 3


@covers("Q11")
async def test_an_authorization_that_the_caller_gives_is_the_only_one() -> None:
    headers = [("Authorization", "Basic dTpw")]
    async with peering() as peer, connect(peer.address, credentials=bearer(SECRET), headers=headers) as client:
        await client.get("t-1")
    assert authorizations(peer) == [["Basic dTpw"]]


async def test_credentials_of_ones_own_are_a_function_that_gives_an_entry() -> None:
    async def entry() -> tuple[str, str]:
        return "Authorization", "Basic dTpw"

    async with peering() as peer, connect(peer.address, credentials=entry) as client:
        await client.get("t-1")
    assert authorizations(peer) == [["Basic dTpw"]]


async def test_credentials_are_not_shown_to_whoever_serves_the_card() -> None:
    async with peering() as peer, Site(Page.card(peer.address, capabilities={"streaming": True})) as site:
        async with connect(site.url, credentials=bearer(SECRET)) as client:
            await client.get("t-1")
    assert SECRET not in str(site.requests)
    assert authorizations(peer) == [[f"Bearer {SECRET}"]]


# -- credentials that are none


@pytest.mark.parametrize("rpc", RPCS)
async def test_a_missing_file_is_named_and_nothing_is_called(tmp_path: Path, rpc: str) -> None:
    missing = tmp_path / "token"
    async with peering() as peer, connect(peer.address, credentials=bearer(missing)) as client:
        with pytest.raises(ConfigurationError) as refused:
            await OPERATIONS[rpc](client)
    assert str(missing) in str(refused.value)
    assert peer.calls == []


@pytest.mark.parametrize("content", [b"", b"  \n", b"caf\xc3\xa9", b"one\ntwo", b"\xff\xfe\x00s3cr3t"])
async def test_a_file_that_holds_no_credentials_is_refused(tmp_path: Path, content: bytes) -> None:
    token = tmp_path / "token"
    token.write_bytes(content)
    async with peering() as peer, connect(peer.address, credentials=bearer(token)) as client:
        with pytest.raises(ConfigurationError, match="credentials") as refused:
            await client.get("t-1")
    assert "s3cr3t" not in told(refused.value)
    assert "café" not in told(refused.value)
    assert peer.calls == []


@pytest.mark.parametrize("secret", ["", " ", f"{SECRET}é", f"{SECRET}\n{SECRET}", f"{SECRET}\0"])
async def test_a_token_that_metadata_cannot_hold_is_refused_without_repeating_it(secret: str) -> None:
    async with peering() as peer, connect(peer.address, credentials=bearer(secret)) as client:
        with pytest.raises(ConfigurationError) as refused:
            await client.get("t-1")
    assert SECRET not in told(refused.value)
    assert peer.calls == []


# -- secrets


def told(error: BaseException) -> str:
    """All that a log says of an error, with what caused it."""
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        causes += [repr(cause), str(cause)]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n".join([*causes, *traceback.format_exception(error)])


FAILURES: dict[str, Failure] = {
    "UNAUTHENTICATED": Failure.of(UnauthenticatedError()),
    "PERMISSION_DENIED": Failure.of(PermissionDeniedError()),
    "UNAVAILABLE": Failure.of(UnavailableError(retry_after_s=3600.0)),
}


@covers("SEC-7")
@pytest.mark.parametrize("rpc", RPCS)
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failed_call_does_not_tell_the_secret(failure: str, rpc: str) -> None:
    settings: dict[str, Any] = {"headers": [("x-api-key", SECRET)], "max_retries": 0, "give_up_after_s": 0.0}
    async with peering(Peer(always=FAILURES[failure])) as peer:
        async with connect(peer.address, credentials=bearer(SECRET), **settings) as client:
            with pytest.raises(A2AError) as failed:
                await OPERATIONS[rpc](client)
    assert peer.calls[0].values("authorization") == [f"Bearer {SECRET}"]
    assert SECRET not in told(failed.value)


@covers("SEC-7")
async def test_an_agent_that_is_not_reached_does_not_tell_the_secret() -> None:
    target = free_address()
    async with connect(target, credentials=bearer(SECRET), connect_timeout_s=0.05) as client:
        with pytest.raises(UnreachableError) as failed:
            await client.get("t-1")
    assert SECRET not in told(failed.value)


@covers("SEC-7")
def test_clients_and_credentials_do_not_show_the_secret() -> None:
    client = connect("127.0.0.1:1", credentials=bearer(SECRET), headers=[("x-api-key", SECRET)])
    for shown in (client, client.settings, bearer(SECRET), api_key("x-api-key", SECRET)):
        assert SECRET not in repr(shown)


# -- refused


@pytest.mark.parametrize("kind", [UnauthenticatedError, PermissionDeniedError])
@pytest.mark.parametrize("with_details", [True, False])
@pytest.mark.parametrize("rpc", RPCS)
async def test_credentials_that_are_refused_are_told_by_class_and_not_tried_again(
    rpc: str, kind: type[A2AError], with_details: bool
) -> None:
    failure = Failure.of(kind("the token has expired"))
    if not with_details:
        failure = Failure(failure.code, failure.text)
    async with peering(Peer(always=failure)) as peer, connect(peer.address, credentials=bearer(SECRET)) as client:
        with pytest.raises(kind, match="the token has expired") as refused:
            await OPERATIONS[rpc](client)
    assert (refused.value.code, refused.value.retryable) == (kind.code, False)
    assert [call.rpc for call in peer.calls] == [rpc]
