"""A trace over five processes, as Jaeger shows it: sent by the SDK's exporter for OTLP, as its environment says.

`make jaeger` builds Jaeger, which takes minutes. `make test-nightly` does so, and runs this file. Without Jaeger it is
skipped.
"""

import asyncio
import json
import os
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.covers import covers
from tests.harness import ROOT, eventually
from tests.interop.environments import Environment, newest, python_of
from tests.ports import hold_port
from tests.push.sockets import hook
from tests.sentinel.tunnels import ADDRESS

JAEGER = ROOT / "bin" / "jaeger"
OTLP = Environment(
    "otlp", ("opentelemetry-distro==0.66b2", "opentelemetry-exporter-otlp-proto-grpc==1.45.2", *newest("push"))
)
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(400),  # the first use of the environment installs it
    pytest.mark.skipif(not JAEGER.exists(), reason="bin/jaeger is not there; make jaeger builds it in some minutes"),
]

HELPER = """
from a2a_grpc import Agent, Turn

agent = Agent("Helper", "Helps.")


@agent.skill()
async def help(turn: Turn) -> str:
    "Help."
    return "done"
"""
FRONT = """
import os

from a2a_grpc import Agent, Turn, connect

agent = Agent("Front", "Asks a helper.")


@agent.skill()
async def ask(turn: Turn) -> str:
    "Ask the helper."
    async with connect(os.environ["HELPER"]) as helper:
        await helper.send(turn.text)
    return "done"
"""
CALLER = """
import asyncio, sys

from a2a_grpc import connect
from a2a_grpc.wire import TaskPushNotificationConfig


async def main() -> None:
    sentinel, tenant, url = sys.argv[1:]
    async with connect(sentinel, tenant=tenant) as client:
        async with client.stream("hello", push_config=TaskPushNotificationConfig(url=url)) as events:
            async for _ in events:
                pass


asyncio.run(main())
"""


class Jaeger:
    """Jaeger with its traces in memory."""

    def __init__(self) -> None:
        names = ["collector.otlp.grpc", "collector.otlp.http", "collector.grpc-server", "collector.http-server"]
        names += ["query.http-server", "query.grpc-server", "admin.http"]
        self._held = {name: hold_port() for name in names}
        self._ports = {name: held.getsockname()[1] for name, held in self._held.items()}
        self.otlp = f"http://127.0.0.1:{self._ports['collector.otlp.grpc']}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Jaeger"]:
        options = [f"--{name}.host-port=127.0.0.1:{port}" for name, port in self._ports.items()]
        process = await asyncio.create_subprocess_exec(
            JAEGER, *options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await eventually(lambda: self._get("/api/services"))
            yield self
        finally:
            process.terminate()
            await process.wait()
            for held in self._held.values():
                held.close()

    def spans(self, service: str) -> list[dict[str, Any]]:
        """The spans of all traces that a service takes part in."""
        return [
            {**span, "service": trace["processes"][span["processID"]]["serviceName"]}
            for trace in self._get(f"/api/traces?service={service}")["data"]
            for span in trace["spans"]
        ]

    def _get(self, path: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._ports['query.http-server']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError as error:
            raise AssertionError(str(error)) from error
        return found


@covers("META-6", "P17")
async def test_jaeger_shows_one_trace_from_the_client_over_sentinel_agent_and_sub_agent_to_the_webhook(
    tmp_path: Path,
) -> None:
    python = await asyncio.to_thread(python_of, OTLP)
    for name, text in (("helper", HELPER), ("front", FRONT), ("caller", CALLER)):
        (tmp_path / f"{name}.py").write_text(text)
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated")]),
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    instrument = [str(python), str(python.with_name("opentelemetry-instrument"))]

    async with AsyncExitStack() as stack:
        jaeger = await stack.enter_async_context(Jaeger().running())
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = jaeger.otlp

        async def run(service: str, *command: str) -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                *instrument, str(python), *command,
                cwd=tmp_path, env={**variables, "OTEL_SERVICE_NAME": service}, stdout=subprocess.PIPE,
            )  # fmt: skip

        async def serve(service: str, *command: str) -> str:
            process = await run(service, "-m", "a2a_grpc", *command, "-o", "json", "--http-listen", "off")
            stack.push_async_callback(process.wait)
            stack.callback(process.terminate)
            assert process.stdout is not None
            while line := await process.stdout.readline():
                if (event := json.loads(line))["event"] in ("ready", "attached"):
                    return str(event.get("grpc", ""))
            raise AssertionError(f"{service} has ended")

        receiver = await stack.enter_async_context(hook())
        sentinel = await serve("sentinel", "sentinel", "--listen", "127.0.0.1:0")
        variables["HELPER"] = await serve("helper", "serve", "helper.py", "--listen", "127.0.0.1:0")
        attach = ("--attach", sentinel, "--address", ADDRESS, "--push", "--push-allow", "127.0.0.0/8")
        await serve("front", "serve", "front.py", *attach)
        caller = await run("caller", "caller.py", sentinel, ADDRESS, f"http://127.0.0.1:{receiver.port}/hook")
        assert await caller.wait() == 0

        send = "SendStreamingMessage"
        run_of_front = f"caller {send} > sentinel {send} > front {send} > front run ask"
        call = f"{run_of_front} > front {send}"

        def is_one_trace() -> None:
            spans = jaeger.spans("caller")
            assert "COMPLETED" in str([got.body for got in receiver.received])
            assert sorted(set(ways(spans))) == [
                f"caller {send}",
                f"caller {send} > sentinel {send}",
                f"caller {send} > sentinel {send} > front {send}",
                run_of_front,
                call,
                f"{call} > helper {send}",
                f"{call} > helper {send} > helper run help",
                f"{run_of_front} > front push webhook",
            ]
            assert len({span["traceID"] for span in spans}) == 1

        await eventually(is_one_trace)


def ways(spans: list[dict[str, Any]]) -> list[str]:
    """The way to each span from its root."""
    known = {span["spanID"]: span for span in spans}

    def way(span: dict[str, Any]) -> str:
        name = f"{span['service']} {span['operationName']}"
        parents = [known[each["spanID"]] for each in span["references"] if each["spanID"] in known]
        return f"{way(parents[0])} > {name}" if parents else name

    return [way(span) for span in spans]
