"""A test that pytest-timeout ends takes no other test with it."""

from pathlib import Path

import pytest

from tests.harness import ROOT, run_program

TESTS = """
import asyncio

import pytest

from tests.harness import scripted_agent, serving


@pytest.mark.timeout(1)
async def test_that_hangs_with_a_server_and_a_task_at_work():
    async with serving(scripted_agent()) as served:
        await served.start({"sleep": 60})
        await asyncio.sleep(60)


async def test_that_follows(served):
    await served.start({"sleep": 0.1})
"""


@pytest.mark.long
async def test_the_servers_of_a_test_that_timed_out_are_ended_before_the_next_test(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TESTS)
    settings = ("-c", "pyproject.toml", f"--rootdir={ROOT}", "-p", "tests.conftest", "-p", "no:cacheprovider")
    exit_code, out, _ = await run_program("-m", "pytest", *settings, "--tb=no", str(tmp_path / "test_two.py"))
    assert exit_code == 1
    assert "1 failed, 1 passed" in out, out
    assert "error" not in out, out
