"""How every verb ends: an exit code that scripts rely on, and one line that says what went wrong."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc.errors import PermissionDeniedError, UnauthenticatedError
from tests.cli.terminal import Done, at, run, run_all, running
from tests.client.peers import Certificate, Failure, Peer, certificate, peering, silent_port
from tests.harness import Served
from tests.ports import free_address

OK, AGENT_FAILED, USAGE, UNREACHABLE, AUTH, TIMEOUT, PROTOCOL, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130

SECRET = "hunter2"


def error_of(done: Done) -> str:
    """The one line on standard error, without its `Error: `; nothing was printed."""
    assert done.out == "", done
    [line] = done.err.splitlines()
    assert line.startswith("Error: "), line
    return line.removeprefix("Error: ")


# -- each code, from a real situation


async def test_0_where_all_went_well_and_1_where_the_agent_did_not_do_it(served: Served) -> None:
    scripts = [f'{{"script": [{step}]}}' for step in ('{"complete": "a"}', '{"fail": "b"}', '{"reject": "c"}')]
    ended = await run_all(*(("send", at(served), "-d", script) for script in scripts))
    assert [done.code for done in ended] == [OK, AGENT_FAILED, AGENT_FAILED]


async def test_2_for_a_card_file_that_cannot_be_read_whatever_the_verb(tmp_path: Path) -> None:
    missing = str(tmp_path / "nope.json")
    ended = await run_all(("send", "--agent", missing, "hi"), ("card", missing), ("doctor", missing))
    assert [done.code for done in ended] == [USAGE] * 3
    assert error_of(ended[0]) == f"cannot read the card '{missing}': No such file or directory"


async def test_3_where_nobody_answers_whatever_the_verb() -> None:
    address = free_address()
    agent = f"--agent={address}"
    verbs = [
        ("send", "hello"),
        ("push", "list", "t-1"),
        ("card", "--extended"),
    ]
    ended = await run_all(*((*verb, agent, "--connect-timeout-s=0.3") for verb in verbs))
    for verb, done in zip(verbs, ended, strict=True):
        assert done.code == UNREACHABLE, verb
        last = done.err.splitlines()[-1]
        assert last == f"Error: nothing listens at {address}; check the port, and that the agent is running", verb


@dataclass(slots=True)
class Guarded(Peer):
    """A peer that answers whoever shows the secret, as a bearer token or as an API key."""

    async def answer(self, rpc: str, request: Any, context: Any) -> Any:
        entries = {str(key): value for key, value in context.invocation_metadata()}
        if entries.get("authorization") != f"Bearer {SECRET}" and entries.get("x-api-key") != SECRET:
            failure = Failure.of(UnauthenticatedError("this agent wants a token"))
            await context.abort(failure.code, failure.text, failure.trailers)
        return await Peer.answer(self, rpc, request, context)


@pytest.fixture
async def guarded() -> AsyncIterator[str]:
    async with peering(Guarded()) as peer:
        yield f"--agent={peer.address}"


async def test_4_where_credentials_are_missing_or_wrong_or_not_enough(guarded: str, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("hunter3\n")
    commands: list[tuple[str, ...]] = [
        ("send", "hello"),
        ("card", "--extended", f"--token-file={wrong}"),
    ]
    async with peering(Peer(always=Failure.of(PermissionDeniedError("not yours")))) as denying:
        refused, denied = await asyncio.gather(
            run_all(*((*command, guarded) for command in commands)),
            run("get", "t-1", f"--agent={denying.address}"),
        )
    assert [done.code for done in refused] == [AUTH] * len(commands)
    said = "this agent wants a token (give --token, --api-key or the like, or run 'a2a-grpc login'; 'a2a-grpc doctor' "
    assert [error_of(done) for done in refused] == [said + "shows more)"] * len(commands)
    assert denied.code == AUTH
    assert error_of(denied) == "not yours (these credentials are not enough)"


async def test_credentials_are_given_by_option_by_file_or_by_variable(guarded: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    ended = await asyncio.gather(
        run("get", "t-1", guarded, "--token", SECRET),
        run("get", "t-1", guarded, "--token-file", str(file)),
        run("get", "t-1", guarded, "--api-key", f"X-Api-Key={SECRET}"),
        run("get", "t-1", guarded, env={"A2A_GRPC_TOKEN": SECRET}),
    )
    assert [(done.code, done.err) for done in ended] == [(OK, "COMPLETED t-1\n")] * 4


async def test_5_where_there_was_not_enough_time(served: Served) -> None:
    task = await served.start({"sleep": 600})
    async with silent_port() as silent:
        ended = await run_all(
            ("wait", at(served), task.id, "--timeout", "1"),
            ("list", f"--agent={silent}", "--timeout", "1", "--connect-timeout-s", "60"),
        )
    assert [done.code for done in ended] == [TIMEOUT] * 2
    assert ended[0].err.splitlines()[-1] == "Error: not done within 1 s"


async def test_6_where_the_agent_refuses_or_is_none(served: Served) -> None:
    unknown, refused = await run_all(
        ("get", at(served), "t-1"),
        ("send", at(served), "-d", '{"script": [{"dance": 1}]}'),
    )
    assert [unknown.code, refused.code] == [PROTOCOL] * 2
    assert error_of(unknown) == "task 't-1' was not found ('a2a-grpc list' shows the tasks that this agent has for you)"
    assert error_of(refused).startswith("script[0]: must be an object with one key of: ")


async def test_130_after_ctrl_c(served: Served) -> None:
    task = await served.start({"sleep": 600})
    async with running("wait", at(served), task.id, "-v") as waiting:
        await waiting.err.until("SubscribeToTask")
        waiting.interrupt()
        done = await waiting.finished()
    assert (done.code, done.out) == (INTERRUPTED, "")
    assert "Traceback" not in done.err


async def test_2_where_the_credentials_contradict_each_other_or_cannot_be(tmp_path: Path) -> None:
    none = tmp_path / "none"
    cases = {
        ("--token=a", "--api-key=x=b"): (
            "give one of --token, --token-file, --token-command, --api-key and --oauth2-client-id"
        ),
        ("--token=",): "the credentials are empty, or hold characters that metadata cannot",
        (f"--token-file={none}",): f"cannot read the credentials in {none}: No such file or directory",
        (f"--api-key={SECRET}",): (
            "the API key has no name, and there is no card that gives one; use api_key('NAME', …), or --api-key "
            "NAME=KEY"
        ),
        (f"--api-key=={SECRET}",): "--api-key must be NAME=KEY, or KEY alone",
        ("--oauth2-scope=read",): "--oauth2-scope goes with --oauth2-client-id",
        ("--oauth2-client-id=a",): (
            "--oauth2-client-id needs --oauth2-client-secret-file, or A2A_GRPC_OAUTH2_CLIENT_SECRET"
        ),
        ("--token-command=",): "the token command is empty",
        ("--token-command=/nowhere/x",): "the token command '/nowhere/x' cannot be started: No such file or directory",
        (f"--ca-cert={none}",): f"cannot read ca_cert '{none}': No such file or directory",
        ("--timeout=inf",): "timeout_s is inf; it must be a finite number",
    }  # fmt: skip
    ended = await run_all(*(("list", *options) for options in cases))
    assert [(done.code, error_of(done)) for done in ended] == [(USAGE, said) for said in cases.values()]


# -- one line, whatever is given


async def test_a_target_that_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    cases = {
        "": USAGE,
        ":": USAGE,
        "grpc://": USAGE,
        "127.0.0.1:99999": USAGE,
        "http://127.0.0.1:99999": USAGE,
        "http://[::1": USAGE,
        "\u0430gents.invalid": UNREACHABLE,
        "a..invalid": UNREACHABLE,
        str(tmp_path): USAGE,
    }
    ended = await run_all(*(("get", "t-1", "--agent", target, "--connect-timeout-s=0.2") for target in cases))
    by_target = dict(zip(cases, ended, strict=True))
    assert [target for target, done in by_target.items() if "Traceback" in done.err] == []
    assert {target: done.code for target, done in by_target.items()} == cases
    for target, done in by_target.items():
        assert target in error_of(done)


async def test_an_id_that_is_no_text_and_a_folder_that_cannot_be_are_refused_before_anything_is_sent() -> None:
    long, no_text = "n" * 300, "\udcff"  # the byte 0xff
    cases = {
        ("get", no_text): "the task id is not UTF-8",
        ("send", "hi", "--context", no_text): "the context is not UTF-8",
        ("list", "--tenant", no_text): "the tenant is not UTF-8",
        ("send", "hi", "--save", long): f"--save '{long}': File name too long",
    }
    for said, done in zip(cases.values(), await run_all(*cases), strict=True):
        assert (done.code, done.out) == (USAGE, "")
        assert said in error_of(done)
    done = await run("list", env={"A2A_GRPC_TENANT": no_text})
    assert (done.code, done.out) == (USAGE, "")
    assert "the tenant is not UTF-8" in error_of(done)


async def test_a_header_that_metadata_cannot_hold_is_refused_in_one_line(served: Served) -> None:
    named = {
        ("-H", "x-name: \u00fcml\u00e4ut"): "x-name",
        ("-H", "x-name-bin: text"): "x-name-bin",
        ("-H", "no colon"): "--header",
        ("--api-key", "a b=value"): "a b",
        ("--extension", "urn:\u00fc"): "extension",
    }
    ended = await run_all(*(("list", at(served), *option) for option in named))
    told = dict(zip(named, ended, strict=True))
    assert [option for option, done in told.items() if "Traceback" in done.err] == []
    assert [(option, done.code) for option, done in told.items()] == [(option, USAGE) for option in named]
    for option, done in told.items():
        assert named[option] in error_of(done)


# -- encryption


@pytest.fixture
def ours(tmp_path: Path) -> Certificate:
    return certificate(tmp_path, "127.0.0.1")


async def test_a_mistake_with_encryption_is_one_line_without_a_word_of_grpcs_own(ours: Certificate) -> None:
    """gRPC's core logs a line of its own for each failed handshake: users are to see ours alone."""
    async with peering() as plain, peering(credentials=ours.server_credentials()) as secret:
        against_plaintext, in_plaintext, unknown, health = await run_all(
            ("get", "t-1", f"--agent=grpcs://{plain.address}"),
            ("get", "t-1", f"--agent={secret.address}"),
            ("send", "hello", f"--agent=grpcs://{secret.address}"),
            ("health", f"grpcs://{plain.address}"),
        )
    assert error_of(against_plaintext).startswith(f"{plain.address} speaks plaintext, and was called with TLS; ")
    assert error_of(in_plaintext).startswith(f"{secret.address} speaks TLS, and was called in plaintext; ")
    assert error_of(health) == error_of(against_plaintext)
    assert error_of(unknown).startswith(f"the certificate of {secret.address} is not accepted: ")
    assert {done.code for done in (against_plaintext, in_plaintext, unknown, health)} == {UNREACHABLE}
    assert plain.calls == secret.calls == []
