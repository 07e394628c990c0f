"""A remote agent as a tool of ADK."""

import json
from contextvars import ContextVar
from typing import Any

from google.adk.tools import BaseTool, ToolContext
from google.genai import types

from a2a_grpc.adapters.tool import PARAMETERS, AskError, OnProgress, Progress, RemoteTool
from a2a_grpc.agent import Turn

turn_at_work: ContextVar[Turn | None] = ContextVar("turn_at_work", default=None)
"""The turn that runs an agent of ADK in this context."""


class AdkTool(BaseTool):  # type: ignore[misc]  # ADK is not checked
    """A tool that asks a remote agent. All calls of one session are in one conversation with the agent."""

    def __init__(self, remote: RemoteTool, on_progress: OnProgress | None) -> None:
        super().__init__(name=remote.name, description=remote.description)
        self._remote = remote
        self._on_progress = on_progress

    def _get_declaration(self) -> types.FunctionDeclaration:
        return types.FunctionDeclaration(
            name=self.name, description=self.description, parameters_json_schema=PARAMETERS
        )

    async def run_async(self, *, args: dict[str, Any], tool_context: ToolContext) -> dict[str, str]:
        """Ask the agent. Return its answer as `result`, or why there is none as `error`."""
        session = tool_context.session
        try:
            answer = await self._remote.ask(
                str(args.get("message") or ""),
                str(args.get("task_id") or ""),
                conversation=json.dumps([session.app_name, session.user_id, session.id]),
                call_id=tool_context.function_call_id or "",
                on_progress=self._on_progress or self._told,
            )
        except AskError as error:
            return {"error": str(error)}
        return {"result": answer}

    async def _told(self, progress: Progress) -> None:
        """Tell the caller of the agent here what the remote agent tells."""
        if (turn := turn_at_work.get()) is not None and progress.kind == "status":
            await turn.status(f"{self.name}: {progress.text}")
