"""Have a worker do a long job, and call back another agent with the result. Then leave.

The program finds the worker (servers/worker.py) and the requester (clients/requester.py) in the registry of a sentinel.
It gets the endpoint and a token from the requester, and sends them to the worker with the job. The worker acknowledges
at once. When the job is done, the worker calls the requester, which prints the result.
"""

import argparse
import asyncio
import sys
import uuid

from a2a_grpc import A2AError, Client, Task, connect, data_of
from a2a_grpc.agent import CallbackTask
from a2a_grpc.client import ConfigurationError, find_agent, state_name


async def agent_for(skill: str, address: str | None, sentinel: str | None) -> Client:
    """Return a client of the agent at an address, or of one that the registry has for a skill."""
    if address:
        return connect(address)
    found = await find_agent(skill=skill, registry=sentinel)
    print(f"found {found.name} for '{skill}'", flush=True)
    return found.connect()


async def run(options: argparse.Namespace) -> None:
    async with await agent_for("invite", options.requester, options.sentinel) as requester:
        invited = data_of(await requester.send({"correlation_id": options.correlation_id}))
    if not isinstance(invited, dict) or "endpoint" not in invited:
        raise A2AError("the requester has answered without an endpoint")
    async with await agent_for("work", options.worker, options.sentinel) as worker:
        task = await worker.start({"seconds": options.seconds}, callback=CallbackTask(**invited))
        if not isinstance(task, Task):
            raise A2AError("the worker has answered with a bare message, not with a task")
    print(f"task {task.id} is {state_name(task.status.state)}", flush=True)
    print("Awaiting callback.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sentinel", metavar="HOST:PORT", help="default: A2A_GRPC_SENTINEL, then REGISTRY_URL")
    parser.add_argument("--worker", metavar="TARGET", help="default: the agent with the skill 'work' in the registry")
    parser.add_argument("--requester", metavar="TARGET", help="default: the agent with the skill 'invite' there")
    parser.add_argument("--seconds", type=float, default=5, help="length of the job; default: %(default)s")
    parser.add_argument("--correlation-id", default=str(uuid.uuid4()), metavar="ID", help="default: a new one")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except (A2AError, ConfigurationError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
