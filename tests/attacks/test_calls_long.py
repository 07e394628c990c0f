"""Attacks from forty connections that look like honest calls, for `make test-all`: a good client goes on.

The limits are such that a busy machine keeps to them. docs/security.md has the figures of a quiet machine.
"""

import pytest

from tests.attacks.calls import CALLS
from tests.attacks.rig import Target, attack, attacked
from tests.attacks.test_floods_long import FORTY_P99_MS

pytestmark = [pytest.mark.long, pytest.mark.alone]

MIB = 200.0
"""Before connections waited, some of these attacks took 250 to 390 MiB."""
SECONDS = 0.8


@pytest.mark.parametrize("name", ["reset_large", "cancel_later", "gzip_4_mib", "mixed"])
async def test_calls_of_forty_connections_end_no_other_call(name: str) -> None:
    assert name in CALLS
    async with Target.ours() as target:
        harm = await attacked(target, attack(name, target, connections=40, seconds=SECONDS, program="calls"))
        harm.check(p99_ms=FORTY_P99_MS, grown_mib=MIB)
