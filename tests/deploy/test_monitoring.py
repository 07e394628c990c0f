"""The alert rules and the dashboard: promtool accepts them, and the metrics that they name are those of `/metrics`."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import grpc
import yaml
from prometheus_client.parser import text_string_to_metric_families

from a2a_grpc.telemetry.metrics import METRICS
from a2a_grpc.telemetry.prometheus import Scrape
from a2a_grpc.wire import SERVICE, SERVICE_NAME, TaskState
from tests.deploy.proxies import DEPLOY
from tests.tools import find, need

OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus adds, and that of the buckets of a histogram."""
VALUES = {
    "rpc_status_code": [code.name for code in grpc.StatusCode],
    "rpc_method": [f"{SERVICE_NAME}/{name}" for name in SERVICE.methods_by_name],
    "a2a_task_state": TaskState.keys(),
    "a2a_grpc_follower_state": ["current", "behind"],
}
"""Labels that have one of these values."""


def promtool(*arguments: str | Path) -> None:
    need("promtool", remedy="apt-get install prometheus")
    done = subprocess.run([find("promtool", "prometheus"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    listed: list[dict[str, Any]] = group["rules"]
    return listed


def panels() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    return listed


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def shown() -> dict[str, set[str]]:
    """Return the samples that `/metrics` has if each metric of the package was used: their names, with their labels."""
    scrape = Scrape()
    try:
        for metric in METRICS:
            labels = dict.fromkeys(metric.labels, "any")
            match metric.kind:
                case "counter":
                    scrape.meter.create_counter(metric.name, metric.unit).add(0, labels)
                case "histogram":
                    scrape.meter.create_histogram(metric.name, metric.unit).record(0, labels)
                case "gauge":
                    scrape.meter.create_gauge(metric.name, metric.unit).set(0, labels)
        families = text_string_to_metric_families(scrape.text().decode())
        return {sample.name: set(sample.labels) for family in families for sample in family.samples}
    finally:
        scrape.close()


def test_every_metric_and_label_of_the_alerts_and_the_dashboard_exists() -> None:
    known = {name: labels | OF_PROMETHEUS for name, labels in shown().items()} | {"up": OF_PROMETHEUS}
    for query in [*queries(), *(rule["expr"] for rule in rules())]:
        bare = re.sub(r'"[^"]*"', "", query)
        grouped = {label for labels in re.findall(r"\bby \(([^)]*)\)", bare) for label in re.findall(r"\w+", labels)}
        without_labels = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", bare)
        named = set(re.findall(r"\bup\b|\b(?:a2a|rpc)_\w+", without_labels))
        assert named, query
        assert named <= known.keys(), query
        for name in named:
            chosen = {
                label for labels in re.findall(rf"\b{name}\{{([^}}]*)", bare) for label in re.findall(r"\w+", labels)
            }
            assert grouped | chosen <= known[name], query
        for label, value in re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"', query):
            assert label not in VALUES or any(re.fullmatch(value, each) for each in VALUES[label]), f"{label}: {query}"


def test_every_alert_fires_in_one_example_and_is_silent_in_another() -> None:
    tests = yaml.safe_load((DEPLOY / "alerts.test.yml").read_text())["tests"]
    examples = [(each["alertname"], bool(each["exp_alerts"])) for test in tests for each in test["alert_rule_test"]]
    assert set(examples) == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def test_promtool_accepts_the_alerts_and_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    promtool("check", "config", DEPLOY / "prometheus.yml")
    promtool("test", "rules", DEPLOY / "alerts.test.yml")
    recorded = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(queries())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", path)


def test_the_panels_have_ids_places_and_titles_of_their_own_and_units() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()}) == len(panels())
    assert len({panel["title"] for panel in panels()} - {""}) == len(panels())
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
