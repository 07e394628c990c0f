"""Clients that do not read, and clients that do not end what they send, cost the server little and others nothing."""

import grpc.aio
import pytest

from a2a_grpc.wire import A2AServiceStub
from tests.attacks.rig import LONG, Target, attacked, run
from tests.harness import V1, eventually, scripted

MiB = 1 << 20
SECONDS = 12.0 if LONG else 3.0
P99_MS = 100 if LONG else 5000


async def large_task(target: Target, *, ends: bool) -> str:
    """Make a task of 9 MiB. Return its id."""
    steps = [{"chunks": {"count": 3, "text": "x" * 3 * MiB}}, {"complete": "x"} if ends else {"sleep": 600}]
    async with grpc.aio.insecure_channel(target.address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        stub = A2AServiceStub(channel)
        if ends:
            return str((await stub.SendMessage(scripted(*steps), metadata=V1)).task.id)
        call = stub.SendStreamingMessage(scripted(*steps), metadata=V1)
        first = await call.read()
        for _ in range(4):
            await call.read()
        call.cancel()
        return str(first.task.id)


@pytest.mark.parametrize("store", ["memory:", "sqlite"])
@pytest.mark.parametrize("connections", [1, 40])
@pytest.mark.parametrize("name", ["answers", "subscriptions"])
async def test_answers_that_are_not_read(name: str, connections: int, store: str, tmp_path: object) -> None:
    if not LONG and (store, connections) != ("memory:", 40):
        pytest.skip("in make test-all")
    url = store if store == "memory:" else f"sqlite:///{tmp_path}/tasks.db"
    async with Target.ours("--store", url) as target:
        task_id = await large_task(target, ends=name == "answers")
        attack = run("-m", "tests.attacks.unread", name, target.address, str(connections), str(SECONDS), task_id)
        harm = await attacked(target, attack)
        harm.check(p99_ms=P99_MS, grown_mib=128)


@pytest.mark.parametrize("connections", [1, 40])
async def test_requests_that_do_not_end(connections: int) -> None:
    if not LONG and connections > 1:
        pytest.skip("in make test-all")
    async with Target.ours() as target:
        attack = run("-m", "tests.attacks.unread", "requests", target.address, str(connections), str(SECONDS))
        harm = await attacked(target, attack)
        harm.check(p99_ms=P99_MS, grown_mib=128 if connections == 1 else 256)
        await eventually(lambda: _assert_returned(target, harm.before_mib), within_s=20)


def _assert_returned(target: Target, before_mib: float) -> None:
    """What the attack filled goes back to the system once its connections are closed."""
    assert target.rss_bytes() / MiB < before_mib + 40
