"""Draw a flame graph of the server in one workload, for a browser.

    make profile WORKLOAD=task                     memory
    make profile WORKLOAD=task ARGS='--store sqlite:////tmp/profile.db'

The graph is written by py-spy, which looks at the running server from outside.
"""

import argparse
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from bench import Load, Server

ORDERS = {
    "message": {"do": "unary", "text": "message", "in_flight": 32},
    "task": {"do": "unary", "text": "task", "in_flight": 32},
    "get": {"do": "get", "in_flight": 32},
    "stream": {"do": "stream", "chunks": 1_000, "in_flight": 1},
    "long-stream": {"do": "stream", "chunks": 10_000, "in_flight": 1},
    "followers": {"do": "followers", "count": 100, "chunks": 100},
    "list": {"do": "pages", "in_flight": 8},
    "first": {"do": "first"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workload", choices=ORDERS)
    parser.add_argument("--kind", default="ours", choices=("bare", "ours", "sdk"), help="default: %(default)s")
    parser.add_argument("--store", default="memory:", metavar="URL", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=8.0, help="default: %(default)s")
    parser.add_argument("--output", metavar="FILE", help="default: benchmarks/WORKLOAD.svg; FILE.txt for plain stacks")
    options = parser.parse_args()
    output = options.output or str(Path(__file__).with_name(f"{options.workload}.svg"))
    order = ORDERS[options.workload]
    if order["do"] != "followers":
        order = {**order, "seconds": options.seconds}
    tasks = ["--tasks=10000"] if options.workload == "list" else []
    with ExitStack() as stack:
        server, load = Server(stack, options.kind, f"--store={options.store}", *tasks), Load(stack)
        load.do(server, options.kind, {**order, **({"seconds": 0.5} if "seconds" in order else {})})
        form = "raw" if output.endswith(".txt") else "flamegraph"
        command = [Path(sys.executable).with_name("py-spy"), "record", "--format", form, "--output", output]
        looking = subprocess.Popen(
            [
                *command,
                "--nonblocking",
                "--rate=200",
                f"--duration={options.seconds:.0f}",
                f"--pid={server.process.pid}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            found = load.do(server, options.kind, order)
            print(f"{found['done'] / found['seconds']:.0f} a second")
        _, said = looking.communicate()
    if looking.returncode:
        sys.exit(f"Error: py-spy: {said}")
    print(f"The graph is in {output}.")


if __name__ == "__main__":
    main()
