"""Lose the connection when 30 % of a job are done, and still see each step, since the client reconnects.

The connection goes through a relay in this program, which cuts it as a network would. servers/cancellable.py is the
agent.
"""

import argparse
import asyncio
import sys
from contextlib import suppress

from a2a_grpc import A2AError, connect
from a2a_grpc.client import ConfigurationError, progress_of
from a2a_grpc.lifecycle import COMPLETED, state_name


class Relay:
    """Forwards connections to the agent, until it cuts them."""

    def __init__(self, agent: str) -> None:
        self.host, _, self.port = agent.rpartition(":")
        self.passed, self.writers = [], []  # a task for each connection, and its two ends

    async def __aenter__(self) -> "Relay":
        (await asyncio.open_connection(self.host, self.port))[1].close()  # raises now if the agent does not listen
        self.listener = await asyncio.start_server(self.pass_on, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self.listener.sockets[0].getsockname())
        return self

    async def __aexit__(self, *error: object) -> None:
        self.listener.close()
        self.cut()
        await asyncio.gather(*self.passed)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.passed.append(asyncio.current_task())
        with suppress(OSError):  # each side may close at any time
            there_reader, there_writer = await asyncio.open_connection(self.host, self.port)
            self.writers += writer, there_writer
            await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))

    def cut(self) -> None:
        while self.writers:
            self.writers.pop().transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while received := await reader.read(65536):
        writer.write(received)
    writer.close()


async def run(options: argparse.Namespace) -> int:
    seen, job = [], {"steps": 10, "step_seconds": options.step_seconds}
    async with Relay(options.agent) as relay, connect(relay.address) as agent, agent.stream(job) as events:
        async for event in events:
            if (progress := progress_of(event)) is not None:
                seen.append(progress)
                print(f"{progress:4.0%}", flush=True)
                if progress == 0.3:
                    relay.cut()
                    print("connection cut", flush=True)
    print(f"{state_name(events.state)}, {len(seen)} of 10 steps seen, {len(relay.passed)} connections")
    return 0 if events.state == COMPLETED and seen == [step / 10 for step in range(1, 11)] else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--step-seconds", type=float, default=0.3, help="default: %(default)s")
    try:
        sys.exit(asyncio.run(run(parser.parse_args())))
    except (A2AError, ConfigurationError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
