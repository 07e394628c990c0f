"""Run each program of clients/ with the agents that it needs, as processes. Print PASS or FAIL for each."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

from started import start

FREE = ["-o", "json", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--store=memory:", "--drain-grace-s=0"]
AGENTS = {
    **{name: [f"servers/{name}.py"] for name in ("cancellable", "scripted", "streaming_text", "translator")},
    "worker": ["servers/worker.py", "--push-allow=127.0.0.0/8"],
    "requester": ["clients/requester.py"],
    **{role: ["servers/role.py", f"--role={role}"] for role in ("research", "write", "review")},
}
PROGRAMS = {  # the arguments of each program, and what it has to print
    "cancellable": ("--agent {cancellable} --step-seconds 0.1", "[STATUS] CANCELED"),
    "demo": ("--listen 127.0.0.1:0 --step-seconds 0.1", "[STATUS] CANCELED"),
    "streaming_text": ("--agent {streaming_text}", "Once there was a lighthouse."),
    "translator": ("--agent {translator}", "Result: Merci"),
    "poll": ("--agent {cancellable} --seconds 1.5 --interval 1 --fresh-channel", "polled COMPLETED"),
    "subscribe": ("--agent {scripted}", "[COMPLETED] added up 3 files"),
    "resume": ("--agent {cancellable} --step-seconds 0.1", "COMPLETED, 10 of 10 steps seen"),
    "pipeline": ("--agent {research} {write} {review}", "ready to print"),
    "discovery": ("--agent {cancellable_http} http://127.0.0.1:9 {translator_http}", "http://127.0.0.1:9 unavailable"),
    "fan_out": ("--agent {research} {write} {review}", "3 of 3 answered"),
    "artifacts": ("--agent {scripted} --output-dir {folder}", "file: 2-artifacts.py"),
    "callback": ("--worker {worker} --requester {requester} --seconds 0.2", "Awaiting callback."),
    "threads": ("--agent {scripted}", "question 3"),
}


def serve(stack: ExitStack) -> dict[str, str]:
    """Start all agents at the same time. Return their addresses by name. The agents end with the stack."""
    addresses = {"folder": stack.enter_context(tempfile.TemporaryDirectory())}
    started = {name: start([*command, *FREE], stack, stdout=subprocess.PIPE) for name, command in AGENTS.items()}
    for name, process in started.items():
        if (ready := next((json.loads(line) for line in process.stdout or () if '"ready"' in line), None)) is None:
            sys.exit(f"Error: the agent '{name}' does not start")
        addresses |= {name: ready["grpc"], f"{name}_http": ready["http"]}
    return addresses


def passes(name: str, addresses: dict[str, str], limit_s: float = 60) -> bool:
    """Run one program. Print its result, and return True if it passed."""
    began, (arguments, expected) = time.monotonic(), PROGRAMS[name]
    command = [f"clients/{name}.py", *(word.format(**addresses) for word in arguments.split())]
    with ExitStack() as stack:
        process = start(command, stack, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            said, _ = process.communicate(timeout=limit_s)
            ended = f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
            ended, said = f"not ended after {limit_s} s", process.communicate()[0]
    has_passed = ended == "exit code 0" and expected in said
    print(f"{'PASS' if has_passed else 'FAIL'}  {name:<18} {time.monotonic() - began:4.1f} s", flush=True)
    if not has_passed:
        print(f"  {ended}; it should say '{expected}':", *said.splitlines(), sep="\n  | ", flush=True)
    return has_passed


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that no process stays
    try:
        with ExitStack() as stack:
            addresses = serve(stack)
            return min(1, [passes(name, addresses) for name in PROGRAMS].count(False))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
