"""Measure the speed of this package's server, compared with bare grpc.aio and the official SDK, in turns of one run.

    make bench                                   all of it: about ten minutes on two cores
    make bench ARGS='--quick'                    a minute: that it runs
    make bench ARGS='--against bare --only stream'

Prints a table, and writes everything that was measured to benchmarks/results.json.
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import grpc

HERE = Path(__file__).parent
BARE, MEMORY, SQLITE, POSTGRES = "bare", "memory", "sqlite", "postgres"
UVLOOP, JWT, UNREAD, TRACED, UNTRACED = "uvloop", "jwt", "unread-token", "traced", "untraced"
SDK, SDK_SQLITE, GO = "sdk", "sdk-sqlite", "sdk-go"
PROXY, SENTINEL = "proxy", "sentinel"
ALL = (BARE, MEMORY, UVLOOP, UNREAD, JWT, UNTRACED, TRACED, SQLITE, POSTGRES, SDK, SDK_SQLITE, GO, PROXY, SENTINEL)
SERVERS = tuple(name for name in ALL if name not in (UNREAD, JWT, UNTRACED, TRACED, GO, PROXY, SENTINEL))
BESIDE = {UNREAD: JWT, UNTRACED: TRACED}
"""Contenders that are a second server in the process of another one."""
TIMED = ("unary", "get", "pages", "stream", "first")
"""Orders that go on for a number of seconds."""
GO_MODULE = HERE.parent / "tests" / "interop" / "peers" / "go"
GO_SERVER = GO_MODULE / "bin" / "bench"
LISTED, LISTED_QUICKLY = 10_000, 1_000
"""Tasks among which a page is looked for."""


@dataclass(frozen=True)
class Workload:
    """What is done to each contender, and what its figure is."""

    name: str
    order: dict
    contenders: tuple[str, ...] = SERVERS
    unit: str = "calls/s"
    is_quick: bool = False
    """Whether it is part of the run of a minute."""
    goals: tuple[tuple[str, str, float], ...] = ()
    """(ours, theirs, at least): the ratio to reach."""


def unary(text, in_flight):
    return {"do": "unary", "text": text, "in_flight": in_flight}


def stream(chunks, in_flight=1):
    return {"do": "stream", "chunks": chunks, "in_flight": in_flight}


FAST = (BARE, MEMORY, SDK)
RELAYED = (PROXY, SENTINEL)
WORKLOADS = (
    *(
        Workload(
            f"SendMessage → Message, {n} in flight", unary("message", n),
            (*FAST, UVLOOP, UNREAD, JWT, UNTRACED, TRACED, GO, *RELAYED) if n == 32
            else (*FAST, *RELAYED) if n == 1 else FAST,
            is_quick=n == 32,
            goals=(
                (MEMORY, BARE, 0.80), (MEMORY, SDK, 3.0), (JWT, UNREAD, 0.95), (TRACED, UNTRACED, 0.90),
                (SENTINEL, PROXY, 0.75),
            )
            if n == 32 else (),
        )
        for n in (1, 8, 32, 128)
    ),
    *(
        Workload(
            f"SendMessage → Task completed, {n} in flight", unary("task", n),
            ALL if n == 32 else (*SERVERS, GO) if n == 1 else FAST,
            is_quick=n == 32,
            goals=(
                (MEMORY, BARE, 0.65), (MEMORY, SDK, 4.0), (SQLITE, MEMORY, 0.5), (SQLITE, SDK_SQLITE, 10.0),
                (JWT, UNREAD, 0.95), (TRACED, UNTRACED, 0.90),
            )
            if n == 32 else (),
        )
        for n in (1, 8, 32, 128)
    ),
    Workload("GetTask, 1 in flight", {"do": "get", "in_flight": 1}, FAST),
    Workload(
        "GetTask, 32 in flight", {"do": "get", "in_flight": 32}, ALL, is_quick=True,
        goals=((MEMORY, BARE, 0.95), (JWT, UNREAD, 0.95)),
    ),
    Workload("ListTasks, page of 50, 8 in flight", {"do": "pages", "in_flight": 8}, is_quick=True),
    Workload("stream of 3 chunks, 8 at a time", stream(3, 8), unit="events/s"),
    Workload("stream of 100 chunks", stream(100), (*SERVERS, GO, *RELAYED), unit="events/s", is_quick=True),
    Workload(
        "stream of 1,000 chunks", stream(1_000), (*SERVERS, UNTRACED, TRACED, GO), unit="events/s",
        goals=((MEMORY, BARE, 1.0), (SQLITE, MEMORY, 0.5), (TRACED, UNTRACED, 0.97)),
    ),
    Workload(
        "stream of 1,000 chunks, 8 at a time", stream(1_000, 8), (*FAST, *RELAYED), unit="events/s",
        goals=((SENTINEL, PROXY, 0.75),),
    ),
    Workload(
        "stream of 10,000 chunks", stream(10_000), (BARE, MEMORY, UVLOOP, SQLITE, POSTGRES, SDK), unit="events/s",
        goals=((MEMORY, BARE, 1.0), (SQLITE, MEMORY, 0.5)),
    ),
    Workload("first event", {"do": "first"}, unit="ms", is_quick=True),
    *(
        Workload(
            f"{n:,} followers of one task", {"do": "followers", "count": n, "chunks": chunks},
            FAST if n > 100 else (BARE, MEMORY, SQLITE, SDK), unit="events/s", is_quick=n == 100,
            goals=((MEMORY, BARE, 1.0),) if n == 100 else (),
        )
        for n, chunks in ((1, 1_000), (10, 300), (100, 100), (1_000, 20))
    ),
)  # fmt: skip


class Server:
    """A contender's process."""

    def __init__(self, stack: ExitStack, *command: str) -> None:
        self.process = stack.enter_context(
            subprocess.Popen(
                [GO_SERVER] if command == (GO,) else [sys.executable, HERE / "contenders.py", *command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )
        )  # fmt: skip
        stack.callback(self.process.kill)
        told = self._read()
        self.address, self.token, self.tenant = told["address"], told.get("token", ""), told.get("tenant", "")
        self._beside = told.get("beside", {})

    def beside(self, name: str) -> "Server":
        """Return another server of the same process. Two processes differ by a tenth by chance."""
        other = copy(self)
        other.address = self._beside[name]
        return other

    def usage(self) -> dict:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} has ended")
        return json.loads(line)


class Served:
    """Our server as its command line starts it, with so many processes."""

    token = tenant = ""

    def __init__(self, stack: ExitStack, workers: int, store: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.process = stack.enter_context(
            subprocess.Popen(
                [Path(sys.executable).with_name("a2a-grpc"), "serve", f"{HERE / 'agent.py'}:agent", f"--store={store}",
                 f"--listen={self.address}", "--http-listen=off", f"--workers={workers}"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        stack.callback(self.process.terminate)
        with grpc.insecure_channel(self.address) as channel:
            grpc.channel_ready_future(channel).result(20)

    def usage(self) -> dict:
        """Return what all processes of the server use together."""
        spent = pages = 0
        for pid in self._pids(self.process.pid):
            numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += int(numbers[11]) + int(numbers[12])
            pages += int(numbers[21])
        return {"cpu_s": spent / os.sysconf("SC_CLK_TCK"), "rss": pages * os.sysconf("SC_PAGE_SIZE")}

    def _pids(self, pid: int) -> list[int]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(below for child in children for below in self._pids(int(child)))]


class Load:
    """The process that makes the load."""

    def __init__(self, stack: ExitStack) -> None:
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, HERE / "load.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        stack.callback(self.process.kill)

    def do(self, server: Server | Served, kind: str, order: dict) -> dict:
        """Return what the load measured, with what the server used meanwhile. Raise RuntimeError if the load failed."""
        if order["do"] in ("followers", "idle_open"):
            order = {**order, "kind": kind}
        where = {"address": server.address, "token": server.token, "tenant": server.tenant}
        before, began = server.usage(), time.perf_counter()
        self.process.stdin.write(json.dumps({**order, **where}) + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        if "error" in found:
            raise RuntimeError(f"{kind}: {order}: {found['error']}")
        after = server.usage()
        found["server_cpu"] = (after["cpu_s"] - before["cpu_s"]) / (time.perf_counter() - began)
        found["before"], found["after"] = before, after
        return found


@dataclass
class Row:
    """What was measured of a workload, a list of figures for each contender, one of each round."""

    workload: Workload
    figures: dict[str, list[float]] = field(default_factory=dict)
    latencies: dict[str, list[dict]] = field(default_factory=dict)
    client_cpu: float = 0.0
    server_cpu: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, found: dict) -> None:
        is_time = self.workload.unit == "ms"
        figure = found["latency_s"]["p50"] * 1000 if is_time else found["done"] / found["seconds"]
        self.figures.setdefault(name, []).append(figure)
        if "latency_s" in found:
            self.latencies.setdefault(name, []).append(found["latency_s"])
        self.client_cpu = max(self.client_cpu, found["cpu"])
        self.server_cpu[name] = max(self.server_cpu.get(name, 0.0), found["server_cpu"])

    @classmethod
    def of(cls, plain: dict) -> "Row":
        """Return the row for what `plain` has returned."""
        workload = Workload(plain["workload"], {}, unit=plain["unit"])
        return cls(workload, plain["figures"], plain["latencies_s"], plain["client_cpu"], plain["server_cpu"])

    def plain(self) -> dict:
        """Return the row as values for JSON."""
        return {
            "workload": self.workload.name,
            "unit": self.workload.unit,
            "figures": self.figures,
            "latencies_s": self.latencies,
            "client_cpu": self.client_cpu,
            "server_cpu": self.server_cpu,
        }

    def ratio(self, ours: str, theirs: str) -> tuple[float, float, float] | None:
        """Return the median, lowest and highest ratio of the rounds, above 1 if the first contender is better."""
        if ours not in self.figures or theirs not in self.figures:
            return None
        found = [a / b for a, b in zip(self.figures[ours], self.figures[theirs], strict=True)]
        if self.workload.unit == "ms":
            found = [1 / ratio for ratio in found]
        return statistics.median(found), min(found), max(found)


class Contenders:
    """The servers, each started when it is first asked for."""

    def __init__(self, stack: ExitStack, folder: Path, postgres: str) -> None:
        self._stack = stack
        self.folder = folder
        self._commands = {
            BARE: ["bare"],
            MEMORY: ["ours"],
            UVLOOP: ["ours", "--uvloop"],
            JWT: ["ours", "--jwt"],
            TRACED: ["ours", "--traced"],
            SQLITE: ["ours", f"--store=sqlite:///{folder}/ours.db"],
            POSTGRES: ["ours", f"--store={postgres}"],
            SDK: ["sdk"],
            SDK_SQLITE: ["sdk", f"--store=sqlite:///{folder}/sdk.db"],
            GO: [GO],
            PROXY: ["proxy"],
            SENTINEL: ["sentinel"],
        }
        self._running: dict[str, Server] = {}
        self._count = 0

    def __getitem__(self, name: str) -> Server:
        if name not in self._running:
            self._running[name] = self[BESIDE[name]].beside(name) if name in BESIDE else self.fresh(name)
        return self._running[name]

    def fresh(self, name: str, *options: str) -> Server:
        """Start another server of a contender. If its store is a file, the file is a new one."""
        command = self._commands[name]
        if "sqlite" in name:
            self._count += 1
            command = [part.replace(".db", f"-{self._count}.db") for part in command]
        return Server(self._stack, *command, *options)


@asynccontextmanager
async def database() -> AsyncIterator[str]:
    """Give the URL of a PostgreSQL that runs until the block ends; "" if PostgreSQL is not installed."""
    sys.path.insert(0, str(HERE.parent / "servers" / "replicas"))
    from postgres import postgres

    from a2a_grpc.store.sql.migrations import upgrade

    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(postgres())
        except OSError as error:
            print(f"PostgreSQL is left out: {error}", file=sys.stderr)
            url = ""
        else:
            await upgrade(url)
        yield url


def has_go_server() -> bool:
    """Build the server of the official Go SDK. False, with a line that says why, if that is not possible."""
    try:
        subprocess.run(["go", "-C", GO_MODULE, "build", "-o", GO_SERVER, "./cmd/bench"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The Go SDK is left out: {error}", file=sys.stderr)
        return False
    return True


# -- one row after the other


def measure(workload: Workload, names: list[str], contenders: Contenders, load: Load, options) -> Row:
    """Run all rounds of a workload. The contenders take turns, and the first round warms up."""
    row = Row(workload)
    is_timed, seconds = workload.order["do"] in TIMED, options.seconds
    rounds = rounds_of(options, is_telling=bool(workload.goals))
    if workload.goals and not options.quick:
        seconds *= 2  # the longer, the less it is chance
    servers = {name: contenders[name] for name in names}
    listed = LISTED_QUICKLY if options.quick else LISTED
    if workload.order["do"] == "pages":
        servers = {name: contenders.fresh(name, f"--tasks={listed}") for name in names}
    for place in range(rounds + 1):
        for name in names if place % 2 else names[::-1]:
            order = dict(workload.order)
            if is_timed:
                order["seconds"] = seconds if place else 0.1
            if workload.order["do"] == "pages":
                order["listed"] = listed
            found = load.do(servers[name], name, order)
            if place:
                row.add(name, found)
    return row


def rounds_of(options, *, is_telling: bool) -> int:
    return options.rounds or (1 if options.quick else 5 if is_telling else 3)


def show(row: Row, names: list[str]) -> None:
    """Print a line of the table, with figures, the client's share of a core, ratios with spread, and latencies."""
    figures = "".join(f"{shown(row, name):>11}" for name in names)
    ratios = "".join(f"{in_words(row.ratio(MEMORY, other)):>18}" for other in (BARE, SDK))
    latencies = "".join(f"{latency(row, name):>13}" for name in (BARE, MEMORY))
    print(f"{row.workload.name:42}{figures}{row.client_cpu:8.2f}{ratios}{latencies}", flush=True)


def in_words(ratio: tuple[float, float, float] | None) -> str:
    """Return the median of a ratio, with the lowest and the highest one, as text."""
    return f"{ratio[0]:.2f} ({ratio[1]:.2f}–{ratio[2]:.2f})" if ratio else ""


def latency(row: Row, name: str) -> str:
    """Return the median latency over the rounds, and that of the 99th percentile, in milliseconds."""
    if name not in row.latencies:
        return ""
    return " / ".join(
        f"{statistics.median(found[part] for found in row.latencies[name]) * 1000:.1f}" for part in ("p50", "p99")
    )


def shown(row: Row, name: str) -> str:
    if name not in row.figures:
        return ""
    figure = statistics.median(row.figures[name])
    return f"{figure:.2f}" if row.workload.unit == "ms" else f"{figure:,.0f}"


def goals_of(row: Row) -> list[dict]:
    """Return the targets of a workload, with what was reached."""
    found = []
    for ours, theirs, least in row.workload.goals:
        if (ratio := row.ratio(ours, theirs)) is not None:
            found.append(
                {
                    "what": row.workload.name,
                    "of": f"{ours} / {theirs}",
                    "least": least,
                    "is": ratio[0],
                    "spread": ratio[1:],
                }
            )
    return found


# -- what is measured once


def idle(contenders: Contenders, load: Load, names: list[str], count: int) -> list[dict]:
    """Measure the memory of each waiting subscriber, and the time in which one event reaches all of them."""
    found = []
    for name in names:
        server = contenders.fresh(name)
        warm = load.do(server, name, {"do": "idle_open", "count": 50})
        load.do(server, name, {"do": "idle_fire"})
        opened = load.do(server, name, {"do": "idle_open", "count": count})
        fired = load.do(server, name, {"do": "idle_fire"})
        each = (opened["after"]["rss"] - warm["after"]["rss"]) / (count - 50)
        found.append({"contender": name, "bytes_each": each, "to_all_ms": ms(fired["latency_s"])})
    return found


def parked(contenders: Contenders, load: Load, names: list[str], count: int) -> list[dict]:
    """Measure the memory and the asyncio tasks of each task that waits for its user."""
    found = []
    for name in names:
        server, many = contenders.fresh(name), count if name != SDK else count // 10
        before = load.do(server, name, {"do": "park", "count": 100})["after"]
        after = load.do(server, name, {"do": "park", "count": many})["after"]
        found.append(
            {
                "contender": name,
                "bytes_each": (after["rss"] - before["rss"]) / many,
                "asyncio_tasks_each": (after["asyncio_tasks"] - before["asyncio_tasks"]) / many,
            }
        )
    return found


def canceled(contenders: Contenders, load: Load, names: list[str], rounds: int) -> list[dict]:
    """Measure the time from a cancel to CANCELED on the task's stream, while 32 other streams run."""
    found = []
    for name in names:
        done = load.do(
            contenders[name],
            name,
            {"do": "cancel", "rounds": rounds if name != SDK else max(3, rounds // 20), "streams": 32},
        )
        found.append({"contender": name, "latency_ms": ms(done["latency_s"])})
    return found


def ms(latency_s: dict) -> dict:
    return {name: round(value * 1000, 2) for name, value in latency_s.items()}


def several(folder: Path, load: Load, rounds: int, seconds: float) -> dict:
    """Measure the calls a second of two processes and of one, on SQLite, over eight connections."""
    order = {**unary("task", 32), "connections": 8, "seconds": seconds}
    found: dict[int, list[float]] = {1: [], 2: []}
    with ExitStack() as stack:
        servers = {count: Served(stack, count, f"sqlite:///{folder}/workers-{count}.db") for count in found}
        for place in range(rounds + 1):
            for count, server in servers.items():
                done = load.do(server, MEMORY, order)
                if place:
                    found[count].append(done["done"] / done["seconds"])
    ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
    return {"one": found[1], "two": found[2], "ratio": statistics.median(ratios), "spread": (min(ratios), max(ratios))}


def imported(rounds: int) -> dict:
    """Measure the time of imports from the package, as ratios to grpc.aio with the messages alone."""
    least = "import grpc.aio; from a2a_grpc_pb import a2a_pb2"
    ours = (
        "import a2a_grpc",
        "from a2a_grpc import Agent",
        "from a2a_grpc import connect",
        "from a2a_grpc import Agent, serve",
    )
    found: dict[str, list[float]] = {code: [] for code in (least, *ours)}
    for place in range(rounds + 1):
        for code, times in found.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if place:
                times.append(time.perf_counter() - begin)
    return {code: statistics.median(found[code]) / statistics.median(found[least]) for code in ours}


# -- the whole of it


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute, of the most telling workloads")
    parser.add_argument("--against", default="", metavar="NAMES", help=f"contenders, of {','.join(ALL)}; default: all")
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="the workload of this name, or all with these words"
    )
    parser.add_argument("--rounds", type=int, help="default: 5 for workloads with a target, else 3; with --quick 1")
    parser.add_argument("--json", default=str(HERE / "results.json"), metavar="FILE", help="default: %(default)s")
    options = parser.parse_args()
    options.seconds = 0.25 if options.quick else 0.5
    names = [name for name in ALL if name in options.against.split(",")] if options.against else list(ALL)
    if unknown := set(filter(None, options.against.split(","))) - set(ALL):
        parser.error(f"--against: no such contender: {', '.join(sorted(unknown))}")
    results = asyncio.run(run(options, names))
    Path(options.json).write_text(json.dumps(results, indent=1, ensure_ascii=False))
    print(f"\nAll that was measured is in {options.json}.")
    return 0


async def run(options, names: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        async with database() as postgres:
            if not postgres:
                names = [name for name in names if name != POSTGRES]
            if GO in names and not has_go_server():
                names = [name for name in names if name != GO]
            with ExitStack() as stack:
                return everything(options, names, Contenders(stack, Path(folder), postgres), Load(stack))


def everything(options, names: list[str], contenders: Contenders, load: Load) -> dict:
    results = {"machine": machine(), "options": vars(options), "rows": [], "goals": []}
    print(" · ".join(f"{key} {value}" for key, value in results["machine"].items()))
    print("Rates a second, for `first event` milliseconds; `client` is the most of a core that the load took.")
    heads = "".join(f"{name:>11}" for name in names)
    ends = f"{'memory/bare':>18}{'memory/sdk':>18}{'bare p50/p99':>13}{'memory':>13}"
    print(f"\n{'':42}{heads}  client{ends}")
    rows = {}
    is_name = any(workload.name == options.only for workload in WORKLOADS)
    for workload in WORKLOADS:
        chosen = [name for name in names if name in workload.contenders]
        is_asked_for = (
            workload.name == options.only if is_name else all(word in workload.name for word in options.only.split())
        )
        if len(chosen) > 1 and is_asked_for and (workload.is_quick or not options.quick or options.only):
            rows[workload.name] = row = measure(workload, chosen, contenders, load, options)
            show(row, names)
            results["rows"].append(row.plain())
            results["goals"] += goals_of(row)
    if options.only:
        return results
    results["goals"] += first_event_goal(rows)
    for name, found in once(options, names, contenders, load).items():
        results[name] = found
    results["limits"] = limits_of(results, rows)
    print("\nTo reach:")
    for goal in results["goals"]:
        low, high = goal["spread"]
        mark = "reached" if goal["is"] >= goal["least"] else "short"
        reached = f"{goal['is']:6.2f} ({low:.2f}–{high:.2f}), to reach {goal['least']:.2f}"
        print(f"  {mark:8}{goal['what']:42} {goal['of']:20}{reached}")
    for limit in results["limits"]:
        mark = "reached" if limit["is"] <= limit["most"] else "short"
        print(f"  {mark:8}{limit['what']:62} {limit['is']:6.2f}, at most {limit['most']:.2f}")
    return results


def limits_of(results: dict, rows: dict[str, Row]) -> list[dict]:
    """Return the figures that have an upper limit, with the limit."""
    found = [
        {
            "what": "import a2a_grpc, to grpc.aio with the messages",
            "is": results["import"]["import a2a_grpc"],
            "most": 1.3,
        }
    ]
    idle = {each["contender"]: each["bytes_each"] for each in results["idle"]}
    if BARE in idle and MEMORY in idle:
        found.append(
            {"what": "memory of an idle subscriber, to bare's stream", "is": idle[MEMORY] / idle[BARE], "most": 1.2}
        )
    parked = {each["contender"]: each for each in results["parked"]}
    if MEMORY in parked:
        found.append({"what": "parked task, KiB", "is": parked[MEMORY]["bytes_each"] / 1024, "most": 4.0})
        found.append({"what": "parked task, asyncio tasks", "is": parked[MEMORY]["asyncio_tasks_each"], "most": 0.0})
    for each in results["cancel"]:
        if each["contender"] == MEMORY:
            found.append({"what": "cancel under 32 streams, p99, ms", "is": each["latency_ms"]["p99"], "most": 20.0})
    short, long = (rows.get(f"stream of {count} chunks") for count in ("100", "10,000"))
    if short and long and MEMORY in short.figures and MEMORY in long.figures:
        costs = [statistics.median(row.figures[MEMORY]) for row in (short, long)]
        found.append(
            {"what": "cost of an event at 10,000 chunks, to that at 100", "is": costs[0] / costs[1], "most": 1.1}
        )
    return found


def once(options, names: list[str], contenders: Contenders, load: Load) -> dict:
    """Measure what is measured once, and print it."""
    memories = [name for name in (BARE, MEMORY, SDK) if name in names]
    with_tasks = [name for name in (MEMORY, SQLITE, SDK) if name in names]
    idle_count, park_count, rounds = (500, 1_000, 20) if options.quick else (5_000, 10_000, 200)
    found = {"import": imported(2 if options.quick else 7)}
    print("\nto grpc.aio with the messages:")
    for code, ratio in found["import"].items():
        print(f"  {code:36}{ratio:.2f}", flush=True)
    found["idle"] = idle(contenders, load, memories, idle_count)
    for each in found["idle"]:
        kib = each["bytes_each"] / 1024
        print(f"idle subscriber, {each['contender']}: {kib:.1f} KiB; an event to all, ms: {each['to_all_ms']}")
    found["parked"] = parked(contenders, load, with_tasks, park_count)
    for each in found["parked"]:
        print(
            f"parked task, {each['contender']}: {each['bytes_each'] / 1024:.1f} KiB, "
            f"{each['asyncio_tasks_each']:.2f} asyncio tasks"
        )
    found["cancel"] = canceled(contenders, load, with_tasks, rounds)
    for each in found["cancel"]:
        print(f"cancel, {each['contender']}: {each['latency_ms']} ms", flush=True)
    found["workers"] = several(contenders.folder, load, rounds_of(options, is_telling=True), options.seconds)
    ratio, (low, high) = found["workers"]["ratio"], found["workers"]["spread"]
    print(
        f"--workers 2 beside 1, SendMessage → Task completed on SQLite: {ratio:.2f} ({low:.2f}–{high:.2f})", flush=True
    )
    return found


def first_event_goal(rows: dict[str, Row]) -> list[dict]:
    """Return the target that the first event comes within 1.3 times the time of a unary call of bare."""
    events, calls = rows.get("first event"), rows.get("SendMessage → Message, 1 in flight")
    if events is None or calls is None or MEMORY not in events.figures or BARE not in calls.latencies:
        return []
    least = statistics.median(latency["p50"] for latency in calls.latencies[BARE]) * 1000
    found = [least / figure for figure in events.figures[MEMORY]]
    what = {"what": "first event", "of": "bare's unary / memory", "least": round(1 / 1.3, 2)}
    return [{**what, "is": statistics.median(found), "spread": (min(found), max(found))}]


def machine() -> dict:
    packages = ("grpcio", "protobuf", "SQLAlchemy", "a2a-sdk")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "Python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


if __name__ == "__main__":
    sys.exit(main())
