"""Names of options that do not exist are refused, with the nearest name that does."""

from collections.abc import Callable
from typing import Any

import pytest

from a2a_grpc import Client, RemoteAgent, connect
from a2a_grpc.client import BlockingClient
from tests.client.peers import peering

TYPOS = {
    "task": "did you mean 'task_id'",
    "contxt_id": "did you mean 'context_id'",
    "idempotencykey": "did you mean 'idempotency_key'",
    "timeout": "did you mean 'timeout_s', a setting of connect",
    "frobnicate": "its options are task_id, context_id",
}


@pytest.mark.parametrize("name", TYPOS)
async def test_a_misspelt_option_of_a_send_is_a_type_error_before_anything_is_sent(name: str) -> None:
    option: Any = {name: "x"}
    async with peering() as peer, connect(peer.address) as client:
        agent = RemoteAgent(client=client)
        for send in (client.send, client.start, agent.run):
            with pytest.raises(TypeError, match=f"'{name}'.*{TYPOS[name]}"):
                await send("hello", **option)
        for stream in (client.stream, agent.stream):
            with pytest.raises(TypeError, match=f"'{name}'.*{TYPOS[name]}"):
                stream("hello", **option)
        assert peer.calls == []


def test_so_it_is_for_a_blocking_client() -> None:
    option: Any = {"task": "x"}
    client = BlockingClient("127.0.0.1:1")
    sends: list[Callable[..., Any]] = [client.send, client.start, client.stream]
    for send in sends:
        with pytest.raises(TypeError, match=r"'task'.*did you mean 'task_id'"):
            send("hello", **option)
    with pytest.raises(TypeError, match="contxt_id"):
        client.list(contxt_id="x")  # type: ignore[call-arg]
    client.close()


@pytest.mark.parametrize("make", [connect, RemoteAgent, BlockingClient])
def test_a_misspelt_setting_is_a_type_error_with_the_nearest_name(make: Callable[..., Client]) -> None:
    with pytest.raises(TypeError, match="timeout: no such setting; did you mean 'timeout_s'"):
        make("127.0.0.1:1", timeout=3)
