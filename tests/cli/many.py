"""Run many commands of `a2a-grpc`, one after the other, in one process: JSON lists of arguments on standard input.

Python is started and gRPC imported once, not a hundred times. A line `=== N` stands before what command N writes, a
line `=== exit CODE` after it; both outputs are one. What `main` does to the process (guarded streams, exit codes) is
what a user gets. Variables stand before a command, as in a shell.
"""

import asyncio
import json
import os
import sys
import traceback

from a2a_grpc.cli import main


def run(place: int, arguments: list[str]) -> None:
    code: object = 0
    while arguments and arguments[0].startswith("A2A_GRPC_"):
        name, _, value = arguments.pop(0).partition("=")
        os.environ[name] = value
    os.write(1, f"\n=== {place}\n".encode())
    sys.argv = ["a2a-grpc", *arguments]
    before, variables = (sys.stdout, sys.stderr), [name for name in os.environ if name.startswith("A2A_GRPC_")]
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = "crash"
    sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout, sys.stderr = before
    for name in variables:
        del os.environ[name]
    os.write(1, f"\n=== exit {code}\n".encode())


if __name__ == "__main__":
    os.dup2(1, 2)
    asyncio.run = asyncio.Runner().run  # type: ignore[assignment]  # gRPC wants one event loop
    for place, arguments in enumerate(json.load(sys.stdin)):
        run(place, arguments)
