"""The alert rules and the dashboard: promtool accepts them, and the metrics that they name are those of `/metrics`."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from a2a_grpc.telemetry.metrics import METRICS
from a2a_grpc.telemetry.prometheus import Scrape
from tests.deploy.proxies import DEPLOY
from tests.tools import find, need


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


def shown() -> set[str]:
    """Return the names of the samples that `/metrics` has if each metric of the package was used."""
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
        return {sample.name for family in families for sample in family.samples}
    finally:
        scrape.close()


def test_every_metric_and_label_of_the_alerts_and_the_dashboard_exists() -> None:
    labels = {label.replace(".", "_") for metric in METRICS for label in metric.labels}
    known = shown() | labels | {"up"}
    for query in [*queries(), *(rule["expr"] for rule in rules())]:
        named = set(re.findall(r"\bup\b|\b(?:a2a|rpc)_\w+", query))
        assert named, query
        assert named <= known, query


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


def test_the_panels_have_ids_and_places_of_their_own() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()}) == len(panels())
    assert len({panel["title"] for panel in panels()}) == len(panels())
