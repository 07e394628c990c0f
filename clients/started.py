"""Programs of this repository that a demonstration starts and ends."""

import signal
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
        process = stack.enter_context(subprocess.Popen([sys.executable, *command], cwd=ROOT, text=True, **options))
        stack.callback(process.terminate)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return process
