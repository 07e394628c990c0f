"""`a2a-grpc serve` with push notifications: without the packages that they need, and with several workers."""

import asyncio
from pathlib import Path

import aiohttp
import grpc.aio
import pytest

from a2a_grpc.push.versions import MIN_AIOHTTP
from a2a_grpc.wire import A2AServiceStub
from tests.covers import covers
from tests.harness import V1, Program, eventually, run_program, scripted
from tests.push.notified import config_for, told
from tests.push.sockets import Hook, hook

EXTRA = f'they need cryptography and aiohttp {MIN_AIOHTTP}: pip install "a2a-grpc[push]"'
WITHOUT = "import sys; sys.modules['cryptography'] = None\nfrom a2a_grpc.cli import main\nmain()"
"""The command where the extra `push` is not installed."""
SERVE = ("serve", "servers/scripted.py", "-o", "json", "--listen=127.0.0.1:0")


@covers("PCFG-1")
@pytest.mark.long
async def test_without_the_extra_serve_says_once_that_push_is_off_and_the_card_says_so(tmp_path: Path) -> None:
    options = (f"--store=sqlite:///{tmp_path}/tasks.db", "--http-listen=127.0.0.1:0")
    async with Program("-c", WITHOUT, *SERVE, *options) as program:
        notes = [event["text"] for event in program.events if event["event"] == "note"]
        assert [note for note in notes if "push" in note] == [f"push notifications are off: {EXTRA}"]
        url = f"{program.http}/.well-known/agent-card.json"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            card = await response.json()
        assert not card["capabilities"].get("pushNotifications", False)


@pytest.mark.long
async def test_without_the_extra_workers_say_once_that_push_is_off(tmp_path: Path) -> None:
    options = ("--workers=2", f"--store=sqlite:///{tmp_path}/tasks.db", "--http-listen=off")
    async with Program("-c", WITHOUT, *SERVE, *options) as program:
        notes = [event["text"] for event in program.events if event["event"] == "note"]
        assert [note for note in notes if "push" in note] == [f"push notifications are off: {EXTRA}"]


async def test_without_the_extra_the_option_push_fails_and_names_the_extra() -> None:
    exit_code, out, err = await run_program(
        "-c", WITHOUT, *SERVE, "--push", "--store=memory:", "--http-listen=off"
    )  # fmt: skip
    assert (exit_code, out) == (2, "")
    assert err == f"Error: push notifications cannot be offered: {EXTRA}\n"


@covers("PCFG-1")
async def test_serve_offers_push_unless_no_push_is_given(tmp_path: Path) -> None:
    for more, is_offered in (((), True), (("--no-push",), False)):
        options = (f"--store=sqlite:///{tmp_path}/tasks.db", "--http-listen=127.0.0.1:0", *more)
        async with Program("-m", "a2a_grpc", *SERVE, *options) as program:
            url = f"{program.http}/.well-known/agent-card.json"
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                card = await response.json()
        assert card["capabilities"].get("pushNotifications", False) is is_offered


@covers("PUSH-4", "PUSH-11")
async def test_workers_deliver_each_event_once_and_in_order(tmp_path: Path) -> None:
    tasks = 12
    options = (
        *("--workers=2", f"--store=sqlite:///{tmp_path}/tasks.db", "--http-listen=off"),
        *("--push", "--push-events=all", "--push-allow=127.0.0.0/8"),
    )
    async with hook() as receiver, Program("-m", "a2a_grpc", *SERVE, *options) as program:
        await asyncio.gather(*(_send(program.address, receiver, f"/{number}") for number in range(tasks)))

        def all_ended() -> None:
            for number in range(tasks):
                assert [state for _, _, state in told(receiver, f"/{number}")][-1:] == ["COMPLETED"]

        await eventually(all_ended, within_s=30)
    for number in range(tasks):
        seqs = [seq for seq, _, _ in told(receiver, f"/{number}")]
        assert seqs == sorted(set(seqs)), f"task {number}"


async def _send(address: str, receiver: Hook, path: str) -> None:
    """Start a task on a connection of its own: the system spreads connections over the workers."""
    sent = scripted({"status": "one"}, {"artifact": "hello"}, {"status": "two"}, immediately=True)
    sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver, path))
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        await A2AServiceStub(channel).SendMessage(sent, metadata=V1, timeout=30, wait_for_ready=True)
