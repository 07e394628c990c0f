"""The error for a package that an adapter needs and that is not installed."""

from importlib import import_module
from types import ModuleType


def needed(module: str, extra: str) -> ModuleType:
    """Import a module of another package. Return the module.

    Raises:
        ImportError: The package is not installed. The message names the extra that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ImportError(
            f"{error.name} is not installed; install it with: pip install 'a2a-grpc[{extra}]'", name=error.name
        ) from error
