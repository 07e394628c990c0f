"""Run many commands of `a2a-grpc`, one after the other, in one process: JSON lists of arguments on standard input.

Python is started and gRPC imported once, not a hundred times. A line `=== N` stands before what command N writes, a
line `=== exit CODE` after it; both outputs are one. What `main` does to the process (guarded streams, exit codes) is
what a user gets. Variables stand before a command, as in a shell; `>PATH` before them is where its standard output goes
(`>|` a pipe that nobody reads, `>-` nowhere: it is closed).
"""

import asyncio
import json
import os
import sys
import traceback

from a2a_grpc.cli import main


def run(place: int, arguments: list[str]) -> None:
    code: object = 0
    target = arguments.pop(0)[1:] if arguments[:1] and arguments[0].startswith(">") else ""
    while arguments and arguments[0].startswith("A2A_GRPC_"):
        name, _, value = arguments.pop(0).partition("=")
        os.environ[name] = value
    os.write(2, f"\n=== {place}\n".encode())
    sys.argv = ["a2a-grpc", *arguments]
    before, variables = (sys.stdout, sys.stderr), [name for name in os.environ if name.startswith("A2A_GRPC_")]
    standard = os.dup(1)
    if target:
        redirect(target)
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = "crash"
    if sys.stdout is not None:
        sys.stdout.flush()
        getattr(sys.stdout, "raw", sys.stdout).flush()
    sys.stderr.flush()
    sys.stdout, sys.stderr = before
    os.dup2(standard, 1)
    os.close(standard)
    for name in variables:
        del os.environ[name]
    os.write(2, f"\n=== exit {code}\n".encode())


def redirect(target: str) -> None:
    """Begin a command's standard output anew, as the shell and Python do."""
    if target == "-":
        os.close(1)
        sys.stdout = None
        return
    if target == "|":
        reading, end = os.pipe()
        os.close(reading)
    else:
        end = os.open(target, os.O_WRONLY)
    os.dup2(end, 1)
    os.close(end)
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    os.dup2(1, 2)
    asyncio.run = asyncio.Runner().run  # type: ignore[assignment]  # gRPC wants one event loop
    for place, arguments in enumerate(json.load(sys.stdin)):
        run(place, arguments)
