"""Measure what spans cost a server: without a provider, and with a batch processor, in turns of one run.

    python benchmarks/tracing.py                     a minute
    python benchmarks/tracing.py --before FOLDER     also a checkout of an earlier commit, before there were spans

The exporter drops the spans: what it does with them is its own, and in its own thread.

For each workload it prints the CPU time of the server for each call or event. It also prints the ratio to the server
without a provider, or to the earlier one. Ratios are the median of the rounds, with the lowest and the highest.
"""

import argparse
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench import Load, Server

HERE = Path(__file__).parent
OFF, ON, BEFORE = "off", "on", "before"
WORKLOADS = {
    "SendMessage → Message": {"do": "unary", "text": "message", "in_flight": 32},
    "SendMessage → Task completed": {"do": "unary", "text": "task", "in_flight": 32},
    "stream of 1,000 chunks": {"do": "stream", "chunks": 1_000, "in_flight": 1},
}


class Elsewhere(Server):
    """A server of another checkout."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        path = os.pathsep.join([str(folder), str(folder / "generated"), str(folder / "benchmarks")])
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, folder / "benchmarks" / "contenders.py", "ours"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        )
        stack.callback(self.process.kill)
        told = self._read()
        self.address, self.token, self.tenant = told["address"], "", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="a checkout of an earlier commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.8, help="of each measurement")
    options = parser.parse_args()
    with ExitStack() as stack:
        servers = {OFF: Server(stack, "ours"), ON: Server(stack, "ours", "--traced")}
        if options.before is not None:
            servers[BEFORE] = Elsewhere(stack, options.before.resolve())
        load = Load(stack)
        print(f"{'workload':30} {'server':8} {'CPU µs':>8} {'ratio':>22} {'rate ratio':>22}")
        for name, order in WORKLOADS.items():
            for kind, server in servers.items():
                load.do(server, kind, {**order, "seconds": 0.5})  # warm up
            costs: dict[str, list[float]] = {kind: [] for kind in servers}
            rates: dict[str, list[float]] = {kind: [] for kind in servers}
            for number in range(options.rounds):
                turns = list(servers.items())
                for kind, server in turns[number % len(turns) :] + turns[: number % len(turns)]:
                    found = load.do(server, kind, {**order, "seconds": options.seconds})
                    spent = found["after"]["cpu_s"] - found["before"]["cpu_s"]
                    costs[kind].append(spent / found["done"] * 1e6)
                    rates[kind].append(found["done"] / found["seconds"])
            for kind in servers:
                to = BEFORE if kind == OFF and BEFORE in servers else OFF
                print(
                    f"{name:30} {kind:8} {statistics.median(costs[kind]):8.1f} "
                    f"{spread(costs[kind], costs[to]):>22} {spread(rates[kind], rates[to]):>22}",
                    flush=True,
                )


def spread(figures: list[float], others: list[float]) -> str:
    """Return the median of the ratios of the rounds, with the lowest and the highest."""
    ratios = [figure / other for figure, other in zip(figures, others, strict=True)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.2f}–{max(ratios):.2f})"


if __name__ == "__main__":
    main()
