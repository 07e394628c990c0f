"""Who the peers are: what each is built with, how it is run."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tests.harness import ROOT
from tests.interop.environments import python_of
from tests.interop.test_versions_of_dependencies import LOWEST_WITH_SDK

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What programs in a language need to be built."""

    language: str
    programs: tuple[str, ...]
    install: str

    @property
    def missing(self) -> list[str]:
        return [program for program in self.programs if shutil.which(program) is None]


PYTHON = Toolchain("Python", (), "")
GO = Toolchain("Go", ("go",), "Go 1.26 or newer: https://go.dev/dl")
NODE = Toolchain("TypeScript", ("node", "npm"), "Node.js 20 or newer: https://nodejs.org")
JAVA = Toolchain("Java", ("javac", "mvn"), "a JDK 17 or newer, with Maven: apt install openjdk-17-jdk-headless maven")
TOOLCHAINS = (GO, NODE, JAVA)

BUILDS: Mapping[Toolchain, tuple[tuple[str, ...], ...]] = {
    GO: (
        ("make", "--silent", "proto-go"),
        ("go", "-C", "clients/go", "build", "-o", "bin/", "."),
        ("go", "-C", "tests/interop/peers/go", "build", "-o", "bin/", "./cmd/client", "./cmd/server"),
    ),
    NODE: (
        ("make", "--silent", "proto-typescript"),
        ("npm", "--prefix", "clients/typescript", "run", "--silent", "build"),
        ("npm", "--prefix", "tests/interop/peers/js", "ci", "--silent"),
    ),
    JAVA: (
        ("make", "--silent", "proto-java"),
        ("mvn", "--quiet", "--batch-mode", "--file", "clients/java/pom.xml", "package"),
        ("mvn", "--quiet", "--batch-mode", "--file", "tests/interop/peers/java/pom.xml", "package"),
    ),
}
"""What builds the programs of a language, in order, from the root of the repository."""


@dataclass(frozen=True)
class LanguageClient:
    """A program of clients/ made of stubs."""

    name: str
    toolchain: Toolchain
    command: tuple[str, ...]


LANGUAGE_CLIENTS = (
    LanguageClient("clients/python-stubs, grpc", PYTHON, (sys.executable, "clients/python-stubs/synchronous.py")),
    LanguageClient("clients/python-stubs, grpc.aio", PYTHON, (sys.executable, "clients/python-stubs/asynchronous.py")),
    LanguageClient("clients/go", GO, ("clients/go/bin/a2a-cancellable",)),
    LanguageClient("clients/typescript", NODE, ("node", "clients/typescript/dist/main.js")),
    LanguageClient("clients/java", JAVA, ("java", "-jar", "clients/java/target/a2a-cancellable.jar")),
)


@dataclass(frozen=True)
class Peer:
    """An SDK with the programs that are made of it. Commands are made when they are needed: some install first."""

    name: str
    package: str
    toolchain: Toolchain
    version_of: Callable[[], str]
    client: Callable[[], tuple[str, ...]] | None = None
    server: Callable[[], tuple[str, ...]] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    """The logical address of a server that is attached to a sentinel."""

    @cached_property
    def version(self) -> str:
        return self.version_of()

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)


def python_sdk(name: str, interpreter: Callable[[], Path]) -> Peer:
    def version() -> str:
        asked = "from importlib.metadata import version; print(version('a2a-sdk'))"
        return subprocess.run([interpreter(), "-c", asked], capture_output=True, text=True, check=True).stdout.strip()

    return Peer(
        name,
        "a2a-sdk",
        PYTHON,
        version,
        client=lambda: (str(interpreter()), "-m", "tests.interop.peers.sdk"),
        server=lambda: (str(interpreter()), "tests/interop/sdk_server.py"),
        env={"PYTHONPATH": str(ROOT)},
    )


def go_version() -> str:
    command = [
        "go",
        "-C",
        "tests/interop/peers/go",
        "list",
        "-m",
        "-f",
        "{{.Version}}",
        "github.com/a2aproject/a2a-go/v2",
    ]
    return (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip().removeprefix("v")
    )


def java_version() -> str:
    (found,) = re.findall(r"<sdk.version>(.*)</sdk.version>", (HERE / "java/pom.xml").read_text())
    return str(found)


def js_version() -> str:
    return str(json.loads((HERE / "js/node_modules/@a2a-js/sdk/package.json").read_text())["version"])


TENANT = "acme"
"""What the card of our server names."""
LISTEN = ("--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0")

OURS = Peer(
    "a2a-grpc",
    "a2a-grpc",
    PYTHON,
    lambda: "",
    client=lambda: (sys.executable, "-m", "tests.interop.peers.ours"),
    server=lambda: (
        sys.executable,
        "servers/scripted.py",
        "-o",
        "json",
        *LISTEN,
        "--store=memory:",
        f"--tenant={TENANT}",
    ),
)
BEHIND = replace(
    OURS,
    name="a2a-grpc at a sentinel",
    client=None,
    server=lambda: (sys.executable, "servers/scripted.py", "-o", "json", *LISTEN, "--store=memory:"),
    address="acme@fame.fabric",
)
"""The same agent, which clients reach at a sentinel only."""
PEERS = (
    python_sdk("a2a-sdk (Python)", lambda: Path(sys.executable)),
    python_sdk("a2a-sdk 1.0 (Python)", lambda: python_of(LOWEST_WITH_SDK)),
    Peer(
        "a2a-go",
        "a2a-go",
        GO,
        go_version,
        client=lambda: ("tests/interop/peers/go/bin/client",),
        server=lambda: ("tests/interop/peers/go/bin/server",),
    ),
    Peer(
        "a2a-js",
        "@a2a-js/sdk",
        NODE,
        js_version,
        client=lambda: ("node", "tests/interop/peers/js/client.mjs"),
        server=lambda: ("node", "tests/interop/peers/js/server.mjs"),
    ),
    Peer(
        "a2a-java",
        "a2a-java-sdk",
        JAVA,
        java_version,
        client=lambda: ("java", "-jar", "tests/interop/peers/java/target/peer.jar"),
    ),
)
PAIRS = [
    *((peer, OURS) for peer in PEERS if peer.client),
    *((peer, BEHIND) for peer in PEERS if peer.client and peer.toolchain is not JAVA),
    *((OURS, peer) for peer in PEERS if peer.server),
]
"""A client with a server: theirs with ours, directly and through a sentinel; ours with theirs."""
