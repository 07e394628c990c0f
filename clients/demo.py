"""Run a sentinel, an agent attached to it, and a client that calls the agent there, as processes, in any order.

The programs are servers/sentinel.py, servers/cancellable.py and clients/cancellable.py. An agent or a client that comes
first tries again until what it needs is there. Ctrl-C ends all three.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

from started import end, free_address, start

ADDRESS = "cancellable@fame.fabric"
SERVERS = ("sentinel", "agent")
ORDERS = [",".join(order) for order in itertools.permutations((*SERVERS, "client"))]
ALONE_S = 2.0
"""Seconds for which a program that comes before the sentinel is left alone, so that it is seen to try again."""


def commands(at: str, step_seconds: float) -> dict[str, list[str]]:
    """Return the command line of each program, for a sentinel at this address."""
    free = ["-o", "json", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--store=memory:"]
    return {
        "sentinel": ["servers/sentinel.py", "-o", "json", f"--listen={at}", "--http-listen=127.0.0.1:0"],
        "agent": ["servers/cancellable.py", *free, f"--attach={at}", f"--address={ADDRESS}"],
        "client": ["clients/cancellable.py", f"--agent={ADDRESS}", f"--step-seconds={step_seconds}"],
    }


def run(options: argparse.Namespace, stack: ExitStack) -> int:
    """Start the programs, and wait for the client. Return its exit code, or that of a server that does not start."""
    at = free_address(stack) if options.listen.endswith(":0") else options.listen
    patient = {"A2A_GRPC_CONNECT_TIMEOUT_S": "30", "A2A_GRPC_RETRY_MAXIMUM_S": "1"}
    env = {**os.environ, **patient, "A2A_GRPC_SENTINEL": at}
    running, ready = dict[str, "subprocess.Popen[str]"](), set[str]()
    for name in options.order.split(","):
        print(f"Starting the {name}{f' at {at}' if name == 'sentinel' else ''}", flush=True)
        output = None if name == "client" else subprocess.PIPE
        running[name] = start(commands(at, options.step_seconds)[name], stack, env=env, stdout=output)
        if "sentinel" not in running:
            time.sleep(ALONE_S)
            continue
        for server in [server for server in SERVERS if server in running and server not in ready]:
            if not is_ready(running[server]):
                return running[server].wait() or 1
            ready.add(server)
    ended = running["client"].wait()
    end(running["agent"])  # before the sentinel, which it would miss
    return ended


def is_ready(server: "subprocess.Popen[str]") -> bool:
    """Wait until a server is ready. Return False if it has ended instead, and has printed why."""
    return any(json.loads(line)["event"] == "ready" for line in server.stdout or ())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:8000", metavar="HOST:PORT", help="default: %(default)s")
    order = "default: %(default)s; or any other order of the three"
    parser.add_argument("--order", choices=ORDERS, default=ORDERS[0], metavar="NAMES", help=order)
    parser.add_argument("--step-seconds", type=float, default=0.5, help="default: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that no process stays
    try:
        with ExitStack() as stack:
            return run(options, stack)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
