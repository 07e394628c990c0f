"""The extended card takes the place of the public one for a client with credentials, and never breaks a connection."""

import asyncio
from typing import Any

import pytest
from google.protobuf import json_format

from a2a_grpc import connect
from a2a_grpc.client import Cards, bearer
from a2a_grpc.errors import ExtendedAgentCardNotConfiguredError, PermissionDeniedError, UnavailableError
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.wire import AgentCard, Task
from tests.client.peers import Failure, Page, Peer, Site, card_json, collected, peering
from tests.covers import covers

EXTENDED = "GetExtendedAgentCard"


def extended(peer: Peer, **members: Any) -> AgentCard:
    """An extended card that has all required members."""
    return json_format.ParseDict(card_json("127.0.0.1:1", name="Extended", **members), AgentCard())


def names(peer: Peer) -> list[str]:
    return [call.rpc for call in peer.calls]


@covers("XCRD-5")
async def test_the_extended_card_is_fetched_once_and_used() -> None:
    async with peering() as peer, Site(Page.card(peer.address)) as site:
        peer.answers[EXTENDED] = extended(peer)
        async with connect(site.url, credentials=bearer("t")) as client:
            await asyncio.gather(*(client.get("t-1") for _ in range(10)))
            await collected(client.stream("hello"))
            assert (await client.card()).name == "Extended"
            public = await client.public_card()
    assert names(peer) == [EXTENDED, *["GetTask"] * 10, "SendStreamingMessage"]
    assert public is not None
    assert public.name == "Elsewhere"


async def test_what_the_extended_card_offers_counts() -> None:
    public = {"streaming": False, "extendedAgentCard": True}
    async with peering() as peer, Site(Page.card(peer.address, capabilities=public)) as site:
        peer.answers[EXTENDED] = extended(peer, capabilities={"streaming": True, "pushNotifications": True})
        async with connect(site.url, credentials=bearer("t")) as client:
            await collected(client.stream("hello"))
            await client.get_push_config("t-1", "p-1")
            assert (await client.extended_card()).name == "Extended"
    assert names(peer) == [EXTENDED, "SendStreamingMessage", "GetTaskPushNotificationConfig", EXTENDED]


@covers("XCRD-3")
@pytest.mark.parametrize("shown", [{}, {"credentials": []}])
async def test_it_is_not_fetched_without_credentials(shown: Any) -> None:
    async with peering() as peer, Site(Page.card(peer.address)) as site, connect(site.url, **shown) as client:
        await client.get("t-1")
    assert names(peer) == ["GetTask"]


async def test_it_is_not_fetched_if_the_card_does_not_offer_it() -> None:
    async with peering() as peer, Site(Page.card(peer.address, capabilities={"streaming": True})) as site:
        async with connect(site.url, credentials=bearer("t")) as client:
            await client.get("t-1")
    assert names(peer) == ["GetTask"]


@pytest.mark.parametrize(
    "failure",
    [
        Failure.of(ExtendedAgentCardNotConfiguredError()),
        Failure.of(PermissionDeniedError()),
        Failure.of(UnavailableError(retry_after_s=3600)),
    ],
)
async def test_a_failure_leaves_the_public_card_in_use(failure: Failure, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "a2a_grpc.client")
    peer = Peer(failures=[failure])
    async with peering(peer), Site(Page.card(peer.address)) as site:
        async with connect(site.url, credentials=bearer("t")) as client:
            for _ in range(2):
                assert (await client.get("t-1")).status.state == COMPLETED
            assert (await client.card()).name == "Elsewhere"
    assert names(peer) == [EXTENDED, "GetTask", "GetTask"]
    assert "extended card not used" in caplog.text


async def test_a_card_that_lacks_required_members_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "a2a_grpc.client")
    async with peering() as peer, Site(Page.card(peer.address)) as site:
        async with connect(site.url, credentials=bearer("t")) as client:
            task = await client.send("hello")
            assert isinstance(task, Task)
            assert (await client.card()).name == "Elsewhere"
    assert names(peer) == [EXTENDED, "SendStreamingMessage"]
    assert "is missing" in caplog.text


async def test_it_is_fetched_again_when_the_version_of_the_public_card_changes() -> None:
    async with peering() as peer:
        pages = [Page.card(peer.address, version=version) for version in ("1.0.0", "1.0.0", "1.1.0")]
        peer.answers[EXTENDED] = extended(peer)
        async with Site(*pages) as site, Cards() as cards:
            for page in pages:
                page.headers = [("Cache-Control", "no-store")]
            async with connect(site.url, credentials=bearer("t"), cards=cards) as client:
                await client.get("t-1")
                assert (await client.card()).name == "Extended"
                assert (await client.card()).name == "Elsewhere"
                await client.get("t-1")
                assert (await client.card()).name == "Extended"
    assert names(peer) == [EXTENDED, "GetTask", EXTENDED, "GetTask"]
