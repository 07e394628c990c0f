"""The conformance script of Agentic Resource Discovery (ARD) against a sentinel.

The script is no part of this repository. `make ard` fetches it. A2A_GRPC_TEST_ARD names another copy of its repository.
"""

import os
from pathlib import Path

import pytest

from tests.harness import ROOT, run_program
from tests.sentinel.test_http import HTTP, TRANSLATOR, WEATHER, agents
from tests.sentinel.tunnels import sentinel
from tests.tools import MissingProgram

COPY = Path(os.environ.get("A2A_GRPC_TEST_ARD", ROOT / ".cache" / "ard"))
SCRIPT = COPY / "conformance" / "bin" / "conformance-test"


@pytest.mark.parametrize(
    ("kind", "path"),
    [("manifest", "/.well-known/ai-catalog.json"), ("manifest", "/.well-known/ard.json"), ("registry", "")],
)
async def test_the_conformance_script_of_ard_passes(kind: str, path: str) -> None:
    if not SCRIPT.exists():
        pytest.skip(str(MissingProgram("the conformance script of ARD", "make ard")))  # in CI too
    async with sentinel(http_listen=HTTP) as running, agents(running, WEATHER, TRANSLATOR):
        code, out, err = await run_program(str(SCRIPT), kind, f"{running.http_url}{path}")
        assert (code, "CONFORMANCE STATUS: PASS" in out) == (0, True), out + err
        assert "with 0 critical specification errors and 0 warnings" in out
