"""The good client: one call after another, each timed: python -m tests.attacks.good HOST:PORT [PAUSE_S [TENANT]]

Makes a task, tells that it is ready as a JSON line, then asks for the task every PAUSE_S seconds until its standard
input is closed. Ends with a JSON line of what it saw. If ATTACKS_CA names a file with a CA, it uses TLS.
"""

import asyncio
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio

from a2a_grpc.wire import A2AServiceStub, GetTaskRequest
from tests.harness import V1, request

TIMEOUT_S = 30.0
WARM_UP_CALLS = 50


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of the ordered values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def channel_to(address: str) -> grpc.aio.Channel:
    """Return a channel of its own, with TLS if the environment says so."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not (ca := os.environ.get("ATTACKS_CA")):
        return grpc.aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes())
    return grpc.aio.secure_channel(address, credentials, [*options, ("grpc.ssl_target_name_override", "localhost")])


async def main(address: str, pause_s: float, tenant: str = "") -> None:
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    async with channel_to(address) as channel:
        stub = A2AServiceStub(channel)
        sending = request("hello")
        sending.tenant = tenant
        sent = await stub.SendMessage(sending, metadata=V1, timeout=TIMEOUT_S)
        wanted = GetTaskRequest(id=sent.task.id, tenant=tenant)
        for _ in range(WARM_UP_CALLS):
            await stub.GetTask(wanted, metadata=V1, timeout=TIMEOUT_S)
        print(json.dumps({"event": "ready"}), flush=True)
        over = loop.run_in_executor(None, sys.stdin.read)
        while not over.done():
            begun = time.perf_counter()
            try:
                await stub.GetTask(wanted, metadata=V1, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                errors[f"{error.code().name}: {error.details()}"] += 1
            latencies.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(pause_s)
    latencies.sort()
    seen = {
        "calls": len(latencies),
        "errors": dict(errors),
        "p50_ms": quantile(latencies, 0.5),
        "p99_ms": quantile(latencies, 0.99),
        "worst_ms": latencies[-1] if latencies else 0.0,
    }
    print(json.dumps({"event": "seen", **seen}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.01, *sys.argv[3:]))
