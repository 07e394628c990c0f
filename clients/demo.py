"""Runs servers/cancellable.py and clients/cancellable.py against each other, each in a process of its own."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    command = [
        sys.executable,
        "servers/cancellable.py",
        "-o",
        "json",
        "--listen=127.0.0.1:0",
        "--http-listen=127.0.0.1:0",
        "--store=memory:",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = next((json.loads(line) for line in server.stdout if '"ready"' in line), None)
            if ready is None:
                return server.wait() or 1
            print(f"Agent at {ready['grpc']}, its card at {ready['http']}/.well-known/agent-card.json", flush=True)
            return subprocess.run(
                [sys.executable, "clients/cancellable.py", "--agent", ready["grpc"]], cwd=ROOT
            ).returncode
        except KeyboardInterrupt:
            return 130
        finally:
            server.terminate()
            server.communicate()


if __name__ == "__main__":
    sys.exit(main())
