"""Builds the programs of each language whose tools are there; says of the others what to install.

    python -m tests.interop.peers.build

In CI tools that are missing are a failure.
"""

import os
import subprocess
import sys
import time

from tests.harness import ROOT
from tests.interop.peers.peers import BUILDS, TOOLCHAINS, Toolchain


def build(toolchain: Toolchain) -> bool:
    """Whether all of a language is built; prints a line, and what failed."""
    began = time.monotonic()
    for command in BUILDS[toolchain]:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"FAIL   {toolchain.language}: {' '.join(command)}", done.stdout, done.stderr, sep="\n", flush=True)
            return False
    print(f"built  {toolchain.language:<12} {time.monotonic() - began:5.1f} s", flush=True)
    return True


def main() -> int:
    built = True
    for toolchain in TOOLCHAINS:
        if toolchain.missing:
            print(f"skip   {toolchain.language}: no {' and no '.join(toolchain.missing)}; install {toolchain.install}")
            built = built and os.environ.get("CI") != "true"
        else:
            built = build(toolchain) and built
    return 0 if built else 1


if __name__ == "__main__":
    sys.exit(main())
