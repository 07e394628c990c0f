"""The rules of a file: read again when it changes, and kept when it is wrong."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from a2a_grpc.config import ConfigurationError
from a2a_grpc.principal import Principal
from a2a_grpc.sentinel import Attachment
from a2a_grpc.sentinel.rules_file import RulesFile
from a2a_grpc.wire import GetTaskRequest
from tests.harness import eventually
from tests.sentinel.test_attaching import by_token
from tests.sentinel.tunnels import ADDRESS, attached_raw, channel_to, ended, sentinel, unary
from tests.sentinel.tunnels import attaching as attach_settings

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
ADA, BOB = Principal("ada", "key"), Principal("bob", "key")


def rule(kind: str, *subjects: str) -> str:
    return f"[[{kind}]]\naddresses = ['*']\nsubjects = {list(subjects)}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "auth.toml", rule("call", "ada"))


def written(file: Path, tables: str, others: str = "[anonymous]\nallow = true\n") -> Path:
    file.write_text(tables + others)
    return file


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def looked(rules: RulesFile) -> None:
    """Look as often as a change needs to count."""
    await rules.look()
    await rules.look()


async def test_a_sentinel_takes_changed_rules_into_use_for_calls_and_for_attaching(file: Path, tmp_path: Path) -> None:
    async with sentinel((by_token,), RulesFile(file)) as running, channel_to(running.address) as channel:
        async with attached_raw(echo, running.address, token="ada"):

            def called(name: str, code: grpc.StatusCode) -> Callable[[], Awaitable[None]]:
                async def check() -> None:
                    call = unary(channel)(REQUEST, metadata=(("authorization", f"Bearer {name}"),))
                    assert (await ended(call))[1] is code

                return check

            await called("bob", grpc.StatusCode.UNAVAILABLE)()
            await called("ada", grpc.StatusCode.OK)()
            written(file, rule("call", "bob") + rule("attach", "bob"))
            await eventually(called("bob", grpc.StatusCode.OK), within_s=30)
            await called("ada", grpc.StatusCode.UNAVAILABLE)()
        for name, is_allowed in (("ada", False), ("bob", True)):
            settings = attach_settings(running.address, f"{name}@acme", tmp_path, name, fail_fast=True)
            async with Attachment(settings) as attachment:
                if is_allowed:
                    await attachment.welcome()
                else:
                    with pytest.raises(Exception, match="do not cover the address"):
                        await attachment.welcome()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[call]\n", "is not TOML"),
        ("", "the file is empty"),
        (rule("call", "bob").replace("subjects", "subject"), "the key 'subject' is unknown"),
        (rule("cal", "bob"), "the table 'cal' is unknown"),
    ],
)
async def test_a_wrong_new_file_keeps_the_former_rules_and_says_why(
    file: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    rules = RulesFile(file)
    written(file, text, "")
    await looked(rules)
    assert (rules.may_call(ADA, ADDRESS), rules.may_call(BOB, ADDRESS)) == (True, False)
    [line] = [record.getMessage() for record in caplog.records if "rules not read again" in record.getMessage()]
    assert said in line
    assert str(file) in line
    file.unlink()
    await looked(rules)
    assert not rules.may_call(BOB, ADDRESS)
    written(file, rule("call", "bob"))
    await looked(rules)
    assert rules.may_call(BOB, ADDRESS)


async def test_a_file_that_is_being_written_does_not_allow_more_than_the_whole_file(file: Path) -> None:
    """Without the last table all callers could call."""
    rules = RulesFile(file)
    written(file, "")
    await rules.look()
    assert not rules.may_call(BOB, ADDRESS)
    written(file, rule("call", "eve"))
    await looked(rules)
    assert (rules.may_call(ADA, ADDRESS), rules.may_call(BOB, ADDRESS)) == (False, False)
    written(file, "")
    await looked(rules)
    assert rules.may_call(BOB, ADDRESS)


async def test_a_change_of_other_tables_is_said_to_count_from_the_next_start(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "a2a_grpc.sentinel")
    rules = RulesFile(file)
    written(file, rule("call", "bob"), "[keys]\nfile = 'keys.toml'\n")
    for _ in range(4):
        await rules.look()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"rules read again file={file} attach=0 call=1",
        f"the tables of credentials have changed; they count from the next start file={file}",
    ]


def test_a_file_that_is_wrong_at_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        RulesFile(tmp_path / "none.toml")
