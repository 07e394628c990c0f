"""`a2a-grpc top`: what a server does, from its own metrics."""

import json
import re

import pytest

from a2a_grpc.cli.readings import Reading, shown
from a2a_grpc.cli.top import _finite
from a2a_grpc.client import connect
from tests.cli.terminal import Done, error_of, objects, plain, run, running
from tests.client.peers import Page, Site
from tests.harness import scripted_agent, serving

UNREACHABLE = 3


def reading(at_s: float, *, calls: int, seconds: float, runs: int = 0) -> Reading:
    name = "rpc_server_call_duration_seconds"
    labels = '{rpc_method="lf.a2a.v1.A2AService/GetTask",rpc_status_code="OK"}'
    lines = [
        f"# TYPE {name} histogram",
        f'{name}_bucket{{le="+Inf",{labels[1:]} {calls}',
        f"{name}_sum{labels} {seconds}",
        f"{name}_count{labels} {calls}",
        "# TYPE a2a_grpc_runs gauge",
        f'a2a_grpc_runs{{a2a_grpc_run_state="playing"}} {runs}',
        "",
    ]
    return Reading("\n".join(lines), at_s)


def test_rates_and_means_are_those_between_two_readings_also_over_a_restart() -> None:
    first, second = reading(10.0, calls=100, seconds=50.0), reading(12.0, calls=120, seconds=51.0, runs=3)
    found = shown(first, second)
    assert found["calls"]["per_s"] == 10.0
    assert found["calls"]["mean_ms"] == 50.0
    assert found["calls"]["methods"] == {"GetTask": 10.0}
    assert found["runs"]["by_state"] == {"playing": 3}
    assert found["store"]["events_per_s"] is None, "a number that the server does not have is not 0"
    restarted = shown(second, reading(14.0, calls=4, seconds=1.0))
    assert restarted["calls"]["per_s"] == 2.0
    assert shown(second, second)["calls"]["mean_ms"] is None


@pytest.mark.long
async def test_one_interval_of_a_server_at_work_is_shown_in_a_pipe_as_text_and_as_json() -> None:
    async with serving(scripted_agent(), metrics=True, http_listen="127.0.0.1:0") as served:
        url = served.server.http_url
        assert url is not None
        async with (
            connect(served.server.grpc_address) as client,
            running("top", url, "--interval=1", "--once", "-o", "json") as command,
        ):
            while command.process.returncode is None:
                await client.send("hello")
                if command.out.is_over:
                    break
            done = await command.finished()
        [found] = objects(done.out)
        assert (done.code, done.err) == (0, "")
        assert found["calls"]["per_s"] > 0
        assert found["calls"]["open"].keys() == {"unary", "stream"}
        assert found["runs"]["begun_per_s"] > 0
        assert found["runs"]["by_state"].keys() >= {"playing", "waiting"}
        assert found["store"]["lease_age_s"] >= 0
        text = await run("top", f"{url}/metrics", "--interval=0.1", "--once")
        assert text.code == 0
        assert [line.split()[0] for line in text.out.splitlines() if line][1:3] == ["calls", "runs"]


async def test_a_terminal_is_drawn_until_ctrl_c_which_is_no_error() -> None:
    async with serving(scripted_agent(), metrics=True, http_listen="127.0.0.1:0") as served:
        assert served.server.http_url is not None
        async with running("top", served.server.http_url, "--interval=0.1", terminal=True) as command:
            await command.out.until("runs ")
            command.interrupt()
            done = await command.finished()
    assert done.code == 0, done
    assert "Traceback" not in plain(done.out)
    assert "\x1b[?25h" in done.out, "the cursor is shown again"


async def test_a_server_without_metrics_or_none_at_all_is_named_in_one_line() -> None:
    async with serving(scripted_agent(), http_listen="127.0.0.1:0") as served:
        url = served.server.http_url
        said = error_of(await run("top", str(url), "--once"), UNREACHABLE)
    assert said.startswith(f"{url}/metrics is not there; start the server with --metrics")
    assert error_of(await run("top", str(url), "--once"), UNREACHABLE).startswith(f"{url}/metrics cannot be read: ")
    wrong: Done = await run("top", "127.0.0.1:8080", "--once")
    assert "it must be http://… or https://…" in error_of(wrong, 2)


@pytest.mark.parametrize("text", ["<html>", "{} 3\n", "# TYPE a\na{\n", 'a{b="\x1b\n'])
def test_a_text_that_is_no_metrics_is_refused_with_a_reason_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\x00-\x1f]+$"):
        Reading(text, 0.0)


OPEN = 'a2a_grpc_calls_open{a2a_grpc_call_kind="%s"} %s\n'
HOSTILE = {
    "good": OPEN % ("unary", 1),
    "not a number": OPEN % ("unary", "NaN")
    + "rpc_server_call_duration_seconds_count NaN\na2a_grpc_push_age_seconds NaN\n",
    "infinite": "a2a_grpc_followers +Inf\nrpc_server_call_duration_seconds_count +Inf\n",
    "large": 2 * (OPEN % ("unary", "1e308")) + 'rpc_server_call_duration_seconds_count{rpc_method="z"} -1e308\n',
    "lines": OPEN % ("x\\nruns     FORGED\x1b]0;t\x07\u202e", 3),
    "long": OPEN % ("x" * 1_000_000, 3),
    "many": "".join(OPEN % (kind, 1) for kind in range(10_000)),
    "wrong": "{} 3\n",
    "too large": OPEN % ("x" * 3_000_000, 3),
}


async def test_hostile_metrics_write_no_lines_of_their_own_are_cut_and_do_not_end_the_view() -> None:
    pages = [Page(HOSTILE["good"].encode()), *(Page(text.encode()) for text in HOSTILE.values())]
    async with Site(*pages, Page(HOSTILE["good"].encode())) as site:
        async with running("top", f"{site.url}/metrics", "--interval=0.1") as command:
            await command.out.until(f"has more than {2 << 20} bytes")
            command.interrupt()
            done = await command.finished()
    assert (done.code, done.err) == (0, "")
    assert "runs     FORGED" not in done.out.splitlines()
    assert max(len(line) for line in done.out.splitlines()) < 1000
    assert "unary ?" in done.out
    assert "followers ?" in done.out
    assert "(others) 9980" in done.out
    assert "has no metrics of Prometheus: a line cannot be parsed" in done.out
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", done.out)
    infinite = Reading(HOSTILE["infinite"], 1.0)
    assert json.dumps(_finite(shown(Reading("", 0.0), infinite)), allow_nan=False)
