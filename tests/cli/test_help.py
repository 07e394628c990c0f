"""What `--help` says, and that a command line that cannot be read is refused with one clear message."""

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import typer.main

from a2a_grpc.cli.app import app
from a2a_grpc.cli.examples import EXAMPLES
from tests.cli.terminal import Done, run_all
from tests.client.peers import black_hole
from tests.harness import ROOT

WIDE = {"COLUMNS": "400", "TERM": "dumb"}

CODES = (
    "Exit codes: 0 ok, 1 the agent failed, rejected or canceled the task, or no agent was found, 2 usage, "
    "3 unreachable, 4 not allowed, 5 out of time, 6 refused or against the protocol, 7 the task waits for its user, "
    "8 the output cannot be written, "
    "130 interrupted."
)


async def wide(*commands: tuple[str, ...]) -> list[Done]:
    """The commands, at a place so wide that no line is broken."""
    return await run_all(*commands, env=WIDE)


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command, with the words that lead to it."""
    command = command or typer.main.get_command(app())
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def test_these_are_the_verbs() -> None:
    assert [" ".join(path) for path, _ in commands()] == [
        "",
        "init",
        "serve",
        "sentinel",
        "agents",
        "agents list",
        "agents find",
        "agents show",
        "card",
        "chat",
        "send",
        "stream",
        "subscribe",
        "get",
        "list",
        "cancel",
        "wait",
        "health",
        "ping",
        "doctor",
        "top",
        "login",
        "logout",
        "completion",
        "keys",
        "keys new",
        "keys list",
        "keys revoke",
        "db",
        "db upgrade",
        "db current",
        "db rename",
        "db stats",
        "db export",
        "db import",
        "db purge",
        "push",
        "push create",
        "push get",
        "push list",
        "push delete",
        "push listen",
        "push dead",
        "push dead list",
        "push dead show",
        "push dead replay",
        "push dead drop",
    ]


def test_every_verb_and_every_option_of_it_is_explained() -> None:
    unexplained = [(path, parameter.name) for path, command in commands() for parameter in command.params
                   if not parameter.help]  # fmt: skip
    assert unexplained == []
    assert [path for path, command in commands() if not command.help] == []


def test_every_verb_shows_examples_with_options_that_it_has() -> None:
    known = {" ".join(path): command for path, command in commands() if not hasattr(command, "commands")}
    assert sorted(EXAMPLES) == sorted(known)
    for path, examples in EXAMPLES.items():
        flags = {flag for parameter in known[path].params for flag in parameter.opts}
        for example in examples:
            assert f"a2a-grpc {path}" in example
            assert example in known[path].help
            assert {word for word in shlex.split(example) if re.match(r"--?[a-z]", word)} <= flags, example


def test_help_says_what_metadata_and_root_certificates_are_and_the_page_which_variable_limits_a_command() -> None:
    helped = {option: parameter.help for path, command in commands() if path == ("send",)
              for parameter in command.params for option in parameter.opts}  # fmt: skip
    assert helped["--metadata"].startswith("Metadata of the request: KEY=VALUE")
    assert "by default the system's roots" in helped["--ca-cert"]
    page = (ROOT / "docs/settings.md").read_text()
    limits = "none; `--timeout` (`A2A_GRPC_TIMEOUT`) limits the whole command"
    assert f"| `timeout_s` | {limits} | `A2A_GRPC_TIMEOUT_S` |" in page


def test_no_option_means_two_things() -> None:
    for path, command in commands():
        flags = [flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)]
        assert sorted(flags) == sorted(set(flags)), path


def test_the_exit_codes_are_documented_at_every_verb_that_calls_an_agent() -> None:
    calling = {path: command for path, command in commands() if any(item.name == "agent" for item in command.params)}
    assert len(calling) == 21
    assert [path for path, command in calling.items() if command.epilog != CODES] == []


async def test_help_is_there_at_every_verb() -> None:
    verbs = dict(commands())
    shown = await wide(*((*path, "--help") for path in verbs if path[:1] != ("push",) or len(path) == 1))
    for (path, command), done in zip(verbs.items(), shown, strict=False):  # push, with verbs of its own, is the last
        assert (done.code, done.err) == (0, ""), path
        assert command.help.splitlines()[0] in done.out
        for parameter in command.params:
            assert (parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar or "") in done.out
        if command.epilog:
            assert command.epilog in done.out, path


async def test_a_default_that_help_tells_is_the_one_that_counts() -> None:
    async with black_hole() as address:
        [told, waited] = await wide(("doctor", "--help"), ("doctor", address))
    default = re.search(r"--connect-timeout-s .*\[default: ([\d.]+);", told.out)
    counted = re.search(r"does not answer within ([\d.]+) s", waited.out)
    assert default is not None
    assert counted is not None
    assert float(default[1]) == float(counted[1])


async def test_the_version_is_told() -> None:
    assert await wide(("--version",)) == [Done(0, f"a2a-grpc {version('a2a-grpc')}\n", "")]


async def test_a_command_line_that_cannot_be_read_exits_with_2_and_one_message_that_names_what_is_wrong() -> None:
    cases = {
        ("sned",): "No such command 'sned'. Did you mean 'send'?",
        ("get", "t-1", "--tokn", "x"): "No such option: --tokn",
        (
            "get",
            "t-1",
            "t-2",
        ): "get' takes only TASK; the others are not shown",
        (
            "list",
            "t-1",
        ): "list' takes no arguments; the others are not shown",
        ("get", "t-1", "-o", "xml"): "--output is 'xml'; give one of text, json\n",
        ("list", "--timeout", "soon"): (
            "--timeout is 'soon'; give a number of seconds, at least 0.001, for example 60\n"
        ),
        ("list", "--since", "yesterday"): (
            "--since is 'yesterday'; give a day or a time in UTC, for example 2026-11-29 or 2026-11-29T08:00:00\n"
        ),
        ("list", "--limit", "0"): "--limit is '0'; give a whole number, at least 1, for example 50\n",
        ("subscribe", "--after", "-1", "t-1"): ("--after is '-1'; give a whole number, at least 0, for example 10\n"),
        ("serve", "a.py", "--max-receive-bytes", "4MiB"): (
            "--max-receive-bytes is '4MiB'; give a whole number of bytes, for example 4194304\n"
        ),
        ("serve", "a.py", "--log-level", "verbose"): (
            "--log-level is 'verbose'; give one of debug, info, warning, error\n"
        ),
        ("serve", "a.py", "--port", "50051"): "No such option: --port; use --listen HOST:PORT\n",
        ("send", "--skill", "work", "hi"): "No such option: --skill; use -m skill=NAME\n",
        ("list", "--timeout", "eyJhbGciOiJIUzI1NiJ9"): (
            "--timeout has a value that is not possible, and is not shown, as it may be a secret; give a number"
        ),
    }
    for done, said in zip(await wide(*cases), cases.values(), strict=True):
        assert (done.code, done.out) == (2, ""), said
        assert done.err.count(said) == 1, done.err
        assert done.err.startswith("Usage: ")
        assert done.err.count("Error") == 1, done.err
        *_, hint, error = done.err.splitlines()
        assert hint.endswith("; '-h' shows all options"), done.err
        assert error.startswith("Error: "), done.err


async def test_without_a_verb_the_verbs_are_shown() -> None:
    [done] = await wide(())
    assert done.code == 2
    for path, _ in commands():
        assert " ".join(path[:1]) in done.out + done.err
