"""Send several agents the same message at the same time, and print each answer when it arrives."""

import argparse
import asyncio
import sys

from a2a_grpc import A2AError, RemoteAgent
from a2a_grpc.client import ConfigurationError

DEFAULT = ["127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:50053"]


async def ask(target: str, question: str) -> bool:
    """Print the answer of an agent, or why there is none. Return True if there is an answer."""
    try:
        answer = await RemoteAgent(target).run(question)
    except (A2AError, ConfigurationError) as error:
        print(f"{target}: Error: {error}", file=sys.stderr, flush=True)
        return False
    print(f"{target}: {answer}", flush=True)
    return True


async def run(options: argparse.Namespace) -> int:
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(target, options.question)) for target in options.agent]
    answers = sum(task.result() for task in asked)
    print(f"{answers} of {len(asked)} answered", flush=True)
    return 0 if answers == len(asked) else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", nargs="+", default=DEFAULT, metavar="TARGET", help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--question", default="a lighthouse", help="default: %(default)s")
    options = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(options)))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
