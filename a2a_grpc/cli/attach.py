"""Serving an agent that is attached to a sentinel."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a2a_grpc.sentinel import Attachment, AttachSettings
from a2a_grpc.server.published import card_json
from a2a_grpc.server.serve import Make, run
from a2a_grpc.server.stopping import signals
from a2a_grpc.server.worker import Tell


async def serve_attached(settings: AttachSettings, make: Make, *, max_calls: int, tell: Tell) -> None:
    """Attach an agent to a sentinel, serve it until a signal comes, and drain.

    The agent's card names the sentinel, so the server starts once the agent is attached.

    Args:
        settings: The sentinel, and the address of the agent.
        make: Makes the server of the agent.
        max_calls: The number of calls that the server accepts on one connection.
        tell: A function that reports each step.

    Raises:
        A2AError: The sentinel refuses the agent.
        ServerFailedError: The server failed.
    """
    with tempfile.TemporaryDirectory(prefix="a2a-grpc-agent-") as folder:  # which no other user can read
        async with Attachment(settings, max_calls=max_calls) as attachment:
            if (welcome := await _welcomed(attachment)) is None:
                tell("stopped", {})
                return
            public, tenant = welcome
            path = Path(folder) / "agent.sock"
            server = make({"advertise": public, "tenant": tenant}, path)

            def tell_both(event: str, values: Mapping[str, Any]) -> None:
                if event == "ready":
                    attachment.serve(path)
                    attachment.describe(card_json(server.card))
                    tell("note", {"text": f"attached to {settings.attach} as {tenant}"})
                if event == "draining":
                    attachment.drain()
                tell(event, values)

            await run(server, tell=tell_both)


async def _welcomed(attachment: Attachment) -> tuple[str, str] | None:
    """Wait until an agent is attached. Return its address and its tenant; None if a signal came first."""
    with signals() as told:
        welcome = asyncio.create_task(attachment.welcome(), name="a2a-grpc:welcome")
        both: list[asyncio.Future[Any]] = [welcome, told]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not welcome.done():
            welcome.cancel()
            return None
        return welcome.result()
