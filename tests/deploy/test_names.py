"""What the files of deploy/ name exists: settings, paths, options."""

import re

import pytest

from tests.deploy.proxies import DEPLOY
from tests.harness import ROOT

FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_file_names_settings_and_files_that_exist(path: "object") -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    settings = (ROOT / "docs/settings.md").read_text()
    for name in re.findall(r"\bA2A_GRPC_\w+", text):
        assert f"`{name}`" in settings or name == "A2A_GRPC_AGENT", name
    for option in re.findall(r"(?<= )--(?:drain|cancel|listen|http-listen|max-receive)[\w-]*", text):
        assert f"`{option}`" in settings, option
    for name in re.findall(r"\b(?:deploy|docs|servers)/[\w./-]*\w", text):
        assert (ROOT / name).exists() or name.startswith("deploy/secrets"), name
