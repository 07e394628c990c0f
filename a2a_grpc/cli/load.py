"""Finding the agent that the command line names."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from a2a_grpc.agent import INSTEAD, Agent, is_executor
from a2a_grpc.config import ConfigurationError
from a2a_grpc.server import loading


def load_agent(target: str) -> Agent:
    """The agent of `FILE.py`, `package.module`, or either with `:NAME`.

    Without a name: the one agent that the module has. A `serve(agent)` in the module does not serve, it only names the
    agent. Raises ConfigurationError saying what was not found.
    """
    where, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier():
        where, name = target, ""
    with loading() as served:
        module = _load_module(where)
    if name:
        agent = getattr(module, name, None)
        if not isinstance(agent, Agent):
            _check_executor(where, {name: agent})
            wrong = f"there is no '{name}' in {where}" if agent is None else f"'{name}' in {where} is not an Agent"
            raise ConfigurationError(wrong)
        return agent
    found = {id(agent): agent for agent in [*served, *vars(module).values()] if isinstance(agent, Agent)}
    if len(served) == 1:
        return served[0]
    if len(found) != 1:
        _check_executor(where, vars(module) if not found else {})
        names = ", ".join(key for key, value in vars(module).items() if isinstance(value, Agent))
        raise ConfigurationError(
            f"{where} has {len(found)} agents{f' ({names})' if names else ''}; name one: {where}:NAME"
        )
    return next(iter(found.values()))


def _check_executor(where: str, named: Mapping[str, object]) -> None:
    """Raise ConfigurationError, with the way out, if an object is an AgentExecutor of the official SDK."""
    for name, value in named.items():
        if is_executor(value) and not isinstance(value, type):
            raise ConfigurationError(f"'{name}' in {where} {INSTEAD}")


def _load_module(where: str) -> ModuleType:
    path = Path(where)
    if path.suffix != ".py" and not path.is_file():
        return _import(where)
    if not path.is_file():
        raise ConfigurationError(f"there is no file '{where}'")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"'{where}' is not a Python file")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    missing = ConfigurationError(f"there is no file and no module '{name}'")
    if not all(part.isidentifier() for part in name.split(".")):
        raise missing
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise missing from error
        raise  # the module is there; what it imports is not
