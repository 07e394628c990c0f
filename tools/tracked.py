"""Keep files out of a distribution that lie in a checkout without being part of it."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGED = ("a2a_grpc", "generated/a2a_grpc_pb", "proto", "docs")


class TrackedFiles(BuildHookInterface[Any]):
    """Refuse to build from a checkout with files in its packages that git does not know: they would be packaged."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raise RuntimeError with the names of these files. Without a checkout, or without git, do nothing."""
        if version == "editable" or not (Path(self.root) / ".git").exists():
            return
        command = ["git", "ls-files", "--others", "--exclude-standard", *PACKAGED]
        try:
            found = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True).stdout.split(
                "\n"
            )
        except (OSError, subprocess.CalledProcessError):
            return
        names = [name for name in found if name.endswith((".py", ".pyi", ".proto", "py.typed", ".md"))]
        if names:
            raise RuntimeError(
                f"git does not know {', '.join(names)}; add these files or remove them, then build again"
            )
