"""Run servers/cancellable.py and clients/cancellable.py, as two processes."""

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack

from started import start

AGENT = ["servers/cancellable.py", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--store=memory:"]


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        with ExitStack() as stack:
            server = start(AGENT, stack, stdout=subprocess.PIPE)
            ready = next((json.loads(line) for line in server.stdout or () if '"ready"' in line), None)
            if ready is None:
                return server.wait() or 1
            print(f"Agent at {ready['grpc']}, its card at {ready['http']}/.well-known/agent-card.json", flush=True)
            return start(["clients/cancellable.py", "--agent", ready["grpc"]], stack).wait()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
