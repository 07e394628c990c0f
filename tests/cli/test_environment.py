"""Environment variables stand for options; what is given on the command line counts before them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.terminal import Done, run
from tests.client.peers import Peer, certificate, peering
from tests.ports import free_address

NOWHERE = "127.0.0.1:1"

FOUND = Done(0, "", "COMPLETED t-1\n")


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peering() as found:
        yield found


async def test_the_agent_comes_from_the_environment_and_both_ways_to_name_it_count_before_it(peer: Peer) -> None:
    by_variable, by_option, by_argument, verb_without_argument = await asyncio.gather(
        run("ping", "-c", "1", env={"A2A_GRPC_AGENT": peer.address}),
        run("ping", "-c", "1", "--agent", peer.address, env={"A2A_GRPC_AGENT": NOWHERE}),
        run("ping", "-c", "1", peer.address, env={"A2A_GRPC_AGENT": NOWHERE}),
        run("get", "t-1", env={"A2A_GRPC_AGENT": peer.address}),
    )
    for done in (by_variable, by_option, by_argument):
        assert done.code == 0
        assert done.out.startswith(f"{peer.address}: connected in ")
    assert verb_without_argument == FOUND


async def test_the_environments_agent_is_the_one_whose_card_is_shown(tmp_path: Path) -> None:
    done = await run("card", env={"A2A_GRPC_AGENT": "127.0.0.1:4711"})
    assert done.code == 2
    assert done.err.startswith("Error: '127.0.0.1:4711' is a gRPC address, ")


@pytest.mark.parametrize(
    ("options", "variables", "shown"),
    [
        ([], {"A2A_GRPC_TOKEN": "v"}, ("authorization", "Bearer v")),
        (["--token=o"], {"A2A_GRPC_TOKEN": "v"}, ("authorization", "Bearer o")),
        (["--token=o"], {"A2A_GRPC_TOKEN_FILE": "/nowhere"}, ("authorization", "Bearer o")),
        (["--api-key=x-key=o"], {"A2A_GRPC_TOKEN": "v"}, ("x-key", "o")),
        (["--token-file={file}"], {"A2A_GRPC_TOKEN": "v"}, ("authorization", "Bearer f")),
    ],
)
async def test_credentials_come_from_the_environment_and_those_on_the_command_line_count_before_them(
    peer: Peer, tmp_path: Path, options: list[str], variables: dict[str, str], shown: tuple[str, str]
) -> None:
    (tmp_path / "token").write_text("f\n")
    given = [option.format(file=tmp_path / "token") for option in options]
    assert await run("get", "t-1", f"--agent={peer.address}", *given, env=variables) == FOUND
    [call] = peer.calls
    credentials = [entry for entry in call.metadata if entry[0] in ("authorization", "x-key")]
    assert credentials == [shown]


async def test_two_kinds_of_credentials_in_the_environment_contradict_each_other(peer: Peer) -> None:
    variables = {"A2A_GRPC_TOKEN": "v", "A2A_GRPC_API_KEY": "x-key=v"}
    done = await run("get", "t-1", f"--agent={peer.address}", env=variables)
    assert (done.code, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert line.startswith(
        "Error: give one of --token, --token-file, --token-command, --api-key and --oauth2-client-id"
    )
    assert peer.calls == []


async def test_settings_come_from_the_environment_and_options_count_before_them(tmp_path: Path) -> None:
    ours = certificate(tmp_path, "127.0.0.1")
    address = free_address()
    async with peering() as plain, peering(credentials=ours.server_credentials()) as secret:
        roots, tenant, option, timeout = await asyncio.gather(
            run("get", "t-1", f"--agent={secret.address}", env={"A2A_GRPC_CA_CERT": ours.roots_file}),
            run("get", "t-1", f"--agent={plain.address}", env={"A2A_GRPC_TENANT": "blue"}),
            run("get", "t-1", f"--agent={plain.address}", "--tenant=green", env={"A2A_GRPC_TENANT": "blue"}),
            run("get", "t-1", f"--agent={address}", env={"A2A_GRPC_CONNECT_TIMEOUT_S": "0.1"}),
        )
    assert [roots, tenant, option] == [FOUND] * 3
    assert sorted(call.request.tenant for call in plain.calls) == ["blue", "green"]
    assert [call.rpc for call in secret.calls] == ["GetTask"]
    assert timeout.code == 3


async def test_a_switch_of_the_environment_can_be_turned_off_on_the_command_line() -> None:
    done = await run(
        "list", "--agent=agents.example:443", "--no-plaintext", "--as-grpcurl", env={"A2A_GRPC_PLAINTEXT": "true"}
    )
    assert (done.code, done.err) == (0, "")
    assert "-plaintext" not in done.out.split()


async def test_a_variable_that_cannot_be_is_named_in_one_line() -> None:
    cases = {
        ("A2A_GRPC_MAX_RETRIES", "many"): "A2A_GRPC_MAX_RETRIES is 'many'; it must be a whole number",
        ("A2A_GRPC_TIMEOUT_S", "0"): "timeout_s is 0.0; it must be at least 0.001",
        ("A2A_GRPC_API_KEY", "hunter2"): "the API key has no name, and there is no card",
    }
    ended = await asyncio.gather(*(run("list", env={name: text}) for name, text in cases))
    for done, said in zip(ended, cases.values(), strict=True):
        assert (done.code, done.out) == (2, "")
        [line] = done.err.splitlines()
        assert line.startswith(f"Error: {said}")
