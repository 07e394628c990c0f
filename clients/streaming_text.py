"""Print the text of an agent as it arrives, piece by piece. servers/streaming_text.py is the agent."""

import argparse
import asyncio
import sys

from a2a_grpc import A2AError, RemoteAgent
from a2a_grpc.client import ConfigurationError


async def run(options: argparse.Namespace) -> None:
    async for text in RemoteAgent(options.agent).stream(options.subject):
        print(text, end="", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="TARGET", help="default: %(default)s")
    parser.add_argument("subject", nargs="?", default="a lighthouse", help="default: %(default)s")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except (A2AError, ConfigurationError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
