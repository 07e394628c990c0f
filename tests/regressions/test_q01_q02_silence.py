"""Q1, Q2: silence is not an end. In `make test-all` a program of its own waits it through, from the start on."""

import json
import subprocess
from typing import Any

import pytest

from a2a_grpc.lifecycle import COMPLETED, SUBMITTED, WORKING
from tests.covers import covers

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def silence(silent_program: "subprocess.Popen[str]") -> dict[str, Any]:
    """What came of the calls that waited."""
    out, err = silent_program.communicate()
    assert silent_program.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@covers("Q1")
def test_a_stream_silent_for_40_s_ends_completed_with_defaults(silence: dict[str, Any]) -> None:
    assert silence["stream"]["states"][-1] == COMPLETED
    assert silence["stream"]["code"] == "OK"


@covers("Q1")
def test_a_subscription_silent_for_40_s_ends_completed_with_defaults(silence: dict[str, Any]) -> None:
    assert silence["subscription"]["states"][-1] == COMPLETED
    assert silence["subscription"]["code"] == "OK"


@covers("Q1")
def test_a_blocking_send_silent_for_40_s_ends_completed_with_defaults(silence: dict[str, Any]) -> None:
    assert silence["blocking_send"] == COMPLETED


@covers("Q2")
def test_a_stream_of_a_client_that_pings_every_10_s_survives_45_s_of_silence(silence: dict[str, Any]) -> None:
    assert silence["pinging_stream"]["states"][-1] == COMPLETED
    assert silence["pinging_stream"]["code"] == "OK"


@covers("Q2")
def test_a_connection_without_calls_that_pings_every_10_s_is_never_cut(silence: dict[str, Any]) -> None:
    assert silence["idle_states"] == ["READY"]
    assert silence["idle_tasks"] == 4


@covers("Q2")
def test_a_silent_stream_without_keepalive_carries_no_byte(silence: dict[str, Any]) -> None:
    assert silence["bytes_without_keepalive"] == 0


@covers("Q1")
@pytest.mark.parametrize("operation", ["send", "wait"])
def test_the_client_waits_through_65_s_of_silence_with_defaults(silence: dict[str, Any], operation: str) -> None:
    assert silence["client"][operation]["states"] == [COMPLETED]
    assert silence["client"][operation]["connections"] == 1


@covers("Q1", "S2-29")
def test_a_clients_stream_silent_for_65_s_ends_completed_with_defaults(silence: dict[str, Any]) -> None:
    assert silence["client"]["stream"]["states"] == [SUBMITTED, WORKING, COMPLETED]
    assert silence["client"]["stream"]["connections"] == 1


@covers("S2-28")
def test_a_clients_silent_stream_carries_no_byte_without_keepalive(silence: dict[str, Any]) -> None:
    assert silence["client"]["stream without keepalive"]["states"] == [SUBMITTED, WORKING, COMPLETED]
    assert silence["client"]["stream without keepalive"]["bytes_while_silent"] == 0


@covers("Q2")
def test_a_client_that_keeps_its_connection_alive_is_never_cut(silence: dict[str, Any]) -> None:
    assert silence["client"]["stream with keepalive"]["states"] == [SUBMITTED, WORKING, COMPLETED]
    assert silence["client"]["stream with keepalive"]["connections"] == 1
    assert silence["client"]["stream with keepalive"]["bytes_while_silent"] > 0


@covers("S2-15")
def test_a_connection_that_stalls_is_noticed_with_keepalive_and_its_stream_resumed(
    silence: dict[str, Any],
) -> None:
    assert silence["client"]["stream with keepalive that stalls"]["states"] == [SUBMITTED, WORKING, COMPLETED]
    assert silence["client"]["stream with keepalive that stalls"]["connections"] == 2
