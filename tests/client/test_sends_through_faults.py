"""However often a send has to be repeated, it makes one task: the server knows it by its idempotency key."""

import asyncio

import grpc
import pytest

from a2a_grpc import Client, Message, Task, connect
from a2a_grpc.errors import UnavailableError
from a2a_grpc.lifecycle import COMPLETED
from tests.client.test_resume import SOON
from tests.covers import covers
from tests.guarantees.rig import Asker, total_tasks
from tests.harness import Served, eventually, request, serving, texts
from tests.proxy import Proxy

SENDS = 1000
AT_A_TIME = 32
A_CLIENT = 4


def every_third(number: int) -> bool:
    return number % 3 == 0


@pytest.mark.long
async def test_1000_sends_through_a_proxy_that_drops_every_third_connection_make_1000_tasks(served: Served) -> None:
    """It drops it at the moment when the server begins to answer: requests were served, and nobody hears of it."""
    async with Proxy(served.server.grpc_address, loses_answer=every_third) as proxy:
        ids = await send_all(proxy.address)
    assert len(ids) == SENDS
    assert len(set(ids)) == SENDS
    assert await total_tasks(served) == SENDS
    async with connect(served.server.grpc_address) as client:
        listed = [task async for task in client.list(page_size=100, include_artifacts=True)]
    assert {task.id for task in listed} == set(ids)
    assert sorted(texts(task)[0] for task in listed) == sorted(f"message {number}" for number in range(SENDS))
    assert proxy.answers_lost >= SENDS // A_CLIENT // 3
    assert proxy.requests >= SENDS + proxy.answers_lost, "what was lost was asked for once more"


async def send_all(address: str) -> list[str]:
    """Sends 1,000 messages, 32 at a time, four on a connection, as calls of one client share one: their tasks' ids."""
    firsts = iter(range(0, SENDS, A_CLIENT))
    ids: list[str] = []

    async def send(client: Client, number: int) -> None:
        task = await client.send(f"message {number}")
        assert isinstance(task, Task)
        assert task.status.state == COMPLETED
        assert texts(task) == [f"message {number}"]
        ids.append(task.id)

    async def worker() -> None:
        for first in firsts:
            async with connect(address, **SOON, connect_timeout_s=60) as client:
                await asyncio.gather(*(send(client, number) for number in range(first, first + A_CLIENT)))

    async with asyncio.timeout(110), asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME // A_CLIENT):
            group.create_task(worker())
    return ids


@pytest.mark.long
async def test_sends_that_share_connections_which_are_cut_again_and_again_make_one_task_each(served: Served) -> None:
    """300 sends of 4 clients, 8 at a time each: a cut takes all that are under way with it."""
    numbers = iter(range(300))
    ids: list[str] = []

    async def worker(client: Client) -> None:
        for number in numbers:
            task = await client.send(f"message {number}")
            assert isinstance(task, Task)
            assert texts(task) == [f"message {number}"]
            ids.append(task.id)

    async with Proxy(served.server.grpc_address, loses_answer=every_third, cut_after=iter(lambda: 6000, 0)) as proxy:
        clients = [connect(proxy.address, **SOON, connect_timeout_s=60) for _ in range(4)]
        async with asyncio.timeout(110), asyncio.TaskGroup() as group:
            for client in clients * 8:
                group.create_task(worker(client))
        for client in clients:
            await client.close()
    assert proxy.cuts > 20
    assert proxy.answers_lost > 10
    assert proxy.requests > 300
    assert len(set(ids)) == 300
    assert await total_tasks(served) == 300


@covers("SEND-12")
@pytest.mark.parametrize("operation", ["send", "stream", "start"])
async def test_a_send_whose_answer_is_lost_five_times_makes_one_task(served: Served, operation: str) -> None:
    async with Proxy(served.server.grpc_address, loses_answer=lambda number: number <= 5) as proxy:
        async with connect(proxy.address, **SOON) as client:
            task_id = await OPERATIONS[operation](client)
        assert proxy.answers_lost == 5
        assert proxy.requests == 7  # once the client asked whether the agent takes repeated sends for one
    async with connect(served.server.grpc_address) as client:
        assert [task.id async for task in client.list()] == [task_id]


async def by_send(client: Client) -> str:
    task = await client.send("hello")
    assert isinstance(task, Task)
    assert texts(task) == ["hello"]
    return task.id


async def by_stream(client: Client) -> str:
    async with client.stream("hello") as events:
        assert [event async for event in events]
    assert events.task is not None
    assert texts(events.task) == ["hello"]
    return events.task_id


async def by_start(client: Client) -> str:
    task = await client.start("hello")
    assert isinstance(task, Task)
    return task.id


OPERATIONS = {"send": by_send, "stream": by_stream, "start": by_start}


@pytest.mark.parametrize("operation", ["send", "stream", "start"])
async def test_a_send_whose_connections_are_refused_makes_one_task(served: Served, operation: str) -> None:
    """Cut as they are accepted: the agent was never reached, and is tried again all the same."""
    async with Proxy(served.server.grpc_address, refuses=lambda number: number <= 6) as proxy:
        async with connect(proxy.address, **SOON, connect_timeout_s=60) as client:
            task_id = await OPERATIONS[operation](client)
        assert proxy.refused == 6
    async with connect(served.server.grpc_address) as client:
        assert [task.id async for task in client.list()] == [task_id]


async def test_a_send_cut_at_any_byte_of_its_answers_beginning_makes_one_task_and_gives_it(served: Served) -> None:
    async with connect(served.server.grpc_address) as direct:
        for number, cut_after in enumerate(range(0, 700, 20), start=1):
            async with Proxy(served.server.grpc_address, cut_after=[cut_after]) as proxy:
                async with connect(proxy.address, **SOON, connect_timeout_s=60) as client:
                    task = await client.send(f"cut after {cut_after}")
                assert proxy.cuts == 1
            assert isinstance(task, Task)
            assert task == await direct.get(task.id), cut_after
            assert await total_tasks(served) == number


async def test_a_follow_up_whose_answer_is_lost_is_played_once() -> None:
    asker = Asker()
    asker.go["one"].set()
    asker.go["two"].set()
    async with serving(asker.agent) as served:
        async with connect(served.server.grpc_address) as direct:
            asked = await direct.send("one")
            assert isinstance(asked, Task)
            async with Proxy(served.server.grpc_address, loses_answer=lambda number: number <= 3) as proxy:
                async with connect(proxy.address, **SOON) as client:
                    answered = await client.send("two", task_id=asked.id)
                assert proxy.answers_lost == 3
            assert isinstance(answered, Task)
            assert answered.status.message.parts[0].text == "what after two?"
            assert answered == await direct.get(asked.id)
        assert asker.played == ["one", "two"]


async def test_a_bare_message_whose_answer_is_lost_is_given_again(served: Served) -> None:
    async with Proxy(served.server.grpc_address, loses_answer=lambda number: number <= 2) as proxy:
        async with connect(proxy.address, **SOON) as client:
            reply = await client.send({"script": [{"message": "hi"}]})
        assert proxy.answers_lost == 2
    assert isinstance(reply, Message)
    assert reply.parts[0].text == "hi"


async def test_a_unary_call_that_is_cut_too_often_is_given_up(served: Served) -> None:
    task = (await served.send(request())).task
    async with Proxy(served.server.grpc_address, loses_answer=lambda number: number > 1) as proxy:
        async with connect(proxy.address, **SOON, max_retries=2) as client:
            assert (await client.get(task.id)).id == task.id
            proxy.cut()
            await eventually(lambda: assert_not_connected(client))
            with pytest.raises(UnavailableError):
                await client.get(task.id)
        assert proxy.answers_lost == 3, "the first try and two more"


def assert_not_connected(client: Client) -> None:
    assert client.channel.get_state() is not grpc.ChannelConnectivity.READY
