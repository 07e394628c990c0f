"""The serialised descriptor that generated code embeds, read without importing it."""

import ast
import importlib.util
from pathlib import Path


def installed(package: str, path: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], path)


def embedded(module: Path) -> bytes:
    """What a `*_pb2.py` hands to protobuf's pool."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            found = ast.literal_eval(node.args[0])
            assert isinstance(found, bytes)
            return found
    raise AssertionError(f"{module} registers no file")


def ours() -> bytes:
    return embedded(installed("a2a_grpc_pb", "a2a_pb2.py"))


def official() -> bytes:
    return embedded(installed("a2a", "types/a2a_pb2.py"))
