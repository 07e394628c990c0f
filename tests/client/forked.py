"""A program that is forked while it has a client: python -m tests.client.forked ADDRESS CASE."""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from a2a_grpc import connect
from a2a_grpc.client import BlockingClient

ADDRESS, CASE = sys.argv[1:]
HANGS_S = 20
"""After so long a child is ended by a signal: what hangs is told by the exit code."""


def in_child(work: Callable[[], Any]) -> None:
    """Do something in a forked process, and print what came of it; then how the process ended."""
    sys.stdout.flush()
    if not (pid := os.fork()):
        told(work)
        sys.exit(0)
    print("ended with", os.waitpid(pid, 0)[1], flush=True)


def told(work: Callable[[], Any]) -> None:
    signal.alarm(HANGS_S)
    try:
        work()
        print("it works", flush=True)
    except RuntimeError as error:
        print(error, flush=True)


def afresh() -> None:
    with BlockingClient(ADDRESS) as client:
        client.get("t-1")


def blocking() -> None:
    with BlockingClient(ADDRESS) as client:
        client.get("t-1")
        match CASE:
            case "used":
                in_child(lambda: client.get("t-1"))
            case "read":
                events = client.stream("hello")
                in_child(lambda: list(events))
                assert len(list(events)) == 1
            case "closed":
                in_child(client.close)
            case "another":
                in_child(afresh)
            case "multiprocessing":
                sys.stdout.flush()
                child = multiprocessing.get_context("fork").Process(target=told, args=(lambda: client.get("t-1"),))
                child.start()
                child.join()
                print("ended with", child.exitcode, flush=True)
        client.get("t-1")
    if CASE == "after":
        in_child(afresh)


async def in_a_loop() -> None:
    async with connect(ADDRESS) as client:
        await client.get("t-1")
        in_child(lambda: asyncio.new_event_loop().run_until_complete(client.get("t-1")))
        await client.get("t-1")


if CASE == "loop":
    asyncio.run(in_a_loop())
else:
    blocking()
print("the parent goes on")
