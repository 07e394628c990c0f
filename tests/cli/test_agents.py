"""`a2a-grpc agents`: listing, finding and showing the agents of a registry."""

import json

import pytest

from tests.cli.terminal import run, run_all
from tests.ports import free_address
from tests.sentinel.registry.test_entries import card
from tests.sentinel.registry.test_service import registration, sentinel, stub_of


async def test_agents_are_listed_found_and_shown() -> None:
    async with sentinel() as running, stub_of(running) as stub:
        at = {"A2A_GRPC_SENTINEL": running.address}
        poet = card("Poet", "Writes verse.", ("write", "Verse"))
        await stub.Register(registration("poet", url="http://poet.example", card=poet))
        await stub.Register(
            registration("bard", url="bard.example:443", card=card("Bard", "Sings.", ("sing", "verse")))
        )
        every, first, found, by_tag, shown = await run_all(
            ("agents", "list"),
            ("agents", "list", "--limit", "1", "-o", "json"),
            ("agents", "find", "sings"),
            ("agents", "find", "--tag", "VERSE", "--skill", "write", "-o", "json"),
            ("agents", "show", "poet"),
            env=at,
        )
        assert [line.split() for line in every.out.splitlines()] == [
            ["bard", "bard.example:443", "sing"],
            ["poet", "http://poet.example", "write"],
        ]
        assert "2 agents" in every.err
        (line,) = first.out.splitlines()
        assert json.loads(line)["name"] == "bard"
        assert "--limit shows more" in first.err
        assert found.out.split() == ["bard", "bard.example:443", "sing"]
        assert json.loads(by_tag.out)["card"]["description"] == "Writes verse."
        assert shown.out.splitlines()[:3] == ["poet  http://poet.example", "Poet ", "Writes verse."]
        assert {done.code for done in (every, first, found, by_tag, shown)} == {0}


async def test_no_agent_is_exit_code_1_and_no_registry_is_2_or_3() -> None:
    async with sentinel() as running:
        empty, none, missing, unnamed, gone, strange = await run_all(
            ("agents", "list", "--registry", running.address),
            ("agents", "find", "--skill", "sing", "--registry", running.address),
            ("agents", "show", "poet", "--registry", running.address),
            ("agents", "list"),
            ("agents", "list", "--registry", free_address()),
            ("agents", "list", "--registry", "ftp://x"),
        )
    assert [done.code for done in (empty, none, missing, unnamed, gone, strange)] == [0, 1, 1, 2, 3, 2]
    assert "no agents" in empty.err
    assert "with the skill 'sing'" in none.err
    assert "'a2a-grpc agents list' shows" in missing.err
    assert "give --registry HOST:PORT" in unnamed.err
    assert "registry is 'ftp://x'" in strange.err


@pytest.mark.parametrize(
    ("verb", "method"), [(("find", "verse"), "Find"), (("list",), "List"), (("show", "poet"), "Get")]
)
async def test_the_grpcurl_command_names_the_same_call(verb: tuple[str, ...], method: str) -> None:
    done = await run("agents", *verb, "--as-grpcurl", "--registry", "127.0.0.1:8000")
    assert done.code == 0
    assert done.out.endswith(f"127.0.0.1:8000 a2a_grpc.sentinel.v1.Registry/{method}\n")
