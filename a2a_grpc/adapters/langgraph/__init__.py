"""A compiled graph of LangGraph as an agent here, and remote agents as tools of LangChain.

graph     `agent_of`: the agent
run       running the graph for a turn
content   messages of LangChain from parts, and back
written   the events of the graph as artifacts and statuses
tool      `as_tool`: a remote agent as a tool
"""

from a2a_grpc.adapters.langgraph.graph import agent_of
from a2a_grpc.adapters.langgraph.tool import as_tool

__all__ = ["agent_of", "as_tool"]
