"""What an agent's card does not offer is not asked for; what an agent answers keeps its code."""

from typing import Any

import grpc
import pytest

from a2a_grpc import connect
from a2a_grpc.errors import A2AError, PushNotificationNotSupportedError, TaskNotFoundError, UnsupportedOperationError
from tests.cli.terminal import run
from tests.client.peers import CONFIG, OPERATIONS, Failure, Page, Peer, Site, collected, peering
from tests.covers import covers

PUSH = [rpc for rpc in OPERATIONS if "Push" in rpc]
NOTHING: list[Any] = [{}, {"streaming": True}, {"pushNotifications": False, "extendedAgentCard": False}]


@covers("CARD-10")
@pytest.mark.parametrize("capabilities", NOTHING)
async def test_optional_operations_that_the_card_does_not_offer_are_not_sent(capabilities: Any) -> None:
    async with peering() as peer, Site(Page.card(peer.address, capabilities=capabilities)) as site:
        async with connect(site.url) as client:
            for rpc in PUSH:
                with pytest.raises(PushNotificationNotSupportedError, match="pushNotifications"):
                    await OPERATIONS[rpc](client)
            for send in (client.send, client.start):
                with pytest.raises(PushNotificationNotSupportedError):
                    await send("hello", push_config=CONFIG)
            with pytest.raises(PushNotificationNotSupportedError):
                await collected(client.stream("hello", push_config=CONFIG))
            with pytest.raises(UnsupportedOperationError, match="extendedAgentCard"):
                await client.extended_card()
    assert peer.calls == []


@covers("CARD-10")
@pytest.mark.parametrize("rpc", [*PUSH, "GetExtendedAgentCard"])
async def test_what_the_card_offers_is_sent_and_without_a_card_everything(rpc: str) -> None:
    async with peering() as peer, Site(Page.card(peer.address)) as site:
        for target in (site.url, peer.address):
            async with connect(target) as client:
                await OPERATIONS[rpc](client)
    assert [call.rpc for call in peer.calls] == [rpc, rpc]


# -- long texts


TEXTS = {
    "long": "x" * 20_000,
    "not ASCII": "日本語のエラー。" * 2_000,
    "many lines": "Traceback: é\n\tline\r\n" * 2_000,
    "very long": "x" * 200_000,
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("rpc", ["GetTask", "SubscribeToTask"])
async def test_a_long_text_of_a_status_keeps_its_code_and_every_word(rpc: str, name: str) -> None:
    peer = Peer(always=Failure(grpc.StatusCode.PERMISSION_DENIED, TEXTS[name]))
    async with peering(peer), connect(peer.address) as client:
        with pytest.raises(A2AError) as refused:
            await OPERATIONS[rpc](client)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert str(refused.value) == TEXTS[name]


async def test_a_long_text_keeps_the_details_that_say_what_it_is() -> None:
    failure = Failure.of(TaskNotFoundError("日本語のエラー。" * 2_000))
    async with peering(Peer(always=failure)) as peer, connect(peer.address) as client:
        with pytest.raises(TaskNotFoundError) as refused:
            await client.get("t-1")
    assert refused.value.reason == "TASK_NOT_FOUND"


async def test_the_command_line_tells_a_long_text_in_one_line_with_its_exit_code() -> None:
    peer = Peer(always=Failure(grpc.StatusCode.NOT_FOUND, TEXTS["many lines"]))
    async with peering(peer):
        done = await run("get", "--agent", peer.address, "t-1")
    assert (done.code, done.out, done.err.count("\n")) == (6, "", 1)
