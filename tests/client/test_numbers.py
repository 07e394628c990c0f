"""Numbers there and back: what a double holds comes back as it was, all else is refused before a call is made."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from a2a_grpc import Client, Part, Turn, connect, data_of
from a2a_grpc.parts import user_message
from tests.agent.agents import agent_of
from tests.client.peers import peering
from tests.harness import serving

BEYOND = 2**53 + 1
SENDS: dict[str, tuple[Callable[[Client], Awaitable[Any]], str]] = {
    "data": (lambda client: client.send({"order": [{"id": BEYOND}]}), "data.order[0].id"),
    "data beside a part": (lambda client: client.send([Part(text="x"), [BEYOND]]), "parts[1].data[0]"),
    "metadata": (lambda client: client.send("x", metadata={"id": BEYOND}), "metadata.id"),
    "metadata of a cancel": (lambda client: client.cancel("t", metadata={"a": {"id": BEYOND}}), "metadata.a.id"),
}


@pytest.mark.parametrize("place", SENDS)
async def test_a_number_that_the_wire_cannot_carry_is_refused_with_its_path_before_a_call(place: str) -> None:
    send, path = SENDS[place]
    async with peering() as peer, connect(peer.address) as client:
        with pytest.raises(ValueError, match="give it as a string") as raised:
            await send(client)
        assert str(raised.value).startswith(f"{path}: {BEYOND} is not a JSON number that the wire can carry exactly")
        assert peer.calls == []
    with pytest.raises(ValueError, match=r"^metadata\.id: "):
        user_message("x", metadata={"id": BEYOND})


UNFIT: dict[str, tuple[Callable[[Client], Awaitable[Any]], str]] = {
    "text": (lambda client: client.send("a\ud800"), r"text: the text contains half of a surrogate pair"),
    "data": (lambda client: client.send({"items": [{"name": "\ud800"}]}), r"data\.items\[0\]\.name: the text contains"),
    "a key": (lambda client: client.start({"items": {"\ud800": 1}}), r"data\.items\['\\ud800'\]: the text contains"),
    "metadata": (lambda client: client.send("x", metadata={"a": ["\ud800"]}), r"metadata\.a\[0\]: the text contains"),
    "metadata of a cancel": (
        lambda client: client.cancel("t", metadata={"a": cast(Any, {1})}),
        r"metadata\.a: set is not",
    ),
    "too deep": (lambda client: client.send(nested(40)), r"data(\[0\]){32}: the value is nested deeper than 31$"),
}


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize("place", UNFIT)
async def test_what_cannot_be_sent_is_refused_with_its_path_before_a_call(place: str) -> None:
    send, said = UNFIT[place]
    async with peering() as peer, connect(peer.address) as client:
        with pytest.raises((TypeError, ValueError), match=f"^{said}"):
            await send(client)
        assert peer.calls == []


async def test_numbers_that_a_double_holds_come_back_as_they_were() -> None:
    numbers: list[Any] = [2**53, -(2**53), 0, -0.0, 7, 0.1, 2.0**60, 1e300, -1.5, 5e-324, True, str(BEYOND)]

    async def echo(turn: Turn) -> Any:
        return {"data": turn.data, "metadata": turn.metadata}

    async with serving(agent_of(echo)) as served, connect(served.server.grpc_address) as client:
        back: Any = data_of(await client.send(numbers, metadata={"n": numbers}))
    for got in (back["data"], back["metadata"]["n"]):
        assert [(type(one), one) for one in got] == [(type(one), one) for one in numbers]
        assert math.copysign(1, got[3]) == -1
