"""Check that what examples in the docs name exists: commands, options, files, tests and log lines."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from trustme import CA

from a2a_grpc.auth import AuthSettings, file, keyfile
from tests.docs.pages import PAGES, Block, blocks
from tests.docs.parsed import PROJECT, wrong
from tests.docs.shell import commands
from tests.docs.test_messages import messages
from tests.harness import ROOT

OF_EVERY_LINE = {"time", "level", "logger", "message", "task", "principal", "trace", "exception"}
LOGGED = {
    re.split(r" \w+='?…", text)[0]: OF_EVERY_LINE | set(re.findall(r"(\w+)='?…", text))
    for text in messages.texts()["logs"]
}
"""What each log message begins with, and the keys of its values."""


def said(verb: str) -> Iterator[tuple[str, Block]]:
    """Yield each block of all pages whose comment begins with a word, with its place."""
    for page in PAGES:
        yield from ((f"{page.name}:{block.line}", block) for block in blocks(page) if block.verb == verb)


def test_what_the_commands_name_exists_that_are_not_typed() -> None:
    found = []
    for place, block in said("parsed"):
        typed = block.text if block.kind == "sh" else "".join(f"{command}\n" for command, _ in commands(block.text))
        assert typed.strip(), place
        found += [f"{place}: {each}" for each in wrong(typed)]
    assert found == []


def test_a_command_that_names_what_does_not_exist_is_found() -> None:
    for command, told in {
        "a2a-grpc sned hello": "no command 'a2a-grpc sned'",
        "(umask 077; a2a-grpc send --tokn x hello > file)": "No such option: --tokn",
        "a2a-grpc get": "Missing argument 'TASK'",
        "A2A_GRPC_SENTINEL=a:1 A2A_GRPC_TASKS=x a2a-grpc list": "no variable A2A_GRPC_TASKS",
        "make no-such-target": "No rule to make target",
        'pip install ".[push,mtls]"': "no extra 'mtls'",
        "docker run -p 127.0.0.1:1:4 image": "does not expose",
        "kubectl rollout status deployment/other": "no deployment/other",
        "kubectl create secret generic agent --from-literal=store=x": "the keys ['keys.toml', 'store']",
        "haproxy -f servers/missing.cfg": "no file servers/missing.cfg",
        "frobnicate": "no check for this command",
    }.items():
        assert [told in each for each in wrong(command)] == [True], command


def test_a_test_that_plays_a_block_exists_and_names_its_page() -> None:
    for place, block in said("played by"):
        page = place.partition(":")[0]
        assert page in (ROOT / block.name).read_text(), f"{place}: {block.name} does not read {page}"


def test_a_log_line_of_a_page_is_one_that_the_package_writes() -> None:
    for place, block in said("log line"):
        for line in block.text.splitlines():
            if block.kind == "json":
                fields = json.loads(line)
                message, keys = fields["message"], set(fields)
            else:
                message = re.sub(r"^\d{4}-[\d: ,-]+ [A-Z]+ a2a_grpc\.\w+ ", "", line)
                keys = set(re.findall(r" (\w+)=", message))
                message = re.split(r"(?<=…)| \w+=", message)[0]
            pattern = re.escape(message).replace("…", ".*")
            known = [each for text, each in LOGGED.items() if re.fullmatch(pattern, text)]
            assert len(known) == 1, f"{place}: {message}"
            assert keys - known[0] == set(), place


def test_a_server_accepts_the_files_of_credentials_that_security_md_shows(tmp_path: Path) -> None:
    how = f"played by: tests/docs/{Path(__file__).name}"
    keys, accepts = [block.text for block in blocks(ROOT / "docs" / "security.md") if block.how == how]
    (tmp_path / "keys.toml").write_text(keys)
    (tmp_path / "auth.toml").write_text(accepts)
    CA().cert_pem.write_to_path(tmp_path / "clients.pem")
    assert [key.name for key in keyfile.read(tmp_path / "keys.toml")] == ["alice"]
    accepted = file.accepted(AuthSettings(auth=str(tmp_path / "auth.toml")))
    assert [type(one).__name__ for one in accepted.authenticators] == ["ApiKeys", "Jwt", "ClientCertificates"]


def test_every_extra_that_a_page_or_a_message_names_exists() -> None:
    places = [*PAGES, *(ROOT / "a2a_grpc").rglob("*.py"), *(ROOT / "deploy").rglob("*file")]
    named = {
        (path.name, extra)
        for path in places
        for extras in re.findall(r"(?:\ba2a-grpc|install \"\.)\[([a-z0-9,-]+)\]", path.read_text())
        for extra in extras.split(",")
    }
    assert {extra for _, extra in named} >= {"auth", "postgres", "prometheus", "push"}
    assert {each for each in named if each[1] not in PROJECT["optional-dependencies"]} == set()
