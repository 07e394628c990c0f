"""Measure what spans cost a server: with and without them, in turns, by servers that share a process.

    python benchmarks/tracing.py                    a minute and a half
    python benchmarks/tracing.py --kinds ours       without the samples and the peer

The exporter drops the spans: what an exporter does with them is its own, and in its own thread.

For each workload it prints the CPU time of the process for each call or event. It also prints the ratio to the server
without spans of the same process, of CPU time and of calls a second. Ratios are the median of the rounds, with the
lowest and the highest.

    ours        this package, with all spans
    hidden      this package without spans, like the server to which it is compared, but it cannot find OpenTelemetry
    floor       this package without spans, and a handler that makes as many spans of the SDK, which do nothing
    floor, 64 at once
                the same, but the spans of 64 calls are made in a loop
    sampled     this package with the sampler that records 1 % of the traces
    bare        grpc.aio with the interceptor of opentelemetry-instrumentation-grpc
"""

import argparse
import statistics
from contextlib import ExitStack

from bench import Load, Server

UNTRACED = "untraced"
BESIDE = ("hidden", "floor", "floor, 64 at once")
"""Further servers in the process of `ours`."""
KINDS = {
    "ours": ["ours", "--traced"],
    "sampled": ["ours", "--traced", "--sampled=0.01"],
    "bare": ["bare", "--traced"],
}
WORKLOADS = {
    "SendMessage → Message": {"do": "unary", "text": "message", "in_flight": 32},
    "SendMessage → Task completed": {"do": "unary", "text": "task", "in_flight": 32},
    "stream of 1,000 chunks": {"do": "stream", "chunks": 1_000, "in_flight": 1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each measurement")
    options = parser.parse_args()
    with ExitStack() as stack:
        pairs: list[tuple[str, Server, str]] = []
        for kind in options.kinds:
            server, without = Server(stack, *KINDS[kind]), f"{kind}, {UNTRACED}"
            pairs += [(without, server.beside(UNTRACED), without), (kind, server, without)]
            if kind == "ours":
                pairs += [(name, server.beside(name), without) for name in BESIDE]
        load = Load(stack)
        print(f"{'workload':30} {'server':18} {'CPU µs':>8} {'CPU ratio':>22} {'rate ratio':>22}")
        for workload, order in WORKLOADS.items():
            measure(load, workload, order, pairs, options.rounds, options.seconds)


def measure(
    load: Load, workload: str, order: dict, pairs: list[tuple[str, Server, str]], rounds: int, seconds: float
) -> None:
    """Measure a workload in turns, and print a line for each server."""
    costs: dict[str, list[float]] = {name: [] for name, _, _ in pairs}
    rates: dict[str, list[float]] = {name: [] for name, _, _ in pairs}
    for name, server, _ in pairs:
        load.do(server, name, {**order, "seconds": 0.2})  # warm up
    for number in range(rounds):
        for name, server, _ in pairs if number % 2 else reversed(pairs):
            found = load.do(server, name, {**order, "seconds": seconds})
            costs[name].append((found["after"]["cpu_s"] - found["before"]["cpu_s"]) / found["done"] * 1e6)
            rates[name].append(found["done"] / found["seconds"])
    for name, _, without in pairs:
        print(
            f"{workload:30} {name:18} {statistics.median(costs[name]):8.1f} "
            f"{spread(costs[name], costs[without]):>22} {spread(rates[name], rates[without]):>22}",
            flush=True,
        )


def spread(figures: list[float], others: list[float]) -> str:
    """Return the median of the ratios of the rounds, with the lowest and the highest."""
    ratios = [figure / other for figure, other in zip(figures, others, strict=True)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.2f}–{max(ratios):.2f})"


if __name__ == "__main__":
    main()
