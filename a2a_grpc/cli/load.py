"""Loading the agent that the command line names."""

import importlib
import importlib.util
import logging
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import a2a_grpc
from a2a_grpc.agent import INSTEAD, Agent, is_executor
from a2a_grpc.config import ConfigurationError
from a2a_grpc.server.program import Served
from a2a_grpc.server.serve import loading

logger = logging.getLogger("a2a_grpc.cli")
T = TypeVar("T")

FOREIGN = [
    Path(a2a_grpc.__file__).parent,
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
]
"""The folders with code that is not the agent's."""


def load_agent(target: str) -> Served:
    """Return the agent of a target, which is `FILE.py`, `package.module`, or one of them with `:NAME`.

    Without a name this is the only agent of the module. A call of `serve(agent)` in the module does not serve, but only
    names the agent. If modules that this one imports call `serve` for the agent as well, the last call counts, which is
    the module's own. Raise ConfigurationError, with what was not found.
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
        return _as_served(agent, served)
    found = {
        id(agent): agent
        for agent in [*(one.agent for one in served), *vars(module).values()]
        if isinstance(agent, Agent)
    }
    if len(served) == 1:
        return served[0]
    if len(found) != 1:
        _check_executor(where, vars(module) if not found else {})
        names = [key for key, value in vars(module).items() if isinstance(value, Agent)]
        if not found:
            raise ConfigurationError(
                f"there is no agent in {where}; make one at the top level of the file: "
                'agent = Agent("NAME", "DESCRIPTION")'
            )
        listed = f" ({', '.join(names)})" if names else ""
        raise ConfigurationError(
            f"{where} has {len(found)} agents{listed}; name one: {where}:{names[0] if names else 'NAME'}"
        )
    return _as_served(next(iter(found.values())), served)


def _as_served(agent: Agent, served: Sequence[Served]) -> Served:
    """Return the agent with what the last `serve` call of it asks for."""
    return next((one for one in reversed(served) if one.agent is agent), Served(agent))


def _check_executor(where: str, named: Mapping[str, object]) -> None:
    """Raise ConfigurationError, with the way out, if an object is an AgentExecutor of the official SDK."""
    for name, value in named.items():
        if is_executor(value) and not isinstance(value, type):
            raise ConfigurationError(f"'{name}' in {where} {INSTEAD}")


def _load_module(where: str) -> ModuleType:
    path = Path(where)
    try:
        is_file = path.is_file()
    except OSError as error:  # the name is too long, for example
        raise ConfigurationError(f"'{where}' cannot be read: {error.strerror}") from error
    if path.suffix != ".py" and not is_file:
        return _import(where)
    if not is_file:
        raise ConfigurationError(f"there is no file '{where}'")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"'{where}' is not a Python file")
    loader = spec.loader
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    _run(where, lambda: loader.exec_module(module))
    return module


def _import(name: str) -> ModuleType:
    missing = ConfigurationError(f"there is no file and no module '{name}'")
    if not all(part.isidentifier() for part in name.split(".")):
        raise missing
    sys.path.insert(0, "")
    try:
        return _run(name, lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        raise missing from error


def _run(where: str, load: Callable[[], T]) -> T:
    """Run the agent's code.

    Raise ConfigurationError, with the line of the agent's code, if the code raises an error. Raise ModuleNotFoundError
    if there is no module of the name `where`."""
    try:
        return load()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{where}.".startswith(f"{error.name}."):
            raise
        logger.debug("the agent cannot be loaded", exc_info=error)
        raise ConfigurationError(f"{_place_of(error)}: {type(error).__name__}: {_said_of(error)}") from error


def _place_of(error: Exception) -> str:
    """Return the line that an error comes from, which is the deepest one of the agent's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_foreign(frame.filename)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "the agent"


def _said_of(error: Exception) -> str:
    """Return the text of an error. A syntax error would repeat its place."""
    return error.msg if isinstance(error, SyntaxError) and error.filename else str(error)


def _is_foreign(file: str) -> bool:
    """Return True for code of Python, of installed packages and of this one."""
    return file.startswith("<") or any(Path(file).is_relative_to(folder) for folder in FOREIGN)
