"""Two replicas that are restarted in turn under load, behind the files of deploy/: no call fails, no event is lost.

ROLLING_SENDS in the environment is how many messages are sent: 1,000 in `make test-nightly`.
"""

import os
from pathlib import Path

import pytest

from tests.balancers import CONFIGURATIONS
from tests.deploy.proxies import deployed
from tests.rolling import InItsOwnProcess, check
from tests.tools import need

SENDS = int(os.environ.get("ROLLING_SENDS", "300"))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.first
async def test_a_rolling_restart_fails_no_call_and_loses_no_event(kind: str, tmp_path: Path) -> None:
    need(kind)
    replicas = [InItsOwnProcess(f"sqlite:///{tmp_path}/tasks.db") for _ in range(2)]
    async with deployed(kind, {replica.listen: replica.http_listen for replica in replicas}, tmp_path) as front:
        seen = await check(front.connect, replicas, sends=SENDS, count_to=100)
    print(
        f"{kind}: {seen.restarts} restarts, {len(seen.sent)} sends and {seen.reads} reads, {len(seen.failed)} failed, "
        f"{seen.numbers} events of streams, 0 lost"
    )
