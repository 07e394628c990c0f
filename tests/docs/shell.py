"""A shell for the commands of a page, and the comparison of what they print with what the page shows."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.harness import ROOT


class Shell:
    """A shell that runs one command after another. Its variables last from command to command."""

    def __init__(self, folder: Path, *, before: Sequence[str] = (), **variables: str) -> None:
        """Start the shell in a folder. `before` is a command that runs the shell, such as `unshare`."""
        path = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / "bin"), os.environ["PATH"]])
        self._process = subprocess.Popen(
            [*before, "bash"], cwd=folder, env={**os.environ, "PATH": path, **variables}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.exit_code = 0
        """Of the last command."""
        self.failed: list[str] = []
        """Commands of the last text that failed, each with its exit code."""

    def run(self, command: str) -> str:
        """Run a command, or several. Return what it prints on standard output and standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        trap = """trap 'echo "--failed-- $BASH_COMMAND: exit code $?"' ERR"""
        given = f"( exit {self.exit_code} )"  # `$?` is the last command's
        typed = f"{trap}\n{given}\n{command}\ncode=$?; trap - ERR; echo; echo --ended-- $code\n"
        self._process.stdin.write(typed)
        self._process.stdin.flush()
        lines = []
        self.failed = []
        for line in self._process.stdout:
            if line.startswith("--failed-- "):
                if not line.startswith(f"--failed-- {given}:"):
                    self.failed.append(line.removeprefix("--failed-- ").rstrip("\n"))
                continue
            if line.startswith("--ended-- "):
                self.exit_code = int(line.split()[1])
                break
            lines.append(line)
        return "".join(lines).removesuffix("\n")

    def close(self) -> None:
        self._process.communicate()


TASK_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def matches(printed: str, shown: str) -> dict[str, str] | None:
    """Compare what a program has printed with what a page shows, in which `…` stands for anything.

    An id of a task in the page stands for any id. Return the printed id for each id of the page, or None if the program
    has printed something else.
    """
    ids = list(dict.fromkeys(TASK_ID.findall(shown)))
    pattern = ".*".join(map(re.escape, shown.strip("\n").split("…")))
    for place, one in enumerate(ids):
        known, *again = pattern.split(re.escape(one))
        pattern = f"{known}(?P<id{place}>{TASK_ID.pattern})" + f"(?P=id{place})".join(again)
    found = re.fullmatch(pattern, printed.strip("\n"), re.DOTALL)
    return None if found is None else {one: found[f"id{place}"] for place, one in enumerate(ids)}


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
