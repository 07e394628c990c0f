"""The metrics of a server and a sentinel, as Prometheus reads them."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from a2a_grpc import Part, Task, connect
from a2a_grpc.client import bearer
from a2a_grpc.errors import TaskNotFoundError, UnauthenticatedError
from a2a_grpc.parts import value
from a2a_grpc.telemetry.metrics import METRICS
from a2a_grpc.wire import TaskPushNotificationConfig, TaskState
from tests.covers import covers
from tests.harness import eventually, run_program, scripted_agent, serving
from tests.push.sockets import hook
from tests.sentinel.test_attaching import by_token
from tests.sentinel.tunnels import ADDRESS, attached, sentinel

SECRET = "a-word-that-nobody-else-may-see"


Samples = dict[str, list[tuple[dict[str, str], float]]]


async def scraped(url: str) -> Samples:
    """The samples of a server, as Prometheus's own parser reads them: labels and value by name."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    assert SECRET not in text
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), float(sample.value)))
    return found


async def scraped_with(url: str, calls: dict[tuple[str, str, str], int], *names: str) -> Samples:
    """The samples of a server, once these calls are counted, no run is open and these names are there.

    A call is counted after its answer, as is a delivery.
    """
    found: Samples = {}

    async def counted() -> None:
        found.update(await scraped(url))
        told = {
            (labels["rpc_method"].rpartition("/")[2], labels["rpc_status_code"], labels.get("error_type", "")): value
            for labels, value in found.get("rpc_server_call_duration_seconds_count", [])
        }
        assert told == calls
        assert {value for _, value in found.get("a2a_grpc_runs", [])} <= {0}
        assert set(names) <= set(found)

    await eventually(counted)
    return found


@covers("SEC-10")
async def test_prometheus_reads_the_metrics_of_a_server_and_finds_no_content_and_no_ids(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "http_listen": "127.0.0.1:0", "metrics": True, "store": f"sqlite:///{tmp_path}/tasks.db",
        "push": True, "push_allow": "127.0.0.0/8",
    }  # fmt: skip
    async with hook() as receiver, serving(scripted_agent(), **settings) as served:
        async with connect(served.server.grpc_address) as client:
            config = TaskPushNotificationConfig(url=f"http://127.0.0.1:{receiver.port}/{SECRET}")
            task = await client.send(SECRET, push_config=config)
            assert isinstance(task, Task)
            with pytest.raises(TaskNotFoundError):
                await client.get(SECRET)
            await eventually(lambda: _more(len(receiver.received), 0))
            url = served.server.http_url
            assert url is not None
            calls = {("SendStreamingMessage", "OK", ""): 1, ("GetTask", "NOT_FOUND", ""): 1}
            found = await scraped_with(url, calls, "a2a_grpc_push_duration_seconds_count")
    runs = {labels["a2a_grpc_run_state"]: value for labels, value in found["a2a_grpc_runs"]}
    assert runs == {"waiting": 0, "playing": 0, "asking": 0, "answering": 0, "ending": 0}
    assert found["a2a_grpc_run_duration_seconds_count"] == [({"a2a_task_state": "TASK_STATE_COMPLETED"}, 1)]
    assert found["a2a_grpc_run_queue_duration_seconds_count"][0][1] == 1
    assert found["a2a_grpc_events_appended_total"][0][1] >= 3
    assert found["a2a_grpc_commit_size_count"][0][1] >= 1
    assert found["a2a_grpc_commit_duration_seconds_count"][0][1] >= 1
    assert 0 <= found["a2a_grpc_lease_age_seconds"][0][1] < 60
    assert found["a2a_grpc_push_duration_seconds_count"][0][0]["a2a_grpc_push_verdict"] == "delivered"
    assert {labels["a2a_grpc_call_kind"] for labels, _ in found["a2a_grpc_calls_open"]} == {"unary", "stream"}
    assert len(found["a2a_grpc_followers"]) == 2


async def test_two_servers_of_a_process_add_up_and_the_counters_of_one_that_is_closed_stay(
    readings: InMemoryMetricReader,
) -> None:
    async with serving(scripted_agent()) as one, connect(one.server.grpc_address) as client:
        await client.send("hello")
        async with serving(scripted_agent()) as other, connect(other.server.grpc_address) as second:
            await second.send("hello")
            both = value_of(readings, "a2a_grpc.events.appended")
            await eventually(lambda: _equal(value_of(readings, "a2a_grpc.runs"), 0))
        assert value_of(readings, "a2a_grpc.events.appended") == both > 0
        assert value_of(readings, "a2a_grpc.runs") == 0
        await client.send("hello")
        assert value_of(readings, "a2a_grpc.events.appended") == both * 3 / 2


@covers("SEC-10")
async def test_prometheus_reads_the_metrics_of_a_sentinel() -> None:
    async with sentinel(http_listen="127.0.0.1:0", metrics=True) as front:
        async with attached(scripted_agent(), front.address), connect(front.address, tenant=ADDRESS) as client:
            await client.send(SECRET)
            assert front.http_url is not None
            found = await scraped_with(front.http_url, {("SendStreamingMessage", "OK", ""): 1})
    assert found["a2a_grpc_sentinel_tunnels"] == [({}, 1)]
    assert found["a2a_grpc_sentinel_pipes"][0][1] >= 1


async def test_a_sentinel_reports_its_agents_their_pipes_and_refused_callers(readings: InMemoryMetricReader) -> None:
    async with sentinel(auth=[by_token]) as front:
        async with attached(scripted_agent(), front.address, token="ann"):
            async with connect(front.address, tenant=ADDRESS, credentials=bearer("ann")) as client:
                await client.send("hello")
                with pytest.raises(UnauthenticatedError):
                    async with connect(front.address, tenant=ADDRESS) as stranger:
                        await stranger.get("t-0")
                assert value_of(readings, "a2a_grpc.sentinel.tunnels") == 1
                assert value_of(readings, "a2a_grpc.sentinel.pipes") >= 1
                assert value_of(readings, "a2a_grpc.auth.refusals") == 1


async def test_every_metric_and_label_is_one_of_the_page_of_names(readings: InMemoryMetricReader) -> None:
    known = {metric.name: set(metric.labels) for metric in METRICS}
    async with serving(scripted_agent()) as served, connect(served.server.grpc_address) as client:
        await client.send("hello")
        found = {metric.name: metric for metric in metrics_of(readings)}
    assert found.keys() <= known.keys()
    assert {"rpc.client.call.duration", "rpc.server.call.duration", "a2a_grpc.runs"} <= found.keys()
    for name, metric in found.items():
        assert all(set(point.attributes) <= known[name] for point in metric.data.data_points), name


async def test_metrics_without_their_package_are_refused_with_the_extra() -> None:
    code = "import sys; sys.modules['opentelemetry.exporter.prometheus'] = None\nfrom a2a_grpc.cli import main\nmain()"
    command = ("-c", code, "serve", "servers/scripted.py", "--metrics", "--listen=127.0.0.1:0", "--http-listen=off")
    _, _, err = await run_program(*command)
    assert err.splitlines()[-1].endswith(
        'metrics needs opentelemetry-exporter-prometheus: pip install "a2a-grpc[prometheus]"'
    )


def metrics_of(readings: InMemoryMetricReader) -> list[Any]:
    gathered: Any = readings.get_metrics_data()
    return [metric for found in gathered.resource_metrics for scope in found.scope_metrics for metric in scope.metrics]


def value_of(readings: InMemoryMetricReader, name: str) -> float:
    [metric] = [metric for metric in metrics_of(readings) if metric.name == name]
    return float(sum(point.value for point in metric.data.data_points))


def _equal(found: float, expected: float) -> None:
    assert found == expected


def _more(seen: int, least: int) -> None:
    assert seen > least


async def test_the_duration_of_a_canceled_run_is_that_of_all_its_work(readings: InMemoryMetricReader) -> None:
    async with serving(scripted_agent()) as one, connect(one.server.grpc_address) as client:
        task = await client.start(Part(data=value({"script": [{"sleep": 60}]})))
        assert isinstance(task, Task)
        task_id = task.id

        async def is_working() -> None:
            assert (await client.get(task_id)).status.state == TaskState.TASK_STATE_WORKING

        await eventually(is_working)
        await asyncio.sleep(0.5)  # the work
        await client.cancel(task.id)
        [metric] = [metric for metric in metrics_of(readings) if metric.name == "a2a_grpc.run.duration"]
        [point] = metric.data.data_points
    assert (point.count, point.sum >= 0.5) == (1, True)
