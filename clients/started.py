"""Programs of this repository that a demonstration starts, and that end with it."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(command: list[str], stack: ExitStack, **options: Any) -> subprocess.Popen[str]:
    """A Python program as a process that ends with the stack. A signal waits until the stack knows of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        options["preexec_fn"] = lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        process = stack.enter_context(subprocess.Popen([sys.executable, *command], cwd=ROOT, text=True, **options))
        stack.callback(process.terminate)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return process
