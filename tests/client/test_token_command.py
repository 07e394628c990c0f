"""Tokens that a command prints: without a shell, within limits, run once for all who need it."""

import asyncio
import json
import shlex
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import connect
from a2a_grpc.client import CredentialsUnavailableError, token_command
from a2a_grpc.client.command import MAX_OUTPUT_BYTES
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnauthenticatedError
from tests.client.authority import expiring
from tests.client.peers import Failure, Peer, peering
from tests.client.test_credentials import authorizations, told
from tests.harness import eventually

SECRET = "s3cr3t-canary"


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def printing(text: str) -> list[str]:
    return python(f"print({text!r})")


def counting(folder: Path, text: str) -> list[str]:
    """A command that prints a text with the number of its runs in place of `#`."""
    return python(
        f"import pathlib; f = pathlib.Path({str(folder / 'runs')!r}); n = int(f.read_text()) + 1 if f.exists() else 1\n"
        f"f.write_text(str(n)); print({text!r}.replace('#', str(n)))"
    )


async def first_of(command: Any, **options: Any) -> str:
    _, value = await token_command(command, **options)()
    return value


@pytest.mark.parametrize(
    "output",
    [SECRET, f"  {SECRET}\n\n", json.dumps({"access_token": SECRET}), json.dumps({"access_token": f" {SECRET} "})],
)
async def test_the_output_is_a_token_or_json(output: str) -> None:
    async with peering() as peer, connect(peer.address, credentials=token_command(printing(output))) as client:
        await client.get("t-1")
    assert authorizations(peer) == [[f"Bearer {SECRET}"]]


async def test_a_text_is_split_as_a_shell_does_and_no_shell_runs(tmp_path: Path) -> None:
    script = tmp_path / "with space.py"
    script.write_text("import sys; print('-'.join(sys.argv[1:]))")
    value = await first_of(f"{sys.executable} {shlex.quote(str(script))} 'a b' $HOME ; x")
    assert value == "Bearer a b-$HOME-;-x"


@pytest.mark.parametrize(
    ("output", "runs"),
    [
        ("token-#", 1),
        (json.dumps({"access_token": "token-#", "expires_in": 3600}), 1),
        (json.dumps({"access_token": "token-#", "expires_in": 0}), 3),
        (json.dumps({"access_token": "token-#", "expiration": time.time() + 3600}), 1),
        (json.dumps({"access_token": "token-#", "expiration": "2099-01-01T00:00:00Z"}), 1),
        (json.dumps({"access_token": "token-#", "expiration": "2000-01-01T00:00:00"}), 3),
        (expiring(3600), 1),
        (expiring(-10), 3),
    ],
    ids=["text", "seconds", "no seconds", "time", "date", "past date", "token", "past token"],  # not the time of now
)
async def test_the_command_runs_again_when_the_token_ends(tmp_path: Path, output: str, runs: int) -> None:
    credentials = token_command(counting(tmp_path, output))
    async with peering() as peer, connect(peer.address, credentials=credentials) as client:
        for _ in range(3):
            await client.get("t-1")
    assert (tmp_path / "runs").read_text() == str(runs)


async def test_100_calls_wait_for_one_run(tmp_path: Path) -> None:
    credentials = token_command(counting(tmp_path, "token-#"))
    async with peering() as peer, connect(peer.address, credentials=credentials) as client:
        await asyncio.gather(*(client.get("t-1") for _ in range(100)))
    assert authorizations(peer) == [["Bearer token-1"]] * 100


async def test_the_command_runs_again_if_the_agent_refuses_the_token(tmp_path: Path) -> None:
    peer = Peer(failures=[Failure.of(UnauthenticatedError())])
    credentials = token_command(counting(tmp_path, "token-#"))
    async with peering(peer), connect(peer.address, credentials=credentials) as client:
        await client.get("t-1")
    assert authorizations(peer) == [["Bearer token-1"], ["Bearer token-2"]]


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (f"print({SECRET!r}); raise SystemExit(3)", UnauthenticatedError, "ended with exit code 3"),
        ("pass", ConfigurationError, "printed no token"),
        (f"print({SECRET!r}); print({SECRET!r})", ConfigurationError, "printed no token"),
        (f"import sys; sys.stdout.buffer.write({SECRET.encode()!r} + bytes([255]))", ConfigurationError, "characters"),
        (f"print('{{' + {SECRET!r})", ConfigurationError, "neither a token nor JSON"),
        ("print('{}')", ConfigurationError, "without a text 'access_token'"),
        ("print('{\"access_token\": 1}')", ConfigurationError, "without a text 'access_token'"),
        (
            f'print(\'{{"access_token": "{SECRET}", "expiration": "soon"}}\')',
            ConfigurationError,
            "'expiration' that is neither",
        ),
        (f"print({SECRET!r} * {MAX_OUTPUT_BYTES})", ConfigurationError, f"more than {MAX_OUTPUT_BYTES} bytes"),
    ],
)
async def test_errors_name_the_command_and_not_its_output(code: str, error: type[Exception], said: str) -> None:
    async with peering() as peer, connect(peer.address, credentials=token_command(python(code))) as client:
        with pytest.raises(error, match=said) as refused:
            await client.get("t-1")
    assert sys.executable in str(refused.value)
    assert SECRET not in told(refused.value)
    assert peer.calls == []


async def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    child = f"import time; time.sleep(600)  # {uuid.uuid4()}"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); {child}"
    with pytest.raises(CredentialsUnavailableError, match=r"did not end within 0\.5 s"):
        await first_of(python(code), timeout_s=0.5)
    await eventually(lambda: gone(child))


def gone(code: str) -> None:
    assert code not in processes()


def processes() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            pass
    return found


async def test_a_canceled_call_ends_the_command() -> None:
    code = f"import time; time.sleep(600)  # {uuid.uuid4()}"
    call = asyncio.create_task(first_of(python(code)))
    while code not in processes():
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: gone(code))


@pytest.mark.parametrize(("command", "said"), [("", "is empty"), ("'", "cannot be read"), ([], "is empty")])
def test_a_command_that_is_none_is_refused(command: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        token_command(command)


@pytest.mark.parametrize("command", ["/nowhere/helper", ["/nowhere/helper"], ["/tmp"]])
async def test_a_command_that_cannot_be_started_is_named(command: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be started: "):
        await first_of(command)
