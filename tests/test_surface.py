"""The public surface: what `import a2a_grpc` gives, and that each name keeps the promises of a public name."""

import inspect
import subprocess
import sys
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points, files
from typing import Any

import pytest

import a2a_grpc
from a2a_grpc.auth import AuthSettings
from a2a_grpc.client import ClientSettings
from a2a_grpc.config import ConfigurationError, load
from a2a_grpc.engine import EngineSettings
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.server import RequestLimits, ServerSettings

SERVER_SETTINGS = (ServerSettings, EngineSettings, TransportSettings, RequestLimits, AuthSettings)
SETTINGS = (*SERVER_SETTINGS, ClientSettings)


def test_import_a2a_grpc_gives_these_names() -> None:
    assert sorted(a2a_grpc.__all__) == [
        "A2AError",
        "Agent",
        "Artifact",
        "AuthRequired",
        "Client",
        "ClientManager",
        "Completed",
        "Failed",
        "InputRequired",
        "InvalidRequestError",
        "Message",
        "Notification",
        "Part",
        "PushReceiver",
        "Rejected",
        "RemoteAgent",
        "Server",
        "ServerSettings",
        "Task",
        "TaskArtifactUpdateEvent",
        "TaskState",
        "TaskStatusUpdateEvent",
        "Turn",
        "connect",
        "data_of",
        "serve",
        "text_of",
    ]
    for name in a2a_grpc.__all__:
        assert getattr(a2a_grpc, name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "A2AError",
        "Agent",
        "Client",
        "ClientManager",
        "Completed",
        "Failed",
        "InputRequired",
        "PushReceiver",
        "RemoteAgent",
        "Server",
        "Turn",
        "connect",
        "serve",
    ],
)
def test_a_public_name_has_a_docstring_of_its_own_as_have_its_methods(name: str) -> None:
    target = getattr(a2a_grpc, name)
    assert inspect.getdoc(target)
    for method_name, method in vars(target).items() if inspect.isclass(target) else ():
        if inspect.isfunction(method) and not method_name.startswith("_"):
            assert method.__doc__, f"{name}.{method_name}"


def test_a_public_signature_mentions_no_any() -> None:
    for name in ("Agent", "Client", "ClientManager", "RemoteAgent", "Turn", "Server"):
        for method_name, method in vars(getattr(a2a_grpc, name)).items():
            if inspect.isfunction(method) and (method_name == "__init__" or not method_name.startswith("_")):
                for parameter in inspect.signature(method).parameters.values():
                    assert parameter.annotation is not Any, f"{name}.{method_name}({parameter.name})"


def test_importing_the_package_starts_nothing_heavy() -> None:
    code = "import a2a_grpc, sys; print(sorted({'aiohttp', 'typer', 'rich', 'a2a'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_console_script_and_the_type_marker_are_installed() -> None:
    scripts = {script.name: script.value for script in entry_points(group="console_scripts")}
    assert scripts["a2a-grpc"] == "a2a_grpc.cli:main"
    assert files("a2a-grpc") is not None
    assert inspect.getsourcefile(a2a_grpc) is not None


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_has_a_default_and_a_line_of_documentation(kind: type) -> None:
    assert is_dataclass(kind)
    for item in fields(kind):
        assert item.metadata["doc"].endswith("."), item.name
    kind()


def test_no_two_settings_of_a_server_share_a_name() -> None:
    names = [item.name for kind in SERVER_SETTINGS for item in fields(kind)]
    assert len(names) == len(set(names))


def test_a_setting_comes_from_default_then_environment_then_the_caller() -> None:
    assert load(EngineSettings, {}, {}).max_runs == 100
    assert load(EngineSettings, {}, {"A2A_GRPC_MAX_RUNS": "7"}).max_runs == 7
    assert load(EngineSettings, {"max_runs": 3}, {"A2A_GRPC_MAX_RUNS": "7"}).max_runs == 3
    assert load(ServerSettings, {}, {"A2A_GRPC_INSECURE": "true"}).insecure is True
    assert load(ServerSettings, {}, {"A2A_GRPC_ADVERTISE": "agents.example:443"}).advertise == "agents.example:443"


@pytest.mark.parametrize(
    ("kind", "variable", "value", "said"),
    [
        (EngineSettings, "A2A_GRPC_MAX_RUNS", "0", "max_runs is 0; it must be at least 1"),
        (
            EngineSettings,
            "A2A_GRPC_MAX_RUNS",
            "many",
            "A2A_GRPC_MAX_RUNS is 'many'; it must be a whole number, for example 100",
        ),
        (ServerSettings, "A2A_GRPC_INSECURE", "perhaps", "A2A_GRPC_INSECURE is 'perhaps'; it must be true or false"),
        (ServerSettings, "A2A_GRPC_LISTEN", "50051", "listen is '50051'; it must be HOST:PORT"),
        (ServerSettings, "A2A_GRPC_LISTEN", "::1:50051", "an IPv6 address stands in brackets: [::1]:50051"),
        (ServerSettings, "A2A_GRPC_LISTEN", "127.0.0.1:99999", "a port from 0 to 65535"),
        (ServerSettings, "A2A_GRPC_LISTEN", "0.0.0.0:50051", "plaintext beyond this machine"),
        (ServerSettings, "A2A_GRPC_TLS_CERT", "cert.pem", "--tls-key is missing"),
        (AuthSettings, "A2A_GRPC_JWT_ISSUER", "https://id.example", "--jwt-audience is missing"),
        (AuthSettings, "A2A_GRPC_AUTH", "", "auth is empty"),
        (AuthSettings, "A2A_GRPC_CALLS_BURST", "5", "calls_burst is 5, but calls_per_second is 0"),
    ],
)
def test_refused_nonsense_names_the_setting_and_the_value(kind: type, variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(kind, {}, {variable: value})
    assert said in str(refused.value)


def test_an_unknown_setting_is_refused_by_name() -> None:
    agent = a2a_grpc.Agent("A", "a")
    with pytest.raises(TypeError, match="max_rums: no such setting"):
        a2a_grpc.serve(agent, max_rums=3)


def test_a_client_does_not_wait_for_the_modules_of_the_server() -> None:
    code = "import sys, a2a_grpc; a2a_grpc.connect; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "a2a_grpc.client" in loaded
    assert not {"a2a_grpc.server", "a2a_grpc.engine"} & set(loaded)
