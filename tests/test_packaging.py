"""What is built from the tree: a source distribution and a wheel that hold sources only, and work once installed."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.harness import ROOT, Program

SOURCES = (
    "a2a_grpc", "generated", "proto", "docs", "pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md",
    "LICENSE", "tools/tracked.py", ".gitignore",
)  # fmt: skip
JUNK = (
    "notes.txt", ".env", "core.1234", "tasks.db", "agent.tasks.db-wal", "dump.sql", "bin/tool", "secrets/key.pem",
    "a2a_grpc/notes.txt", "a2a_grpc/.env", "a2a_grpc/tasks.db", "a2a_grpc/store/dump.sql", "proto/a2a.json",
    "docs/notes.txt", "docs/draft/page.md",
    "generated/a2a_grpc_pb/old.bak", "tests/output.log", "node_modules/x/index.js", "a2a_grpc/__pycache__/x.pyc",
)  # fmt: skip


def built(target: str, root: Path, to: Path) -> Path:
    """Build a distribution of a tree with the build system that pyproject.toml names, as it is installed here."""
    script = f"from hatchling.build import build_{target}; print(build_{target}({str(to)!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, check=True)
    return to / done.stdout.decode().splitlines()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, with files in it that belong to nobody's installation."""
    root = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, root / name)
    for name in JUNK:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("junk")
    return root


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", tree, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as files:
        [name] = [name for name in files.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(files.read(name).decode())


@pytest.mark.long
def test_a_file_that_git_does_not_know_is_not_packaged(tree: Path, tmp_path: Path) -> None:
    """The build ends before it packages one; it goes on once the file is added."""
    root = tmp_path / "tree"
    shutil.copytree(tree, root)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.invalid", "-C", str(root)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    built("wheel", root, tmp_path / "before")
    (root / "a2a_grpc" / "cli" / "scratch.py").write_text("")
    for target in ("wheel", "sdist"):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            built(target, root, tmp_path / target)
        assert b"git does not know a2a_grpc/cli/scratch.py; add these files or remove them" in refused.value.stderr
    subprocess.run([*git, "add", "a2a_grpc/cli/scratch.py"], check=True)
    with zipfile.ZipFile(built("wheel", root, tmp_path / "after")) as files:
        assert "a2a_grpc/cli/scratch.py" in files.namelist()


def sources(*folders: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".pyi", ".proto") or path.name == "py.typed"
    }


def test_a_source_distribution_holds_sources_whatever_lies_in_the_tree(sdist: Path) -> None:
    with tarfile.open(sdist) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    expected = {"PKG-INFO", *(name for name in SOURCES if (ROOT / name).is_file())}
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert names == expected | pages | sources("a2a_grpc", "generated/a2a_grpc_pb", "proto")


def test_a_source_distribution_holds_what_its_readme_links_to(sdist: Path) -> None:
    with tarfile.open(sdist) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / "README.md").read_text())
    assert len(links) > 5
    assert set(links) - names == set()


def test_a_wheel_holds_the_packages_whatever_lies_in_the_tree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = {name for name in files.namelist() if ".dist-info/" not in name}
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in files.namelist())
    packaged = {name.removeprefix("generated/") for name in sources("a2a_grpc", "generated/a2a_grpc_pb")}
    assert names == packaged


def test_the_description_on_an_index_has_no_link_into_a_checkout(metadata: Message) -> None:
    text = metadata.get_payload()
    assert isinstance(text, str)
    links = re.findall(r"\]\(([^)]+)\)", text)
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    inside = [link.removeprefix(f"{repository}/blob/main/") for link in links if link.startswith(repository)]
    assert len(inside) > 5
    assert [name for name in inside if not (ROOT / name.partition("#")[0]).exists()] == []
    assert [link for link in links if not re.match(r"https://|#", link)] == []


def test_the_metadata_say_what_the_license_is_and_which_pythons_are_meant(metadata: Message) -> None:
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Repository", "Documentation", "Changelog", "Issues"}
    claim = "Programming Language :: Python :: 3."
    claimed = [text.removeprefix(claim) for text in metadata.get_all("Classifier", []) if text.startswith(claim)]
    assert claimed == ["11", "12", "13", "14"]
    assert metadata["Requires-Python"] == ">=3.11"


@pytest.mark.long
async def test_what_is_installed_from_the_wheel_serves_and_sends(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are those of this environment; the package is nowhere but where pip has put it."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--no-index"]
    await asyncio.to_thread(subprocess.run, [*pip, "--target", str(site), str(wheel)], check=True)
    (tmp_path / "agent.py").write_text(
        "import a2a_grpc\n"
        f"assert a2a_grpc.__file__.startswith({str(site)!r}), a2a_grpc.__file__\n"
        "agent = a2a_grpc.Agent('Echo', 'Says it again.')\n"
        "@agent.skill('echo')\n"
        "async def echo(turn: a2a_grpc.Turn) -> str:\n"
        "    return turn.text\n"
    )
    environment = {"PYTHONPATH": str(site)}
    command = (str(site / "bin" / "a2a-grpc"), "serve", str(tmp_path / "agent.py"), "-o", "json")
    store = f"--store=sqlite:///{tmp_path}/tasks.db"
    async with Program(*command, "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", store, env=environment) as server:
        sent = await asyncio.create_subprocess_exec(
            *(sys.executable, site / "bin" / "a2a-grpc", "send", f"--agent={server.http}", "hello"),
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await sent.communicate()
    assert (sent.returncode, out) == (0, b"hello\n"), err
