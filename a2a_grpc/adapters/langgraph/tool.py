"""A remote agent as a tool of LangChain."""

from contextvars import ContextVar
from dataclasses import asdict
from typing import Annotated, Any

from a2a_grpc.adapters.missing import needed
from a2a_grpc.adapters.tool import ABOUT_MESSAGE, ABOUT_TASK_ID, AskError, OnProgress, Progress, remote_tool
from a2a_grpc.client import Client, RemoteAgent

needed("langgraph.graph", "langgraph")
from langchain_core.runnables import RunnableConfig  # noqa: E402
from langchain_core.tools import StructuredTool, ToolException  # noqa: E402
from langgraph.config import get_stream_writer  # noqa: E402

_CALL: ContextVar[str] = ContextVar("a2a_grpc_call_of_a_tool", default="")
"""The id that the model gave its call of the tool."""


class RemoteAgentTool(StructuredTool):  # type: ignore[misc]  # LangChain is not checked
    """A remote agent as a tool. `as_tool` makes it."""

    async def arun(self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **options: Any) -> Any:
        """Call the agent. LangChain calls this."""
        token = _CALL.set(tool_call_id or "")
        try:
            return await super().arun(tool_input, *args, tool_call_id=tool_call_id, **options)
        finally:
            _CALL.reset(token)


def as_tool(remote: str | RemoteAgent | Client, *, name: str = "", description: str = "") -> StructuredTool:
    """Return a remote agent as a tool for models and for `ToolNode`. The tool is asynchronous.

    Its progress goes to the stream writer of the graph, as a dict with `tool`, `kind`, `text` and `done`. A canceled
    run cancels the task of the remote agent. All calls of one thread are in one conversation.

    Args:
        remote: The agent: an address or the URL of a card as `connect` takes it, a `RemoteAgent`, or an open `Client`.
        name: The name of the tool; by default made from the name on the card.
        description: What the agent can do, for the model; by default what the card says.

    Raises:
        ConfigurationError: The name cannot be used, or the agent has no card that is known here.
        A2AError: The card cannot be fetched.
    """
    agent = remote_tool(remote, name=name, description=description)

    async def ask(
        message: Annotated[str, ABOUT_MESSAGE],
        config: RunnableConfig,
        task_id: Annotated[str, ABOUT_TASK_ID] = "",
    ) -> str:
        place = config.get("configurable", {})
        thread, call_id = str(place.get("thread_id", "")), _CALL.get()
        if call_id:  # some models count their calls; the step is the same in each of its attempts
            call_id = f"{place.get('checkpoint_ns', '')}/{call_id}"
        try:
            return await agent.ask(
                message, task_id, conversation=thread, call_id=call_id, on_progress=_writes(agent.name)
            )
        except AskError as error:
            raise ToolException(str(error)) from error

    tool: StructuredTool = RemoteAgentTool.from_function(
        coroutine=ask, name=agent.name, description=agent.description, handle_tool_error=True
    )
    return tool


def _writes(tool: str) -> OnProgress | None:
    """Return a function that gives progress to the graph that calls the tool; None if no graph does."""
    try:
        writer = get_stream_writer()
    except (RuntimeError, KeyError):  # the tool was called on its own
        return None

    async def write(progress: Progress) -> None:
        writer({"tool": tool, **asdict(progress)})

    return write
