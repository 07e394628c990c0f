"""`a2a-grpc card`: an agent's card shown and checked, from wherever it is."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf import json_format

from a2a_grpc.wire import AgentCard, AgentInterface
from tests.cli.terminal import Done, run, run_all
from tests.client.peers import Page, Peer, Site, card_json, interface_json, peering
from tests.covers import covers
from tests.harness import Served, scripted_agent, serving
from tests.ports import free_address

WELL_KNOWN = "/.well-known/agent-card.json"


@pytest.fixture
async def published() -> AsyncIterator[Served]:
    """The scripted agent, its card served."""
    async with serving(scripted_agent(), http_listen="127.0.0.1:0") as served:
        yield served


def url_of(served: Served) -> str:
    assert served.server.http_url is not None
    return served.server.http_url


def problems(done: Done) -> list[str]:
    """What a check found."""
    assert all(line.startswith("problem: ") for line in done.err.splitlines()), done.err
    return [line.removeprefix("problem: ") for line in done.err.splitlines()]


async def test_a_card_is_shown_from_its_host_its_url_a_path_and_a_file_url_alike(
    published: Served, tmp_path: Path
) -> None:
    file = tmp_path / "my card.json"
    file.write_text(json_format.MessageToJson(published.server.card))
    url = url_of(published)
    shown = await run_all(
        ("card", url),
        ("card", f"--agent={url}{WELL_KNOWN}"),
        ("card", file.as_uri()),
    )
    assert shown == [Done(0, shown[0].out, "")] * 3
    assert shown[0].out.splitlines() == [
        "Scripted 1.0.0",
        "Plays scripts, to test clients with.",
        f"  GRPC 1.0  {published.server.grpc_address}",
        "  offers streaming",
        "  extension urn:a2a-grpc:extension:seq:1",
        "  extension urn:a2a-grpc:extension:artifacts:1",
        "  extension urn:a2a-grpc:extension:idempotent-send:1",
        "reply  Answer with a message, without a task.",
        "play  Run a script, or echo the message.",
    ]


async def test_a_card_of_somebody_else_is_shown_with_its_interfaces_their_tenants_and_its_required_extensions(
    tmp_path: Path,
) -> None:
    file = tmp_path / "card.json"
    interfaces = [
        interface_json("https://agents.example/rpc", binding="JSONRPC"),
        interface_json("agents.example:443", tenant="blue"),
    ]
    extensions = [{"uri": "urn:needed", "required": True}, {"uri": "urn:[offered]"}]
    capabilities = {"pushNotifications": True, "extendedAgentCard": True, "extensions": extensions}
    card = card_json("", supportedInterfaces=interfaces, capabilities=capabilities, name="[red]Else[/red]where")
    file.write_text(json.dumps(card))
    shown = await run("card", str(file))
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        "[red]Else[/red]where 1.0.0",
        "An agent of somebody else.",
        "  JSONRPC 1.0  https://agents.example/rpc",
        "  GRPC 1.0  agents.example:443, tenant blue",
        "  offers push_notifications, extended_agent_card",
        "  extension urn:needed (required)",
        "  extension urn:[offered]",
        "s  Does.",
    ]


async def test_as_json_a_card_is_one_line_that_parses_back(published: Served, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    file.write_text(json_format.MessageToJson(published.server.card))
    shown = await run_all(("card", url_of(published), "-o", "json"), ("card", str(file), "-o", "json", "--validate"))
    for done in shown:
        assert done.code == 0
        [line] = done.out.splitlines()
        assert json_format.Parse(line, AgentCard()) == published.server.card
    assert [done.err for done in shown] == ["", f"the card at {file} is valid\n"]


# -- cards that cannot be had


async def test_a_card_that_cannot_be_had_is_told_in_one_line_with_its_place_and_an_exit_code(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"url": "http://agents.example", "protocolVersion": "0.3.0", "name": "Old"}))
    closed = free_address()
    async with Site(Page(b"<html>")) as no_json, Site(Page(status=404)) as not_there, peering() as peer:
        cases = {
            no_json.url: (6, f"the card at {no_json.url}{WELL_KNOWN} is not JSON: "),
            not_there.url: (6, f"{not_there.url}{WELL_KNOWN} answers 404 Not Found; there is no card"),
            str(old): (6, f"the card at {old} is for A2A 0.3.0; this client speaks 1.0"),
            f"{tmp_path}/missing.json": (2, f"cannot read the card '{tmp_path}/missing.json': No such file"),
            f"http://{closed}": (3, f"nothing listens at http://{closed}{WELL_KNOWN}; check the port"),
            f"http://{peer.address}": (3, f"the server at {peer.address} does not speak HTTP; "),
            peer.address: (2, f"'{peer.address}' is a gRPC address, and gRPC has no method for the card; "
                              "give its http(s):// URL, or --extended"),
        }  # fmt: skip
        told = await run_all(*(("card", target) for target in cases))
    for done, (code, said) in zip(told, cases.values(), strict=True):
        assert (done.code, done.out) == (code, ""), done
        [line] = done.err.splitlines()
        assert line.startswith(f"Error: {said}"), line


async def test_whoever_has_just_asked_for_the_card_is_not_sent_to_ask_for_it(tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    file.write_text("no card")
    told = await run("card", str(file), "--validate")
    assert told.code == 6
    assert "a2a-grpc card" not in told.err


async def test_the_address_where_agents_listen_by_default_is_an_address_too() -> None:
    told = await run("card", "127.0.0.1:50051")
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("Error: '127.0.0.1:50051' is a gRPC address, and gRPC has no method for the card; ")


# -- checking


@covers("CARD-9")
async def test_each_problem_of_a_card_is_named_and_the_exit_code_tells_of_them_where_asked_to(
    tmp_path: Path,
) -> None:
    file = tmp_path / "card.json"
    interfaces = [interface_json("agents.example:443", version="0.3"), {"protocolBinding": "GRPC"}]
    skills = [{"id": "s", "name": "S", "tags": ["t"]}, {"description": "Does."}]
    card = card_json("", name=None, version=None, defaultInputModes=None, supportedInterfaces=interfaces, skills=skills)
    file.write_text(json.dumps(card))
    shown, checked = await run_all(("card", str(file)), ("card", str(file), "--validate"))
    assert (shown.code, checked.code) == (0, 6)
    assert shown.out == checked.out
    assert problems(shown) == problems(checked)
    *missing, interface = problems(checked)
    assert sorted(missing) == [
        "defaultInputModes is missing",
        "name is missing",
        "skills[0].description is missing",
        "skills[1].id is missing",
        "skills[1].name is missing",
        "skills[1].tags is missing",
        "supportedInterfaces[1].protocolVersion is missing",
        "supportedInterfaces[1].url is missing",
        "version is missing",
    ]
    assert interface.startswith(
        f"the card at {file} has no GRPC interface for A2A 1.0; it has GRPC 0.3 at agents.example:443"
    )


@covers("SEL-1")
async def test_a_card_whose_grpc_cannot_be_called_is_not_valid(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.json" for name in ("other", "nonsense")}
    jsonrpc = [interface_json("https://agents.example", binding="JSONRPC")]
    files["other"].write_text(json.dumps(card_json("", supportedInterfaces=jsonrpc)))
    files["nonsense"].write_text(json.dumps(card_json("ftp://agents.example")))
    other, nonsense = await run_all(*(("card", str(file), "--validate") for file in files.values()))
    assert [other.code, nonsense.code] == [6, 6]
    assert problems(other) == [
        f"the card at {files['other']} has no GRPC interface for A2A 1.0; it has JSONRPC 1.0 at https://agents.example"
    ]
    [problem] = problems(nonsense)
    assert problem.startswith(f"the card at {files['nonsense']}: the interface's ")
    assert "'ftp://agents.example'" in problem


async def test_a_card_that_sends_grpc_to_another_host_is_valid_where_that_is_allowed_or_it_is_a_file(
    tmp_path: Path,
) -> None:
    file = tmp_path / "card.json"
    file.write_text(json.dumps(card_json("agents.example:443")))
    async with Site(Page.card("agents.example:443")) as site:
        refused, allowed, stored = await run_all(
            ("card", site.url, "--validate"),
            ("card", site.url, "--validate", "--any-card-host"),
            ("card", str(file), "--validate"),
        )
        assert (refused.code, problems(refused)) == (
            6,
            [
                f"the card at {site.url} sends gRPC to another host, agents.example:443; "
                "allow it with any_card_host (--any-card-host)"
            ],
        )
        assert (allowed.code, allowed.err) == (0, f"the card at {site.url} is valid\n")
        assert (stored.code, stored.err) == (0, f"the card at {file} is valid\n")


# -- the extended card


async def test_the_extended_card_is_fetched_over_grpc_with_the_callers_credentials_and_the_cards_tenant() -> None:
    interfaces = [AgentInterface(url="127.0.0.1:1", protocol_binding="GRPC", protocol_version="1.0")]
    extended = AgentCard(name="Extended", version="2.0", description="More of it.", supported_interfaces=interfaces)
    peer = Peer()
    peer.answers["GetExtendedAgentCard"] = extended
    async with peering(peer), Site(Page.card(peer.address, tenant="blue")) as site:
        by_address, by_card = await run_all(
            ("card", peer.address, "--extended", "--token=hunter2"), ("card", site.url, "--extended", "-o", "json")
        )
    assert (by_address.code, by_address.err) == (0, "")
    assert by_address.out.splitlines()[:3] == ["Extended 2.0", "More of it.", "  GRPC 1.0  127.0.0.1:1"]
    assert (by_card.code, by_card.err) == (0, "")
    assert json_format.Parse(by_card.out, AgentCard()) == extended
    calls = sorted((call.request.tenant, call.values("authorization")) for call in peer.calls)
    assert calls == [("", ["Bearer hunter2"]), ("blue", [])]


async def test_an_agent_without_an_extended_card_says_so(served: Served) -> None:
    told = await run("card", "--extended", served.server.grpc_address)
    assert told == Done(6, "", "Error: this agent has no extended card\n")
