"""An agent that has other agents work for it. It prints each result when the worker calls back.

    python clients/requester.py --listen 127.0.0.1:50052
    python clients/requester.py --attach 127.0.0.1:8000 --address requester@fame.fabric

Its skill `invite` gives what asks another agent to call this one back: the endpoint, a token, and the data that comes
back with the result. A caller of `invite` may hand this on. With --attach the agent listens nowhere: the callbacks
come through the sentinel.
"""

from a2a_grpc import Agent, Turn
from a2a_grpc.agent import Callback
from a2a_grpc.cli import serve_command
from a2a_grpc.parts import Json

agent = Agent("Requester", "Has other agents work, and takes their results.")


@agent.skill("invite", tags=["callback"], examples=['{"correlation_id": "order-7"}'])
async def invite(turn: Turn) -> dict[str, Json]:
    """Give the endpoint, the headers and the data of a callback to this agent."""
    wish = agent.callbacks.issue(turn.data)
    return {"endpoint": wish.endpoint, "headers": dict(wish.headers), "data": wish.data}


@agent.on_callback
async def finished(callback: Callback) -> str:
    """Take the result of a task of another agent."""
    print(f"callback: task {callback.task_id} is {callback.state}: {callback.text} {callback.data}", flush=True)
    return "thank you"


if __name__ == "__main__":
    serve_command(agent)
