"""Every peer with us, in both directions: each scenario is as specified, or differs in the way that we say it does."""

from typing import Any

import pytest

from tests.interop.peers.checks import CHECKS, Seen
from tests.interop.peers.conftest import Play, need
from tests.interop.peers.deviations import DEVIATIONS, NOTES
from tests.interop.peers.matrix import PASSED, Matrix, Pair
from tests.interop.peers.peers import BEHIND, OURS, PAIRS, TENANT, Peer

pytestmark = pytest.mark.timeout(400)  # the first use of an environment installs it

OFFERED = (
    "urn:a2a-grpc:extension:seq:1",
    "urn:a2a-grpc:extension:artifacts:1",
    "urn:a2a-grpc:extension:idempotent-send:1",
    "urn:a2a-grpc:extension:callback:1",
)


def name_of(pair: Pair) -> str:
    return f"{pair[0]} to {pair[1]}"


@pytest.mark.parametrize("scenario", CHECKS)
@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
async def test_a_client_and_a_server_understand_each_other(
    pair: Pair, scenario: str, play: Play, matrix: Matrix
) -> None:
    client, server = pair
    for peer in pair:
        need(peer.toolchain)
    known = DEVIATIONS.get((client.name, server.name, scenario))
    try:
        check(scenario, (await play(pair))[scenario], server)
    except AssertionError as error:
        if known is None or known.says not in str(error):
            raise
        matrix.put(pair, scenario, str(known.note))
        pytest.xfail(NOTES[known.note])
    assert known is None, f"as specified by now; it used to be otherwise: {NOTES[known.note]}"
    matrix.put(pair, scenario, PASSED)


def check(scenario: str, line: dict[str, Any], server: Peer) -> None:
    assert "died" not in line, line["died"]
    assert "missing" not in line, line["missing"]
    assert "failed" not in line, line["failed"]["text"]
    if server not in (OURS, BEHIND):
        CHECKS[scenario](Seen(line["seen"], exact=False))
        return
    known: dict[str, Any] = {"tenant": server.address or TENANT, "extensions": OFFERED}
    CHECKS[scenario](Seen(line["seen"], exact=True, is_at_sentinel=server is BEHIND, **known))
