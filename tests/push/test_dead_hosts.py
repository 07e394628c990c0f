"""Receivers that are away: they delay no other receiver."""

import asyncio

from tests.covers import covers
from tests.harness import V1, Served, scripted
from tests.push.notified import config_for, notifying, told_end
from tests.push.sockets import bare, hook

LAG_S = 2.0


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _send(served: Served, url: str) -> None:
    sent = scripted({"artifact": "hello"})
    sent.configuration.task_push_notification_config.url = url
    await served.stub.SendMessage(sent, metadata=V1)


@covers("PUSH-11", "G3")
async def test_a_thousand_hosts_that_do_not_answer_delay_no_other_receiver(full: bool) -> None:
    count = 1000 if full else 50
    loop = asyncio.get_running_loop()
    async with hook() as receiver, bare(hang, "0.0.0.0") as port, notifying(max_queued_runs=2000) as served:
        hosts = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(count)]
        for start in range(0, count, 100):
            await asyncio.gather(*(_send(served, f"http://{host}:{port}/") for host in hosts[start : start + 100]))
        lags = []
        for number in range(20):
            sent = scripted({"artifact": "hello"})
            sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver, f"/{number}"))
            await served.stub.SendMessage(sent, metadata=V1)
            begun = loop.time()
            await told_end(receiver, f"/{number}")
            lags.append(loop.time() - begun)
        print(f"hosts={count} at_work={len(served.server._running.pushing.sender)} lag={max(lags):.3f} s")  # type: ignore[union-attr]
        assert max(lags) < LAG_S
