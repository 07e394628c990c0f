"""Wide requests, the widest of each kind that 4 MiB hold, and the attack that sends them.

python -m tests.attacks.wide HOST:PORT CONNECTIONS SECONDS: each connection is a thread that sends one wide request
after another. Ends with a JSON line: how often which status came.
"""

import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc

from a2a_grpc.wire import SERVICE
from tests.harness import V1
from tests.spec.raw_calls import SERVICE as SERVICE_PATH
from tests.spec.raw_calls import STREAMS, field

MiB = 1 << 20
MAX_DEPTH = 6
"""Levels of messages under a request in which fields are looked for: lists within lists go on for ever."""


def paths(kind: Any, depth: int = 0) -> Iterator[tuple[Any, ...]]:
    """Iterate over the fields of a message that repeat, at whatever depth, as the fields that lead to them."""
    for found in kind.fields:
        if found.is_repeated:
            yield (found,)
        if found.message_type is not None and depth < MAX_DEPTH:
            for rest in paths(found.message_type, depth + 1):
                if rest[-1] is not found and found not in rest:
                    yield (found, *rest)


def wide(path: tuple[Any, ...], size: int = 4 * MiB - 64) -> bytes:
    """Return a serialised message with as many empty items of the field that a path leads to as there is room for."""
    raw = field(path[-1].number, b"")
    raw *= size // len(raw)
    for around in reversed(path[:-1]):
        raw = field(around.number, raw)
    return raw


def wide_requests() -> Iterator[tuple[str, str, bytes]]:
    """Iterate over all kinds: method, path of the wide field, request. A path that is empty is an unknown field."""
    for method in SERVICE.methods:
        for path in paths(method.input_type):
            yield method.name, ".".join(step.name for step in path), wide(path)
        yield method.name, "", field(99, b"") * (MiB // 3 * 4)


def play(address: str, until: float, sent: list[str]) -> None:
    """Send wide requests over one connection until a moment, and have each refused."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        for method, _, raw in itertools.cycle(list(wide_requests())):
            if time.monotonic() > until:
                return
            kind: Any = channel.unary_stream if method in STREAMS else channel.unary_unary
            call = kind(f"{SERVICE_PATH}/{method}")
            try:
                answer = call(raw, metadata=V1, timeout=30)
                if method in STREAMS:
                    list(answer)
            except grpc.RpcError as error:
                sent.append(error.code().name)


def main(address: str, connections: int, seconds: float) -> None:
    until, sent = time.monotonic() + seconds, list[str]()
    threads = [threading.Thread(target=play, args=(address, until, sent), daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 15.0)
    print(json.dumps(Counter(sent)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
