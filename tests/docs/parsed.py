"""Check commands of the docs without running them.

Some commands cannot run in a test. For these, the checks show that every file, option, target, extra, variable and name
in them exists: the parser of `a2a-grpc` reads the command line, `make` does a dry run, and everything else is looked up
in the files of the project. A command for which there is no check is an error.
"""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer.main
import yaml

from a2a_grpc.cli.app import app
from a2a_grpc.cli.usage import ClickException
from tests.harness import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KNOWN = (ROOT / "docs" / "settings.md").read_text() + (ROOT / "docs" / "reference-cli.md").read_text()
ENDS = {";", ";;", "&", "&&", "|", "||", "(", ")"}
PLAIN = {"umask", "python3", ".", "source", "printf", "createuser", "createdb"}
"""Programs of a system that these checks do not know more of."""


def wrong(text: str) -> Iterator[str]:
    """Yield what is wrong with each command of a block."""
    for command in simple_commands(text):
        variables = [word for word in command if re.match(r"\w+=", word)]
        words = command[len(variables) :] if command[: len(variables)] == variables else command
        yield from (
            f"no variable {name}"
            for name in re.findall(r"\bA2A_GRPC_\w+", " ".join(command))
            if f"`{name}`" not in KNOWN
        )
        yield from (f"{' '.join(words)}: {each}" for each in _command(words))


def simple_commands(text: str) -> list[list[str]]:
    """Return the words of each command of a script. Redirections and variables before the program are left out."""
    found: list[list[str]] = [[]]
    for line in re.sub(r"\\\n(?:> )?", " ", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.commenters = ""
        lexer.whitespace_split = True
        found.append([])
        skips = False
        for word in lexer:
            if word in ENDS:
                found.append([])
            elif set(word) <= {">", "<"}:
                skips = True
            elif skips:
                skips = False
            else:
                found[-1].append(word)
    return [command for command in found if command]


def _command(words: list[str]) -> Iterator[str]:
    match words:
        case ["a2a-grpc", *rest]:
            yield from _a2a_grpc(rest)
        case ["eval", text]:
            yield from wrong(text.removeprefix("$(").removesuffix(")"))
        case ["opentelemetry-instrument", *rest]:
            yield from _command(rest)
        case ["make", *rest]:
            done = subprocess.run(["make", "--dry-run", *rest], cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                yield done.stderr
        case ["git", "clone", url]:
            if url not in PROJECT["urls"].values():
                yield f"the repository is one of {PROJECT['urls']}"
        case ["pip", "install", *packages]:
            yield from (each for package in packages for each in _package(package))
        case [".venv/bin/python", "-m", "pytest", path, *_]:
            yield from _missing(path)
        case ["docker", *rest]:
            yield from _docker(rest)
        case ["kubectl", *rest]:
            yield from _kubectl(rest)
        case ["cd", path] | ["haproxy", "-f", path]:
            yield from _missing(path)
        case ["go", "run", "."]:
            yield from _missing("clients/go/main.go")
        case ["npm", "start", *_]:
            yield from () if '"start":' in (ROOT / "clients/typescript/package.json").read_text() else ("no start",)
        case ["mvn", *_, "exec:java"]:
            yield from () if "exec-maven-plugin" in (ROOT / "clients/java/pom.xml").read_text() else ("no exec",)
        case [program, *_] if program not in PLAIN:
            yield "there is no check for this command"


@cache
def _found(*path: str) -> Any:
    """Return the command or group of a path; None if there is none. Each is made once, as that takes a while."""
    if not path:
        return typer.main.get_command(app())
    try:
        return _found(*path[:-1]).commands[path[-1]]
    except KeyError:
        return None


def _a2a_grpc(words: list[str]) -> Iterator[str]:
    place = 0
    while hasattr(_found(*words[:place]), "commands") and place < len(words):
        place += 1
    path, command = " ".join(["a2a-grpc", *words[:place]]), _found(*words[:place])
    if command is None or hasattr(command, "commands"):
        yield f"there is no command '{path}'"
        return
    try:
        command.make_context(path, words[place:])
    except ClickException as error:
        yield error.format_message()


def _package(name: str) -> Iterator[str]:
    found = re.fullmatch(r"([\w./-]+?)(?:\[([\w,-]+)\])?", name)
    assert found is not None, name
    if found[1] not in (".", "./a2a-grpc"):
        places = [ROOT / "pyproject.toml", *(ROOT / "tests" / "telemetry").glob("*.py")]
        if not any(f'"{found[1]}' in path.read_text() for path in places):
            yield "no test installs this package"
        return
    yield from (
        f"no extra '{extra}'"
        for extra in (found[2] or "").split(",")
        if extra and extra not in PROJECT["optional-dependencies"]
    )


def _missing(path: str) -> Iterator[str]:
    if not (ROOT / path).exists():
        yield f"no file {path}"


def _docker(words: list[str]) -> Iterator[str]:
    options = list(pairwise(words))
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    for path in (value for option, value in options if option == "-f"):
        yield from _missing(path)
    for option, value in options:
        name = value.partition("=")[0]
        if option == "--build-arg" and not re.search(rf"^ARG {name}\b", dockerfile, re.MULTILINE):
            yield f"the Dockerfile has no ARG {name}"
        if option == "-p" and not re.search(rf"^EXPOSE .*\b{value.rpartition(':')[2]}\b", dockerfile, re.MULTILINE):
            yield f"the Dockerfile does not expose {value}"


def _kubectl(words: list[str]) -> Iterator[str]:
    objects = [
        each
        for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
        for each in yaml.safe_load_all(path.read_text())
    ]
    named = {f"{each['kind']}/{each['metadata']['name']}".lower() for each in objects}
    match words:
        case ["apply", "-f", path]:
            yield from _missing(path)
        case ["wait", *_, target] | ["rollout", "status", target]:
            if target not in named:
                yield f"the manifests have no {target}, but {sorted(named)}"
        case ["create", "secret", "generic", name, *sources]:
            given = {re.split(r"[=]", source)[1] for source in sources}
            used = set(_secret_keys(objects, name))
            if given != {Path(key).name for key in used}:
                yield f"the manifests use the keys {sorted(used)} of the secret '{name}'"
        case _:
            yield "there is no check for this command"


def _secret_keys(value: Any, name: str) -> Iterator[str]:
    """Yield each key of a secret that Kubernetes objects use."""
    if isinstance(value, list):
        for each in value:
            yield from _secret_keys(each, name)
    if isinstance(value, dict):
        if (ref := value.get("secretKeyRef", {})).get("name") == name:
            yield ref["key"]
        if (secret := value.get("secret", {})).get("secretName") == name:
            yield from (item["key"] for item in secret.get("items", []))
        for each in value.values():
            yield from _secret_keys(each, name)
