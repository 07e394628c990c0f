"""The agents of a run of ADK: those below the root, and those in the nodes of a workflow."""

from collections.abc import Iterator
from typing import Any


class Agents:
    """Finds agents by their names, which are the authors of events."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def has_schema(self, name: str) -> bool:
        """Return True if the answer of an agent is data."""
        return any(getattr(agent, "output_schema", None) is not None for agent in self._named(name))

    def may_confirm(self, name: str, tool: str) -> bool:
        """Return True if an agent may ask the user before it calls a tool.

        Args:
            name: The name of the agent.
            tool: The name of the tool. Its agent has it in a toolset, if the agent does not list it.
        """
        listed = [each for agent in self._named(name) for each in getattr(agent, "tools", None) or ()]
        found = [each for each in listed if tool in (getattr(each, "name", ""), getattr(each, "__name__", ""))]
        toolsets = (each for each in listed if hasattr(each, "get_tools"))
        return any(getattr(each, "_require_confirmation", False) for each in found or toolsets)

    def _named(self, name: str) -> Iterator[Any]:
        return (agent for agent in _below(self._root) if agent.name == name)


def _below(node: Any) -> Iterator[Any]:
    """Give a node and all nodes in it. A worker that runs a node several times has it as `_node`."""
    yield node
    graph, worked = getattr(node, "graph", None), getattr(node, "_node", None)
    inner = [*(getattr(node, "sub_agents", None) or ()), *(graph.nodes if graph is not None else ()), worked]
    for each in inner:
        if each is not None and each is not node:
            yield from _below(each)
