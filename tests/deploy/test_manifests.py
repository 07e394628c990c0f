"""The manifests of Kubernetes and the unit of systemd: their own tools accept them, and what they name exists."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.dockerfile import command, texts
from tests.deploy.proxies import DEPLOY
from tests.harness import ROOT
from tests.tools import MissingProgram, find, need, skip_without

KUBECONFORM = ROOT / "bin" / "kubeconform"
SCHEMAS = ROOT / ".cache/kubernetes/schemas"
UNIT = DEPLOY / "a2a-agent@.service"


def manifests() -> dict[str, Any]:
    """Return each resource, by its kind."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return {each["kind"]: each for file in files for each in yaml.safe_load_all(file.read_text())}


def kubeconform(text: str) -> tuple[int, str]:
    """Check manifests, with no unknown field allowed. Return the exit code, and what was found."""
    if not (KUBECONFORM.exists() and SCHEMAS.exists()):
        skip_without(MissingProgram("kubeconform", "make kubeconform"))
    where = str(SCHEMAS / "{{.ResourceKind}}{{.KindSuffix}}.json")
    done = subprocess.run(
        [KUBECONFORM, "-strict", "-schema-location", where, "-"], input=text, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["agent.yaml", "migrate.yaml"])
def test_kubeconform_accepts_the_manifests_and_no_misspelled_field(name: str) -> None:
    text = (DEPLOY / "kubernetes" / name).read_text()
    assert kubeconform(text) == (0, "")
    code, found = kubeconform(text.replace("readOnlyRootFilesystem", "readOnlyRoot"))
    assert code == 1
    assert "'readOnlyRoot' not allowed" in found


def test_kubernetes_waits_longer_than_a_replica_drains() -> None:
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (grace,) = (float(each["value"]) for each in container["env"] if each["name"] == "A2A_GRPC_DRAIN_GRACE_S")
    program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    assert float(seconds) + grace + 5 + 4 < pod["terminationGracePeriodSeconds"]


def test_the_manifests_fit_each_other_and_the_image() -> None:
    kinds = manifests()
    deployment = kinds["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert kinds["Service"]["spec"]["clusterIP"] == "None"
    assert kinds["Service"]["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (migration,) = kinds["Job"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == migration["image"]
    assert container["args"] == command("CMD")
    ports = [str(port["containerPort"]) for port in container["ports"]]
    assert " ".join(ports) == texts("EXPOSE")[0]
    assert str(container["readinessProbe"]["grpc"]["port"]) == ports[0]
    for kind in ("Deployment", "Job"):
        context = kinds[kind]["spec"]["template"]["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == texts("USER")[0]


def test_systemd_finds_nothing_in_the_unit(tmp_path: Path) -> None:
    need("systemd-analyze", remedy="apt-get install systemd")
    text = UNIT.read_text()
    (program,) = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert program.endswith("/a2a-grpc")

    def verified(text: str) -> tuple[int, str]:
        unit = tmp_path / UNIT.name
        unit.write_text(text.replace(program, "/bin/true"))  # here is no /srv/a2a-agent
        done = subprocess.run(
            [find("systemd-analyze", "systemd"), "verify", unit.with_name("a2a-agent@1.service")],
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    assert verified(text) == (0, "")
    assert "mixedd" in verified(text.replace("KillMode=mixed", "KillMode=mixedd"))[1]
