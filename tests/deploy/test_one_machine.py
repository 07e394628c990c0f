"""The steps of docs/deploy.md for one machine, typed one after the other as root, with the files of deploy/.

They run in name spaces of their own, so `/etc`, `/opt`, `/srv` and the ports are those of a new machine. `machine.py`
has the few programs that are not Debian's own.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.proxies import DEPLOY
from tests.docs.pages import blocks
from tests.docs.shell import Shell, matches
from tests.harness import ROOT
from tests.tools import need, skip_without

ALONE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
PROGRAMS = ("apt-get", "git", "python3", "systemctl")
FRESH = """
ip link set lo up
mount -t tmpfs tmpfs "$PLACE"
mkdir "$PLACE"/programs
for name in {programs}; do
  printf '#!/bin/sh\\nexec {python} {machine} %s "$@"\\n' $name > "$PLACE"/programs/$name
done
chmod +x "$PLACE"/programs/*
for folder in etc opt srv usr/local/bin; do
  mkdir -p "$PLACE"/$folder/new "$PLACE"/$folder/work
  mount -t overlay overlay -o lowerdir=/$folder,upperdir="$PLACE"/$folder/new,workdir="$PLACE"/$folder/work /$folder
done
mount -t tmpfs tmpfs /run
mkdir /opt/packages /opt/python
mount --bind {packages} /opt/packages
mount --bind {prefix} /opt/python
PATH="$PLACE/programs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""


@pytest.mark.long
@pytest.mark.first
def test_the_steps_of_the_page_lead_from_an_empty_machine_to_three_replicas(tmp_path: Path) -> None:
    if sys.platform != "linux" or subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        skip_without("a machine of its own is not reachable: unshare needs root, on Linux")
    need("haproxy", "postgres", "prometheus", "promtool")
    how = f"played by: tests/deploy/{Path(__file__).name}"
    steps = [block for block in blocks(ROOT / "docs" / "deploy.md") if block.how == how]
    [packages] = {path for path in sys.path if path.endswith("site-packages")}
    fresh = FRESH.format(
        programs=" ".join(PROGRAMS), python=sys.executable, machine=Path(__file__).with_name("machine.py"),
        packages=packages, prefix=sys.base_prefix,
    )  # fmt: skip
    place = tmp_path / "place"
    place.mkdir()
    printed = ""
    shell = Shell(tmp_path, before=ALONE, PLACE=str(place), CHECKOUT=str(ROOT))
    try:
        said = shell.run(fresh)
        assert shell.failed == [], said
        for step in steps:
            if step.kind == "sh":
                printed = shell.run(step.text)
                failed = shell.failed
                logs = "" if not failed else shell.run("tail -n 20 /run/machine/*.log")
                assert failed == [], f"line {step.line}: {printed}{logs}"
            else:
                shown = re.sub(r'"pid": \d+', '"pid": …', step.text)
                assert matches(printed, shown) is not None, printed
            if "systemctl enable" in step.text or "systemctl restart a2a-agent" in step.text:
                assert printed.count("ready") == 3
        rules = json.loads((tmp_path / "rules.json").read_text())["data"]["groups"]
        (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
        assert [rule["name"] for each in rules for rule in each["rules"]] == [rule["alert"] for rule in group["rules"]]
        called = shell.run(next(step.text for step in steps if "a2a-grpc send" in step.text))
        assert "COMPLETED" in called, called  # after the upgrade
    finally:
        shell.close()
