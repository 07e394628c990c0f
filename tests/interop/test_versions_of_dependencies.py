"""The wire contract and a server's work, with the lowest and the newest dependencies, beside the oldest and the newest
official SDK."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Program
from tests.interop.contract import embedded, ours
from tests.interop.environments import (
    FRAMEWORKS,
    Environment,
    claimed,
    declared,
    dependencies,
    interpreter_of,
    lowest,
    newest,
    python_of,
    run,
)
from tests.tools import MissingProgram

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]  # the first use of an environment installs it

SDK = "a2a-sdk[grpc]"
CLIENT = "tests/interop/sdk_client.py"

LOWEST = Environment("lowest", lowest())
"""What pyproject.toml promises, to the letter. The SDK is not there: it asks for a newer protobuf than we do."""

LOWEST_WITH_SDK = Environment(
    "sdk-1.0",
    (
        f"{SDK}==1.0.*",
        *lowest(protobuf="5.29.5", googleapis_common_protos="1.70.0", grpcio_tools="1.71.0", grpcio_status="1.71.0"),
    ),
)
"""The first line of the SDK, with the lowest dependencies that it allows."""

NEWEST = Environment("newest", (SDK, *newest()), newest=True)
"""The newest of everything."""


@dataclass(frozen=True, slots=True)
class Made:
    """An environment that is there."""

    environment: Environment
    python: Path

    @property
    def sdk_contract(self) -> Path:
        """The SDK's generated messages."""
        (found,) = self.python.parent.parent.glob("lib/python*/site-packages/a2a/types/a2a_pb2.py")
        return found

    async def imports(self, *names: str) -> Any:
        return json.loads(await run(self.python, "-m", "tests.interop.imports", *names))


def made(environment: Environment) -> Made:
    return Made(environment, python_of(environment))


@pytest.fixture(scope="module", params=[LOWEST, LOWEST_WITH_SDK, NEWEST], ids=lambda environment: environment.name)
def each(request: pytest.FixtureRequest) -> Made:
    """Every environment."""
    return made(request.param)


@pytest.fixture(scope="module", params=[LOWEST_WITH_SDK, NEWEST], ids=lambda environment: environment.name)
def with_sdk(request: pytest.FixtureRequest) -> Made:
    """The environments that hold an official SDK."""
    return made(request.param)


async def test_the_lowest_environment_holds_the_floors_of_pyproject_and_no_sdk() -> None:
    versions = (await made(LOWEST).imports("a2a_grpc"))["versions"]
    assert {name: numbers(version)[:2] for name, version in versions.items()} == {
        "a2a-sdk": (),
        "googleapis-common-protos": numbers(dependencies()["googleapis-common-protos"])[:2],
        "grpcio": numbers(dependencies()["grpcio"]),
        "protobuf": numbers(dependencies()["protobuf"])[:2],
    }


async def test_the_newest_environment_holds_what_was_newest_when_this_was_written_or_later() -> None:
    versions = (await made(NEWEST).imports("a2a_grpc"))["versions"]
    assert numbers(versions["a2a-sdk"]) >= (1, 3, 0)
    assert numbers(versions["grpcio"]) >= (1, 85)
    assert numbers(versions["protobuf"]) >= (7, 36)


async def test_generated_code_imports_without_a_warning(each: Made) -> None:
    modules = ("a2a_grpc_pb.a2a_pb2", "a2a_grpc_pb.a2a_pb2_grpc")
    found = json.loads(await run(each.python, "-W", "error", "-m", "tests.interop.imports", *modules))
    assert found["top_level"] == []


async def test_a_message_survives_pickling(each: Made) -> None:
    assert (await each.imports("a2a_grpc"))["pickled"] is True


async def test_the_client_sends_resumes_waits_and_says_why_an_agent_is_not_there(each: Made) -> None:
    seen = json.loads(await run(each.python, "-m", "tests.interop.client_roundtrip"))
    assert seen == {
        "sent": "hello",
        "resumed": [303, 303, 3],
        "waited": "CANCELED",
        "left": "WORKING",
        "card": "Scripted",
        "closed": "UnreachableError",
        "unknown": "UnreachableError",
        "not_found": "TaskNotFoundError",
        "exit_code": 0,
    }


async def test_a_server_answers_a_send_and_a_stream(each: Made) -> None:
    """Server and client both run with the environment's versions, each in a process of its own."""
    seen = json.loads(await run(each.python, "-m", "tests.interop.roundtrip"))
    assert seen["sent"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert seen["sent"]["task"]["artifacts"][0]["parts"] == [{"text": "chunk 0 "}, {"text": "chunk 1 "}]
    assert [kind for element in seen["streamed"] for kind in element] == [
        "task", "statusUpdate", "statusUpdate", "artifactUpdate", "artifactUpdate", "statusUpdate",
    ]  # fmt: skip
    assert seen["streamed"][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert seen["listed"] == 32 * 150, "five MB of metadata are no flood"


def test_the_embedded_descriptor_is_byte_identical_with_the_sdks(with_sdk: Made) -> None:
    assert embedded(with_sdk.sdk_contract) == ours()


@pytest.mark.parametrize("order", [("a2a_grpc", "a2a.types"), ("a2a.types", "a2a_grpc")], ids="-then-".join)
async def test_both_packages_import_in_either_order_and_share_one_set_of_classes(
    with_sdk: Made, order: tuple[str, str]
) -> None:
    found = await with_sdk.imports(*order)
    assert found["one_task"]
    assert found["one_descriptor"]
    assert found["different"] == []
    assert found["messages"] >= 40
    assert found["pickled"]
    assert found["top_level"] == []


async def test_the_sdks_client_sends_streams_and_understands_an_error(with_sdk: Made) -> None:
    """The SDK runs with the environment's versions, the server with those of development."""
    async with Program.server("servers/scripted.py") as server:
        out = await run(with_sdk.python, CLIENT, server.http, "blocking_send", "stream", "errors")
    seen = {line["scenario"]: line["seen"] for line in map(json.loads, out.splitlines())}
    assert seen["blocking_send"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert seen["stream"]["elements"][-1]["status_update"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert seen["errors"]["cancel_done"]["type"] == "TaskNotCancelableError"


BOUNDS = ("lowest", "newest")
EXTRAS = tuple(sorted(name for name in declared() if name and name not in FRAMEWORKS))


def everything(python: str, bound: str) -> Environment:
    """The base install with every extra, for a version of Python."""
    interpreter = interpreter_of(python)
    if interpreter is None:
        pytest.skip(str(MissingProgram(f"python{python}", "a Python of this version on PATH")))  # in CI too
    # The SDK asks for a newer protobuf than the package does, the exporter of `prometheus` for a newer OpenTelemetry.
    raised = {"opentelemetry_api": "1.45.0"}
    if python != "3.14":
        raised |= {"protobuf": "5.29.5", "googleapis_common_protos": "1.70.0"}
    asked = lowest(*EXTRAS, python=python, **raised) if bound == "lowest" else newest(*EXTRAS)
    return Environment(f"{bound}-{python}", asked, newest=bound == "newest", interpreter=interpreter)


@pytest.fixture(scope="module", params=[(python, bound) for python in claimed() for bound in BOUNDS], ids="-".join)
def whole(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with every extra."""
    return python_of(everything(*request.param))


async def check_serves(python: Path, store: str) -> None:
    seen = json.loads(await run(python, "-m", "tests.interop.roundtrip", f"--store={store}", "--uvloop", "--channelz"))
    assert seen["sent"]["task"]["artifacts"][0]["parts"] == [{"text": "chunk 0 "}, {"text": "chunk 1 "}]
    assert seen["streamed"][-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_each_python_serves_a_file_with_the_lowest_and_the_newest_of_everything(
    whole: Path, tmp_path: Path
) -> None:
    await check_serves(whole, f"sqlite:///{tmp_path}/tasks.db")


async def test_each_python_serves_postgresql_with_the_lowest_and_the_newest_of_everything(
    whole: Path, postgres_url: str
) -> None:
    await run(whole, "-m", "a2a_grpc", "db", "upgrade", f"--store={postgres_url}")
    await check_serves(whole, postgres_url)


async def test_each_python_serves_mysql_with_the_lowest_and_the_newest_of_everything(
    whole: Path, mariadb_url: str
) -> None:
    await run(whole, "-m", "a2a_grpc", "db", "upgrade", f"--store={mariadb_url}")
    await check_serves(whole, mariadb_url)


async def test_each_python_sends_and_receives_notifications_with_the_lowest_and_the_newest_of_everything(
    whole: Path,
) -> None:
    """The receiver verifies a signature with the published key. `push listen` registers itself and is called."""
    assert json.loads(await run(whole, "-m", "tests.interop.pushed")) == {
        "received": ["COMPLETED", "Task"],
        "listened": {"exit_code": 0, "deleted": True},
    }


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".") if number.isdecimal())
