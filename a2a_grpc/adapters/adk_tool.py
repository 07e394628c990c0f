"""A remote agent as a tool of ADK."""

import json
from typing import Any

from google.adk.tools import BaseTool, ToolContext
from google.genai import types

from a2a_grpc.adapters.served import names_of
from a2a_grpc.adapters.tool import PARAMETERS, AskError, OnProgress, RemoteTool


class AdkTool(BaseTool):  # type: ignore[misc]  # ADK is not checked
    """A tool that asks a remote agent. All calls of one session are in one conversation with the agent."""

    def __init__(self, remote: RemoteTool, on_progress: OnProgress) -> None:
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
        place = json.dumps([session.app_name, session.user_id, session.id])
        conversation, call_id = names_of(place, tool_context.function_call_id or "")
        try:
            answer = await self._remote.ask(
                str(args.get("message") or ""),
                str(args.get("task_id") or ""),
                conversation=conversation,
                call_id=call_id,
                on_progress=self._on_progress,
            )
        except AskError as error:
            return {"error": str(error)}
        return {"result": answer}
