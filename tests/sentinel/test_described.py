"""The card that an attached agent sends to its sentinel."""

import json
from typing import Any

import grpc
import pytest

from a2a_grpc.sentinel import Sentinel
from a2a_grpc.sentinel.described import MAX_CARD_BYTES, MAX_CARDS
from a2a_grpc.sentinel.wire import AgentFrame, Described
from a2a_grpc.wire import GetTaskRequest
from tests.harness import eventually
from tests.sentinel.test_attaching import attach, attachment, echo, hello, kind_of, status_of
from tests.sentinel.tunnels import ADDRESS, attached_raw, channel_to, sentinel, unary

CARD = {
    "name": "Greeter", "description": "Greets.", "version": "1.0.0", "capabilities": {}, "skills": [],
    "supportedInterfaces": [
        {"url": "127.0.0.1:1", "protocolBinding": "GRPC", "tenant": ADDRESS, "protocolVersion": "1.0"}
    ],
}  # fmt: skip


def card_of(running: Sentinel, address: str = ADDRESS) -> bytes | None:
    """The card that a sentinel has of an agent."""
    tunnel = next((one for one in running._routes.all() if one.address == address), None)
    return tunnel.description.body if tunnel and tunnel.description else None


def interfaces(*tenants: str) -> dict[str, Any]:
    """The card above, with one interface for each tenant."""
    return {**CARD, "supportedInterfaces": [{**CARD["supportedInterfaces"][0], "tenant": one} for one in tenants]}  # type: ignore[index]


async def test_the_sentinel_has_the_card_of_an_agent_byte_for_byte_also_after_a_cut() -> None:
    card = json.dumps(CARD, indent=1).encode() + b"\n\n"
    async with sentinel() as running, attachment(running.address) as agent:
        await agent.welcome()
        agent.describe(card)

        def assert_there() -> None:
            assert card_of(running) == card

        await eventually(assert_there)
        [first] = running._routes.all()
        first.ended.set()

        def assert_back() -> None:
            assert [tunnel is first for tunnel in running._routes.all()] == [False]
            assert_there()

        await eventually(assert_back)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (b"x" * (MAX_CARD_BYTES + 1), f"the card has {MAX_CARD_BYTES + 1} bytes; at most {MAX_CARD_BYTES}"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"name": "\xff"}', "is not JSON"),
        (b"[]", "is a JSON list, not an object"),
        (json.dumps(interfaces("other@fame.fabric")).encode(), "the card names the tenant 'other@fame.fabric'"),
        (json.dumps(interfaces(ADDRESS, "b@fame.fabric")).encode(), "the card names the tenant 'b@fame.fabric'"),
        (json.dumps(interfaces("")).encode(), f"no interface of the card names the tenant '{ADDRESS}'"),
        (json.dumps({**CARD, "name": ""}).encode(), "the card has no name"),
    ],
    ids=[
        "too large",
        "no JSON",
        "too deep",
        "no text",
        "a list",
        "other tenant",
        "two tenants",
        "no tenant",
        "no name",
    ],
)
async def test_a_bad_card_detaches_its_agent_with_an_error_that_names_it_and_no_other_agent(
    card: bytes, said: str
) -> None:
    async with sentinel() as running, attached_raw(echo, running.address, "good@fame.fabric") as (through, _):
        async with channel_to(running.address) as channel:
            call = attach(channel)
            await call.write(hello())
            assert await kind_of(call) == "welcome"
            await call.write(AgentFrame(described=Described(card=card)).SerializeToString())
            code, text = await status_of(call)
            assert (code, said in text) == (grpc.StatusCode.INVALID_ARGUMENT, True), text
            good = GetTaskRequest(tenant="good@fame.fabric", id="t").SerializeToString()
            assert await unary(through)(good) == good
            assert [one.address for one in running._routes.all()] == ["good@fame.fabric"]


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (b"{}", f"no interface of the card names the tenant '{ADDRESS}'"),
        (b"x" * 5_000_000, f"the card has 5000000 bytes; at most {MAX_CARD_BYTES} are allowed"),
    ],
    ids=["no interface", "larger than a message may be"],
)
async def test_an_agent_whose_card_is_refused_does_not_attach_again(card: bytes, said: str) -> None:
    async with sentinel() as running, attachment(running.address) as attached_once:
        await attached_once.welcome()
        attached_once.describe(card)
        error = await attached_once.wait_failed()
        assert (getattr(error, "reason", ""), str(error)) == ("BAD_CARD", said)

        def assert_gone() -> None:
            assert running._routes.all() == []

        await eventually(assert_gone)


async def test_an_agent_may_not_send_cards_without_end() -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        call = attach(channel)
        await call.write(hello())
        assert await kind_of(call) == "welcome"
        frame = AgentFrame(described=Described(card=json.dumps(CARD).encode())).SerializeToString()
        for _ in range(MAX_CARDS):
            await call.write(frame)

        def assert_all_came() -> None:
            assert [one.cards for one in running._routes.all()] == [MAX_CARDS]

        await eventually(assert_all_came)
        await call.write(frame)
        assert await status_of(call) == (
            grpc.StatusCode.INVALID_ARGUMENT, f"the agent has sent more than {MAX_CARDS} cards",
        )  # fmt: skip
