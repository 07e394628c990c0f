"""`a2a-grpc completion`: scripts by which shells complete words, tried in a shell where there is one."""

import asyncio
import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import run, run_all, running

SCRIPTS = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
"""Where a shell finds `a2a-grpc`."""

VERBS_WITH_S = {"send", "sentinel", "serve", "stream", "subscribe"}


async def completed(*lines: tuple[str, ...]) -> list[set[str]]:
    """What a bash offers for the last word of each line, by the function that the script registers for the command."""
    commands = ['eval "$(a2a-grpc completion bash)"', 'function=$(complete -p a2a-grpc | grep -o "[^ ]*_completion")']
    for words in lines:
        commands += [
            f"COMP_WORDS=({' '.join(map(shlex.quote, words))})",
            f"COMP_CWORD={len(words) - 1}",
            f'"$function" {shlex.quote(words[0])} {shlex.quote(words[-1])} {shlex.quote(words[-2])}',
            "echo ${COMPREPLY[@]}",
        ]
    async with running("--norc", "-c", "\n".join(commands), env={"PATH": SCRIPTS}, program=("bash",)) as shell:
        done = await shell.finished()
    assert (done.code, done.err) == (0, ""), done
    return [set(line.split()) for line in done.out.splitlines()]


@pytest.mark.long
async def test_bash_completes_verbs_options_and_values() -> None:
    verbs, below, options, values = await completed(
        ("a2a-grpc", "s"), ("a2a-grpc", "push", ""), ("a2a-grpc", "get", "--tok"), ("a2a-grpc", "list", "-o", "")
    )
    assert verbs == VERBS_WITH_S
    assert below == {"create", "dead", "delete", "get", "list", "listen"}
    assert options == {"--token", "--token-command", "--token-file"}
    assert values == {"text", "json"}


async def asked(shell: str, typed: str) -> str:
    """What the program answers to a shell's script."""
    variables = {
        "_A2A_GRPC_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "PATH": SCRIPTS,
    }
    async with running(env=variables, program=("a2a-grpc",)) as program:
        done = await program.finished()
    assert (done.code, done.err) == (0, ""), done
    return done.out


@pytest.mark.long
async def test_the_scripts_for_zsh_and_fish_ask_the_program_as_it_answers() -> None:
    zsh, fish = await run_all(("completion", "zsh"), ("completion", "fish"))
    assert [(done.code, done.err) for done in (zsh, fish)] == [(0, "")] * 2
    assert zsh.out.strip().startswith("#compdef a2a-grpc\n")
    assert zsh.out.strip().endswith("compdef _a2a_grpc_completion a2a-grpc")
    assert fish.out.startswith("complete --command a2a-grpc ")
    for script, shell in ((zsh.out, "zsh"), (fish.out, "fish")):
        assert f"_A2A_GRPC_COMPLETE=complete_{shell}" in script
        assert "_TYPER_COMPLETE_ARGS=" in script
    assert "_TYPER_COMPLETE_FISH_ACTION=get-args" in fish.out
    for_zsh, for_fish = await asyncio.gather(asked("zsh", "a2a-grpc s"), asked("fish", "a2a-grpc s"))
    assert {line.partition("\t")[0] for line in for_fish.split("\n") if line} == VERBS_WITH_S
    assert all(f'"{verb}":"' in for_zsh for verb in VERBS_WITH_S)
    assert '"get"' not in for_zsh


async def test_a_shell_that_is_unknown_is_refused_with_those_that_are_known() -> None:
    done = await run("completion", "tcsh")
    assert (done.code, done.out) == (2, "")
    assert all(shell in done.err for shell in ("bash", "zsh", "fish"))
