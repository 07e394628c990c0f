"""The metadata of calls: ours on each of them, the caller's beside it, neither instead of the other."""

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import connect
from a2a_grpc.client import api_key
from a2a_grpc.client.credentials import Place, Provider, entries_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import TaskNotFoundError, UnavailableError, UnsupportedOperationError
from a2a_grpc.lifecycle import WORKING
from a2a_grpc.wire import APIKeySecurityScheme, SecurityScheme, StreamResponse, Task, TaskStatus
from tests.client.peers import OPERATIONS, RPCS, Failure, Page, Peer, Received, Site, collected, peering
from tests.covers import covers

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SENDS = ("SendMessage", "SendStreamingMessage")
UNAVAILABLE = Failure.of(UnavailableError())
AT_WORK = Task(id="t-1", context_id="c-1", status=TaskStatus(state=WORKING))


async def received(rpc: str, **arguments: Any) -> Received:
    """The call that the client's operation makes."""
    async with peering() as peer, connect(peer.address, **arguments) as client:
        await OPERATIONS[rpc](client)
    [call] = peer.calls
    assert call.rpc == rpc
    return call


@covers("VER-1", "OP-3")
@pytest.mark.parametrize("rpc", RPCS)
async def test_every_call_says_its_version_once(rpc: str) -> None:
    assert (await received(rpc)).values("a2a-version") == ["1.0"]


@covers("Q11")
@pytest.mark.parametrize("rpc", RPCS)
async def test_a_version_that_the_caller_gives_stays_the_only_one(rpc: str) -> None:
    assert (await received(rpc, headers=[("A2A-Version", "1.1")])).values("a2a-version") == ["1.1"]


@covers("Q11", "META-6")
@pytest.mark.parametrize("rpc", RPCS)
async def test_headers_of_the_caller_go_with_every_call_beside_ours(rpc: str) -> None:
    headers = [("traceparent", TRACE), ("X-Request-Id", "7"), ("x-tag", "a"), ("x-tag", "b")]
    call = await received(rpc, headers=headers)
    assert call.values("traceparent") == [TRACE]
    assert call.values("x-request-id") == ["7"]
    assert call.values("x-tag") == ["a", "b"]
    assert call.values("a2a-version") == ["1.0"]


@covers("EXT-1", "META-3")
@pytest.mark.parametrize("rpc", RPCS)
async def test_extensions_go_with_every_call_in_one_entry(rpc: str) -> None:
    call = await received(rpc, extensions=["urn:x:1", "urn:y:1"])
    assert call.values("a2a-extensions") == ["urn:x:1,urn:y:1"]


@covers("EXT-1")
@pytest.mark.parametrize("rpc", RPCS)
async def test_extensions_are_inactive_unless_asked_for(rpc: str) -> None:
    assert (await received(rpc)).values("a2a-extensions") == []


@covers("META-3")
async def test_extensions_in_the_callers_headers_join_the_others_in_one_entry() -> None:
    call = await received("GetTask", extensions=["urn:x:1"], headers=[("a2a-extensions", "urn:y:1")])
    [entry] = call.values("a2a-extensions")
    assert sorted(entry.split(",")) == ["urn:x:1", "urn:y:1"]


HEADERS = [("x-call", "this one")]
WITH_HEADERS: dict[str, Callable[[Any], Any]] = {
    "SendMessage": lambda client: client.start("hello", headers=HEADERS),
    "SendStreamingMessage": lambda client: collected(client.stream("hello", headers=HEADERS)),
    "GetTask": lambda client: client.get("t-1", headers=HEADERS),
    "CancelTask": lambda client: client.cancel("t-1", headers=HEADERS),
    "SubscribeToTask": lambda client: collected(client.subscribe("t-1", headers=HEADERS)),
}


@pytest.mark.parametrize("rpc", WITH_HEADERS)
async def test_headers_of_one_call_go_with_it_beside_those_of_the_client_and_with_no_other(rpc: str) -> None:
    async with peering() as peer, connect(peer.address, headers=[("x-client", "all")]) as client:
        await WITH_HEADERS[rpc](client)
        await OPERATIONS[rpc](client)
    assert [call.values("x-call") for call in peer.calls] == [["this one"], []]
    assert [call.values("x-client") for call in peer.calls] == [["all"], ["all"]]


async def test_headers_of_a_send_go_with_the_calls_by_which_it_is_followed() -> None:
    peer = Peer()
    peer.answers["SendStreamingMessage"] = StreamResponse(task=AT_WORK)
    async with peering(peer), connect(peer.address, retry_initial_s=0.01) as client:
        await client.send("hello", headers=HEADERS)
    assert [call.rpc for call in peer.calls] == ["SendStreamingMessage", "SubscribeToTask"]
    assert [call.values("x-call") for call in peer.calls] == [["this one"], ["this one"]]
    assert [call.values("a2a-version") for call in peer.calls] == [["1.0"], ["1.0"]]
    assert [len(call.values("idempotency-key")) for call in peer.calls] == [1, 0]


@pytest.mark.parametrize("rpc", ["GetTask", "SubscribeToTask"])
@pytest.mark.parametrize(
    "header", [("x-note", "é"), ("x-note", "a\nb"), ("x note", "a"), ("", "a")], ids=["value", "line", "key", "no key"]
)
async def test_a_header_that_metadata_cannot_hold_is_the_configurations_fault(
    rpc: str, header: tuple[str, str]
) -> None:
    async with peering() as peer:
        with pytest.raises(ConfigurationError):
            async with connect(peer.address, headers=[header]) as client:
                await OPERATIONS[rpc](client)
    assert peer.calls == []


# -- interceptors


def traced(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    """The call with a trace header and a tag, as gRPC's documentation has it."""
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata.add("traceparent", TRACE)
    metadata.add("x-interceptor", details.method.decode() if isinstance(details.method, bytes) else details.method)
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )


class UnaryTracing(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(traced(client_call_details), request)


class StreamTracing(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(traced(client_call_details), request)


def tracing() -> list[Any]:
    return [UnaryTracing(), StreamTracing()]


@covers("Q11", "META-6")
@pytest.mark.parametrize("rpc", RPCS)
async def test_what_an_interceptor_adds_survives_and_so_does_ours(rpc: str) -> None:
    call = await received(rpc, interceptors=tracing(), headers=[("x-request-id", "7")], extensions=["urn:x:1"])
    assert call.values("traceparent") == [TRACE]
    assert [value.rpartition("/")[2] for value in call.values("x-interceptor")] == [rpc]
    assert call.values("a2a-version") == ["1.0"]
    assert call.values("x-request-id") == ["7"]
    assert call.values("a2a-extensions") == ["urn:x:1"]
    assert len(call.values("idempotency-key")) == (rpc in SENDS)


@pytest.mark.parametrize("rpc", RPCS)
async def test_errors_are_the_same_under_interceptors(rpc: str) -> None:
    peer = Peer(always=Failure.of(TaskNotFoundError("task 't-1' was not found")))
    async with peering(peer), connect(peer.address, interceptors=tracing()) as client:
        with pytest.raises(TaskNotFoundError, match="task 't-1' was not found"):
            await OPERATIONS[rpc](client)


@pytest.mark.parametrize("rpc", RPCS)
async def test_retries_are_the_same_under_interceptors_and_each_passes_them(rpc: str) -> None:
    peer = Peer(failures=[UNAVAILABLE])
    async with peering(peer), connect(peer.address, interceptors=tracing(), retry_initial_s=0.01) as client:
        await OPERATIONS[rpc](client)
    assert [call.values("traceparent") for call in peer.of(rpc)] == [[TRACE], [TRACE]]


async def test_a_stream_under_interceptors_is_resumed_as_any_other() -> None:
    peer = Peer()
    peer.answers["SendStreamingMessage"] = StreamResponse(task=AT_WORK)
    async with peering(peer), connect(peer.address, interceptors=tracing(), retry_initial_s=0.01) as client:
        await client.send("hello")
    assert [call.rpc for call in peer.calls] == ["SendStreamingMessage", "SubscribeToTask"]
    assert [call.values("traceparent") for call in peer.calls] == [[TRACE], [TRACE]]


# -- the key of a send


@pytest.mark.parametrize("rpc", RPCS)
async def test_a_send_has_an_idempotency_key_and_nothing_else_has(rpc: str) -> None:
    assert len((await received(rpc)).values("idempotency-key")) == (rpc in SENDS)


@covers("SEND-12")
@pytest.mark.parametrize("rpc", SENDS)
async def test_all_attempts_of_one_send_have_one_key_and_the_next_send_another(rpc: str) -> None:
    peer = Peer(failures=[UNAVAILABLE, UNAVAILABLE])
    async with peering(peer), connect(peer.address, retry_initial_s=0.01) as client:
        await OPERATIONS[rpc](client)
        await OPERATIONS[rpc](client)
    keys = [key for call in peer.of(rpc) for key in call.values("idempotency-key")]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


@pytest.mark.parametrize("rpc", SENDS)
async def test_all_attempts_of_one_send_are_the_same_request(rpc: str) -> None:
    peer = Peer(failures=[UNAVAILABLE, UNAVAILABLE])
    async with peering(peer), connect(peer.address, retry_initial_s=0.01) as client:
        await OPERATIONS[rpc](client)
    first, *others = [call.request for call in peer.of(rpc)]
    assert others == [first, first]


async def test_a_send_to_an_agent_that_refuses_to_stream_has_one_key_for_both_of_its_calls() -> None:
    peer = Peer(failures=[Failure.of(UnsupportedOperationError("this agent does not stream"))])
    async with peering(peer), connect(peer.address) as client:
        await client.send("hello")
    assert [call.rpc for call in peer.calls] == ["SendStreamingMessage", "SendMessage"]
    assert peer.calls[0].values("idempotency-key") == peer.calls[1].values("idempotency-key")


async def test_a_key_of_the_callers_choice_is_taken() -> None:
    async with peering() as peer, connect(peer.address) as client:
        await client.start("hello", idempotency_key="order-17")
        await client.send("hello", idempotency_key="order-17")
        with pytest.raises(ValueError, match="idempotency_key is ''"):
            await client.send("hello", idempotency_key="")
    assert [call.values("idempotency-key") for call in peer.calls] == [["order-17"], ["order-17"]]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("grpc-any", "names that begin with 'grpc-' are for gRPC itself"),
        ("user-agent", "gRPC sets it itself"),
        ("upgrade", "HTTP/2 does not allow it"),
        ("content-length", "the length of a call is not known in advance"),
        ("host", "HTTP/2 has the authority instead"),
    ],
)
async def test_a_reserved_name_is_refused_also_if_a_card_names_it_for_an_api_key(name: str, reason: str) -> None:
    scheme = SecurityScheme(api_key_security_scheme=APIKeySecurityScheme(name=name, location="header"))
    key = api_key(None, "secret")
    assert isinstance(key, Provider)
    async with peering() as peer, connect(peer.address) as client:
        with pytest.raises(ConfigurationError, match=f"'{name}' cannot be the name of metadata; {reason}"):
            await client.send("hello", headers=[(name, "1n")])
        with pytest.raises(ConfigurationError, match=f"'{name}' cannot be the name of metadata; {reason}"):
            await entries_of([key.bound(Place(scheme, "key", (), "the card", "", False))])
    assert peer.calls == []


@pytest.mark.parametrize(("wanted", "told"), [(True, ["true"]), (False, ["false"]), (None, [])])
async def test_whether_a_cut_cancels_is_told_where_the_caller_says_so(wanted: bool | None, told: list[str]) -> None:
    async with peering() as peer, connect(peer.address) as client:
        if wanted is None:
            await client.start("hello")
        else:
            await client.start("hello", cancel_on_disconnect=wanted)
    assert peer.calls[0].values("a2a-grpc-cancel-on-disconnect") == told


async def test_a_card_is_fetched_without_the_headers_of_calls() -> None:
    async with peering() as peer, Site(Page.card(peer.address)) as site:
        async with connect(site.url, headers=[("x-request-id", "7")]) as client:
            await client.get("t-1")
    assert ["x-request-id" in {name.lower() for name in headers} for _, headers in site.requests] == [False]
