"""An example of docs/agent.md uses a framework with many dependencies: it is played in an environment of its own."""

from pathlib import Path

import pytest

from tests.docs.pages import blocks
from tests.harness import ROOT
from tests.interop.environments import Environment, newest, python_of, run

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]  # the first use of an environment installs it

LANGGRAPH = Environment("langgraph", ("langgraph==1.2.24", *newest()))

CALLER = """
import asyncio

from a2a_grpc import Server, ServerSettings, TaskArtifactUpdateEvent, connect, text_of
from travel import agent


async def main() -> None:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(agent, settings) as server, connect(server.grpc_address) as client:
        task = await client.send("a trip to Rome")
        print(text_of(task.status.message))
        async with client.stream("Friday", task_id=task.id) as events:
            pieces = [text_of(event.artifact) async for event in events if isinstance(event, TaskArtifactUpdateEvent)]
        print(*pieces, sep="|")


asyncio.run(main())
"""


async def test_the_graph_of_the_agent_guide_asks_its_user_then_streams_its_plan(tmp_path: Path) -> None:
    [example] = [block for block in blocks(ROOT / "docs" / "agent.md") if "langgraph" in block.how]
    (tmp_path / "travel.py").write_text(example.text)
    (tmp_path / "caller.py").write_text(CALLER)
    printed = await run(python_of(LANGGRAPH), str(tmp_path / "caller.py"))
    assert printed.splitlines() == ["Which date?", "Take| |the| |night| |train.|"]
