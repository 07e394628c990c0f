"""Call an agent from threads, without asyncio. The threads share one manager and one connection."""

import argparse
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from a2a_grpc import A2AError, ClientManager, text_of
from a2a_grpc.client import ConfigurationError


def ask(agents: ClientManager, number: int) -> str:
    answer = agents.blocking("worker").send(f"question {number}")
    return f"{threading.current_thread().name}: {text_of(answer)}"


def as_they_end(asked: set[Future[str]]) -> Iterator[Future[str]]:
    """Yield each future when it is done. Wake ten times a second, as Python may miss a Ctrl-C before a long wait."""
    while asked:
        ended, asked = wait(asked, timeout=0.1, return_when=FIRST_COMPLETED)
        yield from ended


def run(options: argparse.Namespace) -> None:
    # The manager is closed first, which ends the calls that the threads still wait for.
    with ThreadPoolExecutor(options.threads, thread_name_prefix="thread") as pool, ClientManager() as agents:
        agents.register("worker", options.agent)
        asked = {pool.submit(ask, agents, number) for number in range(options.threads)}
        for answer in as_they_end(asked):
            print(answer.result(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="TARGET", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=4, help="how many; default: %(default)s")
    options = parser.parse_args()
    if options.threads < 1:
        parser.error(f"--threads is {options.threads}; it must be at least 1")
    try:
        run(options)
    except (A2AError, ConfigurationError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
