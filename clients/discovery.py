"""List several agents with what they can do. An agent that is down is reported, and the others are listed.

The client reads the card of each agent over HTTP.
"""

import argparse
import asyncio
import sys

from a2a_grpc import A2AError, ClientManager
from a2a_grpc.client import ConfigurationError

DEFAULT = ["http://127.0.0.1:8080", "http://127.0.0.1:8081"]


async def run(options: argparse.Namespace) -> int:
    async with ClientManager() as agents:
        found = await agents.discover(options.agent, timeout_s=options.timeout)
        for one in found:
            if one.card is None:
                print(f"Agent at {one.url} unavailable: {one.error}", flush=True)
                continue
            print(f"{one.card.name} {one.card.version} at {one.url}: {one.card.description}")
            for skill in one.card.skills:
                print(f"  {skill.id}: {skill.description}", flush=True)
    return 0 if any(one.card for one in found) else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", nargs="+", default=DEFAULT, metavar="URL", help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--timeout", type=float, default=5, help="seconds for each of them; default: %(default)s")
    options = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(options)))
    except (A2AError, ConfigurationError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
