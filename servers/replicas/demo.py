"""Stream a count through a load balancer while its three replicas are killed, one after another, and started again.

Each number has to come once: a replica continues from what the killed replica had stored.
"""

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from postgres import free_port, postgres

from a2a_grpc import A2AError, TaskArtifactUpdateEvent, connect, data_of, text_of
from a2a_grpc.client import ConfigurationError
from a2a_grpc.lifecycle import COMPLETED, state_name

HERE = Path(__file__).resolve().parent
BALANCERS = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}
LISTEN, HTTP_LISTEN = "127.0.0.1:50051", "127.0.0.1:8080"
"""The addresses of the balancer in the two configurations. Its replicas are at ports 5006N and 806N."""


class Replica:
    """One server of the agent. When it is started again, it keeps its addresses."""

    def __init__(self, number: int, *options: str) -> None:
        self.number, self.options = number, options
        self.listen, self.http_listen = "127.0.0.1:0", "127.0.0.1:0"

    async def start(self) -> None:
        where = (f"--listen={self.listen}", f"--http-listen={self.http_listen}")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, HERE / "counter.py", "-o", "json", *where, *self.options, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "ready":
                self.listen, self.http_listen = event["grpc"], urlsplit(event["http"]).netloc
                return
        raise OSError(f"replica {self.number} does not start")

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


class Count:
    """The numbers that the stream has given so far."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.pid = 0  # of the replica that counts
        self.more = asyncio.Condition()

    async def reaches(self, number: int) -> None:
        async with self.more:
            await self.more.wait_for(lambda: self.numbers and self.numbers[-1] >= number)


def installed(kind: str) -> str:
    """Return the path of the balancer's program. Raise OSError if it is not installed."""
    executable = shutil.which(kind) or shutil.which(kind, path="/usr/sbin:/usr/local/sbin")
    if executable is None:
        raise OSError(f"there is no '{kind}' here; install it, or give --balancer {' or '.join(BALANCERS)}")
    return executable


@asynccontextmanager
async def balancer(kind: str, executable: str, listen: dict[str, str]) -> AsyncIterator[None]:
    """Run the balancer with the configuration of this folder, except for the addresses."""
    configuration = (HERE / BALANCERS[kind]).read_text()
    for address, actual in listen.items():
        configuration = configuration.replace(address, actual)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, BALANCERS[kind])
        await asyncio.to_thread(path.write_text, configuration)
        options = ["-f", path] if kind == "haproxy" else ["-p", folder, "-c", path]
        process = await asyncio.create_subprocess_exec(executable, *options, stderr=subprocess.PIPE)
        telling = asyncio.create_task(process.communicate())  # the balancer reports which replica is down
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            else:
                print(f"{kind} has ended:", (await telling)[1].decode())
            await telling


async def watch(address: str, order: dict[str, float], count: Count, replicas: list[Replica]) -> bool:
    """Follow the count to its end. Return True if it is complete."""
    async with connect(address, connect_timeout_s=30) as agent, agent.stream(order) as events:  # it has just started
        async for event in events:
            if isinstance(event, TaskArtifactUpdateEvent) and event.artifact.artifact_id == "checkpoint":
                checkpoint = data_of(event.artifact)
                async with count.more:
                    count.numbers.append(int(checkpoint["count"]))
                    if checkpoint["pid"] != count.pid:
                        count.pid = checkpoint["pid"]
                        who = next(replica.number for replica in replicas if replica.process.pid == count.pid)
                        print(f"replica {who} counts from {count.numbers[-1]}", flush=True)
                    count.more.notify_all()
    results = [text_of(artifact) for artifact in events.task.artifacts if artifact.artifact_id != "checkpoint"]
    print(f"{state_name(events.state)}: {' '.join(results)}; {len(count.numbers)} numbers seen")
    return events.state == COMPLETED and count.numbers == list(range(1, order["to"] + 1))


async def kill_each(replicas: list[Replica], count: Count, last: int) -> None:
    """Kill each replica once, at a quarter, a half and three quarters of the way. Start it before the next kill."""
    for replica in replicas:
        await count.reaches(last * replica.number // 4)
        what = "counts" if replica.process.pid == count.pid else "does not count"
        print(f"  kill -9 replica {replica.number}, which {what}, at {count.numbers[-1]}", flush=True)
        await replica.end()
        await replica.start()
        print(f"  replica {replica.number} is back", flush=True)


async def run(options: argparse.Namespace) -> int:
    executable = installed(options.balancer)
    async with AsyncExitStack() as stack:
        store = options.store or await stack.enter_async_context(postgres())
        upgrade = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "a2a_grpc", "db", "upgrade", "--store", store
        )
        if await upgrade.wait() != 0:
            return 1
        address, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        settings = (f"--store={store}", f"--advertise={address}", f"--lease-s={options.lease_s}", "--drain-grace-s=0")
        replicas = [Replica(number, *settings) for number in (1, 2, 3)]
        for replica in replicas:
            await replica.start()
            stack.push_async_callback(replica.end)
        listen = {LISTEN: address, HTTP_LISTEN: http}
        for replica in replicas:
            listen |= {f"127.0.0.1:5006{replica.number}": replica.listen}
            listen |= {f"127.0.0.1:806{replica.number}": replica.http_listen}
        await stack.enter_async_context(balancer(options.balancer, executable, listen))
        print(f"{options.balancer} at {address}, replicas at {', '.join(item.listen for item in replicas)}", flush=True)
        count, order = Count(), {"to": options.to, "step_seconds": options.step_seconds}
        killing = asyncio.create_task(kill_each(replicas, count, options.to))
        try:
            is_complete = await watch(address, order, count, replicas)
            await killing
        finally:
            killing.cancel()
            await asyncio.wait([killing])
        print("no number is missing, none came twice" if is_complete else f"seen: {count.numbers}")
        return 0 if is_complete else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", metavar="URL", help="PostgreSQL to use; by default one is started")
    parser.add_argument("--balancer", choices=BALANCERS, default="haproxy", help="default: %(default)s")
    parser.add_argument("--to", type=int, default=200, help="how far to count; default: %(default)s")
    parser.add_argument("--step-seconds", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--lease-s", type=float, default=2.0, help="of the replicas; default: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing is left behind
    try:
        sys.exit(asyncio.run(run(options)))
    except (A2AError, ConfigurationError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
