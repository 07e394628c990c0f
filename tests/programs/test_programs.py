"""The programs of servers/ and clients/, each run as a user runs it."""

import asyncio
import re
import subprocess
import sys

import pytest

from tests.covers import covers
from tests.harness import ROOT, Program, run_program

PROGRAMS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("servers", "clients")
    for path in (ROOT / folder).glob("*.py")
    if '__name__ == "__main__"' in path.read_text()
)

HALF_WAY = r"""\[STATUS\] WORKING
\[DATA \] progress: 0\.1
\[DATA \] progress: 0\.2
\[DATA \] progress: 0\.3
\[DATA \] progress: 0\.4
\[DATA \] progress: 0\.5
Canceling task [0-9a-f-]{36}
(?:\[DATA \] progress: 0\.[6-9]\n)*\[STATUS\] CANCELED
"""
"""The transcript. On a busy machine the agent takes a step or two more until the request to cancel arrives."""


@pytest.mark.few
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_program_explains_itself(program: str) -> None:
    exit_code, out, err = await run_program(program, "--help")
    assert (exit_code, err) == (0, "")
    assert "usage" in out.lower()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_short_enough_to_read(program: str) -> None:
    assert len((ROOT / program).read_text().splitlines()) <= 80


@covers("S0-29")
async def test_the_cancellable_pair_prints_the_transcript() -> None:
    async with Program.server("servers/cancellable.py") as agent:
        exit_code, out, err = await run_program(
            "clients/cancellable.py", "--agent", agent.address, "--step-seconds=0.25"
        )
    assert (exit_code, err) == (0, "")
    assert re.fullmatch(HALF_WAY, out), out


@pytest.mark.long
@pytest.mark.parametrize("stubs", ["synchronous", "asynchronous"])
async def test_python_stubs_print_it_then_what_an_error_says_and_what_leaving_a_stream_does(stubs: str) -> None:
    async with Program.server("servers/cancellable.py") as agent:
        program = f"clients/python-stubs/{stubs}.py"
        exit_code, out, err = await run_program(program, "--card", agent.http, "--step-seconds=0.25")
    assert (exit_code, err) == (0, "")
    told, error, left = re.fullmatch(r"(.*\[STATUS\] CANCELED\n)(.*\n)(.*\n)", out, re.DOTALL).groups()  # type: ignore[union-attr]
    assert re.fullmatch(HALF_WAY, told), told
    assert error == "[ERROR] NOT_FOUND TASK_NOT_FOUND task_id=no-such-task\n"
    assert left == "[LEFT ] stream CANCELLED, task WORKING\n"


@pytest.mark.long
@pytest.mark.parametrize("stubs", ["synchronous", "asynchronous"])
async def test_python_stubs_say_in_a_line_what_is_wrong(stubs: str) -> None:
    program = f"clients/python-stubs/{stubs}.py"
    exit_code, out, err = await run_program(program, "--card", "http://127.0.0.1:9")
    assert (exit_code, out) == (1, "")
    refused = "[Errno 111] Connection refused"
    assert err == f"Error: cannot fetch http://127.0.0.1:9/.well-known/agent-card.json: {refused}\n"
    async with Program.server("servers/cancellable.py", "--advertise=127.0.0.1:9") as agent:
        exit_code, out, err = await run_program(program, "--card", agent.http)
    assert (exit_code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("Error: UNAVAILABLE: ")


@pytest.mark.long
async def test_the_cancellable_task_completes_if_nobody_cancels_it() -> None:
    async with Program.server("servers/cancellable.py") as agent:
        options = ("--agent", agent.address, "--steps=4", "--step-seconds=0.05", "--cancel-at=2")
        exit_code, out, _ = await run_program("clients/cancellable.py", *options)
    assert exit_code == 0
    assert out.splitlines()[-2:] == ["[DATA ] progress: 1.0", "[STATUS] COMPLETED"]


ORDERS = ["sentinel,agent,client", "agent,sentinel,client", "client,agent,sentinel", "client,sentinel,agent"]


@covers("S0-1", "S0-11", "S0-28", "S0-29", "S0-39", "S0-48")
@pytest.mark.few
@pytest.mark.parametrize("order", ORDERS)
async def test_the_demonstration_runs_sentinel_agent_and_client_in_any_order(order: str) -> None:
    options = ("--listen=127.0.0.1:0", f"--order={order}", "--step-seconds=0.3")
    exit_code, out, err = await run_program("clients/demo.py", *options)
    assert exit_code == 0, err
    assert len(re.findall(r"^Starting the sentinel at 127\.0\.0\.1:\d+$", out, re.MULTILINE)) == 1
    transcript = re.sub(r"Starting the .*\n", "", out)
    assert re.fullmatch(HALF_WAY, transcript), out
    assert ("not attached" in err) == (order.index("agent") < order.index("sentinel")), err


@covers("S0-41")
@pytest.mark.long
async def test_the_demonstration_names_a_port_that_is_taken() -> None:
    async with Program("servers/sentinel.py", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off") as other:
        exit_code, out, err = await run_program("clients/demo.py", f"--listen={other.address}")
    assert (exit_code, out) == (2, f"Starting the sentinel at {other.address}\n")
    assert err == (
        f"Error: cannot listen on {other.address} for gRPC: address already in use; stop the program that listens "
        "there, or choose another port with listen (--listen)\n"
    )


@pytest.mark.long
async def test_make_demo_runs_the_demonstration() -> None:
    process = await asyncio.create_subprocess_exec(
        "make", "--silent", "demo", "ARGS=--listen=127.0.0.1:0", cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    assert re.search(rf"\nStarting the client\n{HALF_WAY}\Z", out.decode()), out.decode()


async def test_the_translator_translates_and_asks_for_the_language_where_it_is_missing() -> None:
    async with Program.server("servers/translator.py") as agent:
        exit_code, out, err = await run_program("clients/translator.py", "--agent", agent.address)
    assert (exit_code, err) == (0, "")
    identifier = r"[0-9a-f-]{36}"
    assert re.fullmatch(
        rf"""Sending task "Translate 'hello' to French" to {agent.address}
Task created! ID: {identifier}, State: SUBMITTED
State: WORKING
Result: Bonjour
State: COMPLETED
Sending task "Translate 'thank you'" to {agent.address}
Task created! ID: {identifier}, State: SUBMITTED
State: WORKING
State: INPUT_REQUIRED Into which language\? I know French, German, Spanish\.
Answering 'French'
Result: Merci
State: COMPLETED
""",
        out,
    ), out


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("Translate 'cat' to French", "State: FAILED I do not know 'cat' in French."),
        ("Translate 'hello' to Klingon", "State: FAILED I do not know Klingon; I know French, German, Spanish."),
        ("Bonjour?", "State: FAILED Put what to translate in quotes: Translate 'hello' to French."),
        ("Translate 'Hello world' into German", "State: COMPLETED"),
    ],
)
async def test_the_translator_says_what_it_does_not_know(text: str, end: str) -> None:
    async with Program.server("servers/translator.py") as agent:
        _, out, _ = await run_program("clients/translator.py", "--agent", agent.address, "--text", text)
    assert out.splitlines()[-1] == end


@pytest.mark.long
async def test_the_storyteller_is_heard_word_by_word() -> None:
    async with Program.server("servers/streaming_text.py") as agent:
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "clients/streaming_text.py",
            "--agent",
            agent.address,
            "a cat",
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert client.stdout is not None
        first = await client.stdout.read(64)
        assert first.startswith(b"Once ")
        assert b"stayed" not in first, "the first words come before the last are made"
        rest = await client.stdout.read()
        await client.wait()
    assert (first + rest).decode() == (
        "Once there was a cat. Nobody had asked for it, but everybody came to see it, and so it stayed. \n"
    )
