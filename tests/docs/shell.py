"""A shell for the commands of a page, and the comparison of what they print with what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.harness import ROOT


class Shell:
    """A shell that runs one command after another. Its variables last from command to command."""

    def __init__(self, folder: Path, **variables: str) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / "bin"), os.environ["PATH"]])
        self._process = subprocess.Popen(
            ["bash"], cwd=folder, env={**os.environ, "PATH": path, **variables}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.exit_code = 0
        """Of the last command."""

    def run(self, command: str) -> str:
        """Run a command. Return what it prints on standard output and standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        typed = (
            f"(exit {self.exit_code})\n{command}\ncode=$?; echo; echo --ended-- $code\n"  # `$?` is the last command's
        )
        self._process.stdin.write(typed)
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line.startswith("--ended-- "):
                self.exit_code = int(line.split()[1])
                break
            lines.append(line)
        return "".join(lines).removesuffix("\n")

    def close(self) -> None:
        self._process.communicate()


def matches(printed: str, shown: str) -> bool:
    """Return True if a program has printed what a page shows. In a page `…` stands for anything."""
    pattern = ".*".join(map(re.escape, shown.strip("\n").split("…")))
    return re.fullmatch(pattern, printed.strip("\n"), re.DOTALL) is not None


def commands(block: str) -> list[tuple[str, str]]:
    """Return each command of a console block, with what the page shows as its output."""
    found = []
    for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = session.split("\n")
        command = [lines.pop(0)]
        while command[-1].endswith("\\") and lines:
            command.append(lines.pop(0).removeprefix("> "))
        found.append(("\n".join(command), "\n".join(lines)))
    return found
