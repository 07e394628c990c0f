"""Imports packages in the order of the command line in this fresh process; prints as JSON how the two contracts fare.

python -W error -m tests.interop.imports a2a_grpc a2a.types
"""

import importlib
import importlib.util
import json
import pickle
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

DISTRIBUTIONS = ("a2a-sdk", "googleapis-common-protos", "grpcio", "protobuf")


def main(names: list[str]) -> None:
    modules = {name: importlib.import_module(name) for name in names}
    found: dict[str, Any] = {"versions": {name: version_of(name) for name in DISTRIBUTIONS}}
    if "a2a_grpc" in modules:
        found["pickled"] = survives_pickling()
    if {"a2a_grpc", "a2a.types"} <= set(names):
        found.update(compared(modules["a2a_grpc"], modules["a2a.types"]))
    found["top_level"] = [
        name for name in ("a2a_pb2", "a2a_pb2_grpc") if name in sys.modules or importlib.util.find_spec(name)
    ]
    print(json.dumps(found))


def compared(package: ModuleType, official: ModuleType) -> dict[str, Any]:
    """The messages that both offer, those of them that are not one class; whether both stubs import."""
    wire = importlib.import_module("a2a_grpc.wire")
    importlib.import_module("a2a.types.a2a_pb2_grpc")
    importlib.import_module("a2a_grpc_pb.a2a_pb2_grpc")
    messages = [name for name in official.__all__ if hasattr(getattr(official, name), "FromString")]
    generated = importlib.import_module("a2a_grpc_pb.a2a_pb2")
    return {
        "messages": len(messages),
        "different": [name for name in messages if getattr(generated, name) is not getattr(official, name)],
        "different_in_wire": [
            name for name in wire.__all__ if name in messages and getattr(wire, name) is not getattr(official, name)
        ],
        "one_task": package.Task is official.Task,
        "one_descriptor": generated.DESCRIPTOR is importlib.import_module("a2a.types.a2a_pb2").DESCRIPTOR,
    }


def survives_pickling() -> bool:
    from a2a_grpc import Part, Task

    task = Task(id="t-1", artifacts=[{"artifact_id": "a-1", "parts": [Part(text="hello")]}])
    copy = pickle.loads(pickle.dumps(task))
    return copy == task and type(copy) is Task


def version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main(sys.argv[1:])
