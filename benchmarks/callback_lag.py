"""Measure how soon a result arrives: python benchmarks/callback_lag.py

The worker (servers/worker.py) is a process of its own, with a store in a file. This process is the requester: an agent
that is called back, and a client that subscribes. The two patterns take turns, job by job. The lag is the time from the
end of the job, which the result names, until this process has the result. Prints a line for each pattern. Takes about
40 seconds.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import ExitStack

from compare import Requester, Worker, begin, wait

from a2a_grpc import Server, ServerSettings, connect

JOB_S = 0.05
WARM = 5
"""Jobs of each pattern before the first one that counts."""


def shown(pattern: str, lags: list[float]) -> str:
    """Return the line for the lags of a pattern, in seconds."""
    lags = sorted(lags)
    quantiles = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("worst", 1.0))
    found = (f"{name}={lags[min(int(share * len(lags)), len(lags) - 1)] * 1000:.1f} ms" for name, share in quantiles)
    return f"{pattern:9} n={len(lags)} " + " ".join(found)


async def measure(jobs: int, folder: str, stack: ExitStack) -> None:
    worker, requester = await asyncio.to_thread(Worker, folder, stack), Requester()
    lags: dict[str, list[float]] = {"subscribe": [], "callback": []}
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(requester.agent, settings), connect(worker.address) as client:
        for number in range(WARM + jobs):
            started = await begin(client, JOB_S)
            subscribed = await wait(client, started, "subscribe", 1.0)
            started = await begin(client, JOB_S, requester.agent.callbacks.issue())
            called_back = await requester.of(started.id)
            if number >= WARM:
                lags["subscribe"].append(subscribed)
                lags["callback"].append(called_back)
    for pattern, found in lags.items():
        print(shown(pattern, found))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=300, help="jobs of each pattern; default: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that no process stays
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            asyncio.run(measure(options.jobs, folder, stack))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
