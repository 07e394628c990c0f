"""Programs of this repository that a demonstration starts and ends."""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(command: list[str], stack: ExitStack, **options: Any) -> subprocess.Popen[str]:
    """Start a Python program as a process that ends with the stack. Signals wait until the stack has the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        options["preexec_fn"] = lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        options["process_group"] = 0  # Ctrl-C reaches the demonstration only, which ends its programs in order
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, text=True, **options)
        stack.callback(end, process)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return process


def end(process: subprocess.Popen[str]) -> None:
    """End a process, and wait for its end. Its last lines are read: it could not write them to a closed pipe."""
    process.terminate()
    with process:
        if process.stdout and not process.stdout.closed:
            process.stdout.read()


def free_address(stack: ExitStack) -> str:
    """Return HOST:PORT of this machine for a server that starts later. Until the stack ends no other program gets it.

    A socket that is bound and does not listen keeps the port. A server that sets SO_REUSEADDR can listen there.
    """
    held = stack.enter_context(socket.socket())
    held.bind(("127.0.0.1", 0))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after bind, so that no other program gets the port
    return "{}:{}".format(*held.getsockname())
