"""Rules: who may attach agents at which addresses, and who may call them."""

import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc.auth import CallCredentials
from a2a_grpc.auth.file import tables_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import PermissionDeniedError
from a2a_grpc.principal import Principal
from a2a_grpc.sentinel import Attachment, Sentinel, SentinelSettings, reattach
from a2a_grpc.sentinel.rules import Rule, Rules, rules_in
from a2a_grpc.wire import GetTaskRequest
from tests.auth.test_keys import add
from tests.harness import Program, eventually, refusal, run_program
from tests.sentinel.tunnels import attached_raw, channel_to, ended, sentinel, unary
from tests.sentinel.tunnels import attaching as attach_settings

ADA = Principal("ada", "key")
TOKEN = Principal("ada", "jwt", "https://id.example/acme", scopes=frozenset(["read", "write"]))
NOBODY = Principal()


async def named(credentials: CallCredentials) -> Principal | None:
    """An authenticator: each bearer token is the name of a key."""
    shown = credentials.metadata.get("authorization")
    return Principal(str(shown[0]).removeprefix("Bearer "), "key") if shown else None


@pytest.mark.parametrize(
    ("pattern", "covered", "others"),
    [
        ("*", ["a@b", "a.b@c.d/e/f"], []),
        ("a@b", ["a@b"], ["aa@b", "a@bb", "a@b/c", "a@b.c"]),
        ("*@acme", ["a@acme", "a.b@acme"], ["a@acme/b", "a@xacme", "a@acme.evil", "a@acmex"]),
        ("*@acme/*", ["a@acme/b"], ["a@acme", "a@acme/b/c"]),
        ("*@*.acme", ["a@b.acme", "a@b.c.acme"], ["a@acme", "a@bacme", "a@b.acme/x"]),
        ("a*c*e@x", ["abcde@x", "ace@x", "accee@x"], ["ae@x", "aec@x", "abcd@x"]),
        ("aa*aa@x", ["aaaa@x", "aabaa@x"], ["aaa@x"]),
    ],
)
def test_a_pattern_covers_whole_addresses_part_by_part(pattern: str, covered: list[str], others: list[str]) -> None:
    rules = Rules(call=[Rule(addresses=[pattern])])
    assert [address for address in covered if not rules.may_call(ADA, address)] == []
    assert [address for address in others if rules.may_call(ADA, address)] == []


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=4), st.lists(st.text("ab*", max_size=3), max_size=4))
def test_a_pattern_that_was_made_of_a_subject_covers_it(pieces: list[str], between: list[str]) -> None:
    pattern = "*".join(pieces)
    gaps = [*between, "", "", ""][: len(pieces) - 1]
    subject = "".join(piece + gap for piece, gap in zip(pieces, [*gaps, ""], strict=True))
    rules = Rules(call=[Rule(addresses=["*"], subjects=[pattern or "*"])])
    assert rules.may_call(Principal(subject, "key"), "a@b")


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        ({}, [ADA, TOKEN, NOBODY]),
        ({"methods": ["key"]}, [ADA]),
        ({"issuers": ["https://id.example/*"]}, [TOKEN]),
        ({"subjects": ["a*"]}, [ADA, TOKEN]),
        ({"subjects": ["*"]}, [ADA, TOKEN]),
        ({"subjects": ["eve", "ad"]}, []),
        ({"scopes": ["read"]}, [TOKEN]),
        ({"scopes": ["read", "admin"]}, []),
        ({"methods": ["key"], "scopes": ["read"]}, []),
    ],
)
def test_a_caller_has_to_meet_each_condition_of_a_rule(rule: dict[str, Any], allowed: list[Principal]) -> None:
    rules = Rules(call=[Rule(addresses=["*"], **rule)], attach=[Rule(addresses=["*"], **rule)])
    for may in (rules.may_call, rules.may_attach):
        assert [caller for caller in (ADA, TOKEN, NOBODY) if may(caller, "a@b")] == allowed


def test_without_rules_authenticated_callers_may_attach_and_accepted_ones_may_call() -> None:
    rules = Rules()
    assert [caller for caller in (ADA, NOBODY) if rules.may_attach(caller, "a@b")] == [ADA]
    assert [caller for caller in (ADA, NOBODY) if rules.may_call(caller, "a@b")] == [ADA, NOBODY]
    assert Rules.open_to_all().may_attach(NOBODY, "a@b")
    one_kind = Rules(call=[Rule(addresses=["x@y"])])
    assert one_kind.may_attach(ADA, "a@b"), "rules of one kind say nothing of the other one"


def test_tenants_limit_what_rules_allow() -> None:
    narrow = Principal("ada", "key", tenants=frozenset(["a@b"]))
    for rules in (Rules(), Rules(call=[Rule(addresses=["*"])], attach=[Rule(addresses=["*"])])):
        for may in (rules.may_call, rules.may_attach):
            assert may(narrow, "a@b")
            assert not may(narrow, "a@c")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[[call]]\n", "[[call]] 1: the key 'addresses' is missing"),
        ("[call]\naddresses = ['*']\n", "[call] must be written [[call]]"),
        ("[[call]]\naddresses = '*'\n", "addresses is '*'; it must be a list"),
        ("[[call]]\naddresses = []\n", "addresses is []"),
        ("[[call]]\naddresses = ['*@Acme']\n", "addresses has '*@Acme'; it must be '*', or NAME@DOMAIN"),
        ("[[call]]\naddresses = ['acme']\n", "addresses has 'acme'"),
        ("[[call]]\naddresses = ['*']\n[[call]]\nadresses = ['*']\n", "[[call]] 2: the key 'adresses' is unknown; did"),
        ("[[attach]]\naddresses = ['*']\nscopes = 'x'\n", "[[attach]] 1: scopes is 'x'"),
        ("[[calls]]\naddresses = ['*']\n", "the table 'calls' is unknown"),
    ],
)
def test_a_mistake_in_rules_is_named_by_file_table_and_value(table: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "auth.toml"
    file.write_text(f"{table}[anonymous]\nallow = true\n")
    with pytest.raises(ConfigurationError) as wrong:
        rules_in(file, tables_of(file, ("attach", "call"))[0])
    assert said in str(wrong.value)
    assert str(file) in str(wrong.value)


async def test_a_server_of_an_agent_refuses_rules_since_it_would_ignore_them(tmp_path: Path) -> None:
    file = tmp_path / "auth.toml"
    file.write_text("[[call]]\naddresses = ['*']\n[anonymous]\nallow = true\n")
    code, _, err = await run_program("servers/scripted.py", "--auth", str(file))
    assert code == 2
    assert "[[call]] is for `a2a-grpc sentinel`" in err


async def test_rules_without_authenticators_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no authenticators"):
        Sentinel(SentinelSettings(), rules=Rules())


async def test_not_allowed_and_unknown_addresses_get_one_answer_and_an_agent_that_may_not_attach_disturbs_nobody(
    tmp_path: Path,
) -> None:
    async def serve(request: bytes, context: Any) -> bytes:
        return b"served"

    rules = Rules(
        attach=[Rule(addresses=["*@acme"], subjects=["acme-*"])], call=[Rule(addresses=["a@acme"], subjects=["ada"])]
    )
    async with sentinel((named,), rules) as running:
        async with attached_raw(serve, running.address, "a@acme", "acme-1"):
            async with attached_raw(serve, running.address, "b@acme", "acme-1"), channel_to(running.address) as channel:

                async def call(address: str, caller: str) -> tuple[Any, ...]:
                    sent = GetTaskRequest(tenant=address).SerializeToString()
                    metadata = (("authorization", f"Bearer {caller}"),)
                    return await ended(unary(channel)(sent, metadata=metadata))

                assert (await call("a@acme", "ada"))[0] == [b"served"]
                for caller, address in (("eve", "a@acme"), ("ada", "b@acme")):
                    assert await call(address, caller) == await call("never@acme", caller)
                sent = GetTaskRequest(tenant="b@acme").SerializeToString()
                hidden = await refusal(unary(channel)(sent, metadata=(("authorization", "Bearer ada"),)))
                assert (hidden.code, hidden.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_NOT_ATTACHED")
                for caller, address in (("ada", "a@acme"), ("acme-2", "a@evil")):
                    settings = attach_settings(running.address, address, tmp_path, caller, replace=True)
                    async with Attachment(settings) as refused:
                        with pytest.raises(PermissionDeniedError, match=f"do not cover the address '{address}'"):
                            await refused.welcome()
                assert (await call("a@acme", "ada"))[0] == [b"served"]


async def test_an_agent_attaches_with_newer_credentials_before_its_former_ones_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_at = time.time() + 600
    monkeypatch.setattr(reattach, "RENEW_BEFORE_S", 599.5)

    async def ending(credentials: CallCredentials) -> Principal | None:
        caller = await named(credentials)
        if caller is None:
            return None
        return Principal("agent", "key", expires_at=ends_at if caller.subject == "old" else None)

    async with sentinel((ending,)) as running:
        settings = attach_settings(running.address, "a@acme", tmp_path, "old")
        async with Attachment(settings) as attachment:
            await attachment.welcome()
            (tmp_path / "token").write_text("new")

            def renewed() -> None:
                assert [tunnel.principal.expires_at for tunnel in running._routes.all() if tunnel.takes_calls] == [None]

            await eventually(renewed, within_s=20)


@pytest.mark.long
async def test_the_file_of_the_command_line_has_rules(tmp_path: Path) -> None:
    secrets = {name: "a2a_" + str(number) * 64 for number, name in enumerate(("acme-1", "ada", "eve"))}
    for name, secret in secrets.items():
        add(tmp_path / "keys.toml", secret, name)
        (tmp_path / name).write_text(secret)
    (tmp_path / "auth.toml").write_text(
        "[keys]\nfile = 'keys.toml'\n[[attach]]\naddresses = ['*@acme']\nsubjects = ['acme-*']\n"
        "[[call]]\naddresses = ['*@acme']\nmethods = ['key']\nsubjects = ['ada']\n"
    )
    cli = ("-m", "a2a_grpc")
    options = ("--listen", "127.0.0.1:0", "--http-listen", "off", "-o", "json")
    async with Program(*cli, "sentinel", *options, "--auth", str(tmp_path / "auth.toml")) as front:
        attach = ("--attach", front.address, "--address", "a@acme", "--attach-token-file")
        code, _, err = await run_program("servers/scripted.py", *attach, str(tmp_path / "eve"))
        assert code != 0
        assert "do not cover the address 'a@acme'" in err
        async with Program.server("servers/scripted.py", *attach, str(tmp_path / "acme-1")):
            env = {"A2A_GRPC_SENTINEL": front.address}
            send = (*cli, "send", "--agent", "a@acme", "--give-up-after-s", "1", "--token-file")
            code, out, _ = await run_program(*send, str(tmp_path / "ada"), "hello", env=env)
            assert (code, out.splitlines()[0]) == (0, "hello")
            code, _, err = await run_program(*send, str(tmp_path / "eve"), "hello", env=env)
            assert code != 0
            assert "no agent is attached at this address that you may call" in err
