"""The wire contract (design.md, section 4): one set of classes with the official SDK, in any order, in any process."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import a2a_grpc
from tests.covers import covers
from tests.harness import ROOT, run_program
from tests.interop.contract import installed, official, ours

PACKAGE = ROOT / "a2a_grpc"
GENERATED = ROOT / "generated" / "a2a_grpc_pb"


async def printed(*command: str) -> Any:
    """The JSON that a program prints, which must end well and say nothing else."""
    code, out, err = await run_program(*command, env={"TESTS_FORK": ""})  # a fork has the generated classes already
    assert code == 0, err[-2000:]
    assert err == ""
    return json.loads(out)


@covers("WIRE-13", "WIRE-4")
def test_the_embedded_descriptor_is_byte_identical_with_the_official_sdks() -> None:
    assert ours() == official()
    assert len(ours()) == 12_005


@covers("WIRE-4")
@pytest.mark.parametrize("order", [("a2a_grpc", "a2a.types"), ("a2a.types", "a2a_grpc")], ids="-then-".join)
async def test_both_packages_import_in_either_order_and_share_one_set_of_classes(order: tuple[str, str]) -> None:
    found = await printed("-m", "tests.interop.imports", *order)
    assert found["one_task"]
    assert found["one_descriptor"]
    assert found["different"] == []
    assert found["different_in_wire"] == []
    assert found["messages"] >= 40
    assert found["pickled"]
    assert found["top_level"] == []


@pytest.mark.parametrize("file", ["a2a.proto", "lf/a2a/v1/a2a.proto"])
@pytest.mark.long
async def test_beside_a_different_contract_that_came_first_its_classes_are_used(file: str) -> None:
    found = await printed("-m", "tests.interop.other_contract", file)
    assert found.pop("in_wire") >= 28
    assert found == {
        "same": True,
        "one_task": True,
        "read": "from the other contract",
        "pickled": "from the other contract",
        "state": "TASK_STATE_WORKING",
        "role": 1,
        "service": "lf.a2a.v1.A2AService",
        "sent": ["TASK_STATE_COMPLETED", "done"],
        "streamed": ["TASK_STATE_SUBMITTED", "TASK_STATE_WORKING", "TASK_STATE_WORKING", "TASK_STATE_COMPLETED"],
    }


async def test_no_top_level_module_of_generated_code_is_installed() -> None:
    found = await printed("-m", "tests.interop.imports", "a2a_grpc", "a2a_grpc_pb.a2a_pb2_grpc")
    assert found["top_level"] == []


async def test_generated_code_imports_without_a_warning() -> None:
    """A generator too old for the installed protobuf or grpcio would warn before it fails."""
    await printed("-W", "error", "-m", "tests.interop.imports", "a2a_grpc_pb.a2a_pb2", "a2a_grpc_pb.a2a_pb2_grpc")


@covers("WIRE-4")
def test_wire_is_the_only_door_to_generated_code() -> None:
    doors = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if names_generated_code(path)}
    assert doors == {"wire.py", "sentinel/wire.py", "registry/wire.py"}, "of contract, sentinel and registry"


def names_generated_code(path: Path) -> bool:
    """Whether a module imports generated code, or holds its name as a string to import it by."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                found = [module]
            case ast.Constant(value=str(text)):
                found = [text]
            case _:
                continue
        if any(name.split(".")[0] in ("a2a_grpc_pb", "a2a_pb2", "a2a_pb2_grpc") for name in found):
            return True
    return False


def test_the_tests_look_at_the_copy_that_they_run() -> None:
    assert Path(a2a_grpc.__file__) == PACKAGE / "__init__.py"
    assert installed("a2a_grpc_pb", "a2a_pb2.py") == GENERATED / "a2a_pb2.py"
