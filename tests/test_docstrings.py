"""Public docstrings: each parameter and each attribute is documented, and nothing else."""

import inspect
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import ClassVar, NamedTuple

import pytest

import a2a_grpc
from a2a_grpc import wire
from a2a_grpc.store import TaskStore
from tools.docstrings import Docstring, attributes, parameters, parse

PUBLIC = {
    "a2a_grpc.agent": [
        *("Agent", "Answer", "AuthRequired", "Completed", "Failed", "InputRequired", "Outcome", "Rejected", "Skill"),
        *("Threads", "Turn", "build_card", "Callback", "CallbackTask", "Callbacks"),
    ],
    "a2a_grpc.auth": [
        *("ApiKeys", "AuthSettings", "Authenticator", "CallCredentials", "Certificate", "ClientCertificates"),
        *("Described", "Jwt", "Opened", "Refused", "anonymous"),
    ],
    "a2a_grpc.client": [
        *("AgentCardError", "BlockingClient", "BlockingStream", "Cards", "Client", "ClientManager", "ClientSettings"),
        *("ConnectionLostError", "Discovered", "RemoteAgent", "RemoteTask"),
        *("ResponseTooLargeError", "SendOptions", "TaskLostError"),
        *("TaskNotCompletedError", "TaskStream", "UnreachableError", "api_key", "bearer", "connect", "progress_of"),
        *("CredentialsUnavailableError", "oauth2", "token_command", "FoundAgent", "NoAgentFound", "Registry"),
        *("find_agent", "state_name"),
    ],
    "a2a_grpc.client.pages": ["Pages"],
    "a2a_grpc.config": ["ConfigurationError", "load", "setting"],
    "a2a_grpc.engine": ["EngineSettings", "Stats"],
    "a2a_grpc.errors": [
        *("A2AError", "ContentTypeNotSupportedError", "DeadlineExceededError", "ExtendedAgentCardNotConfiguredError"),
        *("ExtensionSupportRequiredError", "InternalError", "InvalidAgentResponseError", "InvalidRequestError"),
        *("PermissionDeniedError", "PushNotificationNotSupportedError", "ResourceExhaustedError", "TaskNotFoundError"),
        *("TaskNotCancelableError", "UnauthenticatedError", "UnavailableError", "UnimplementedError"),
        *("UnsupportedOperationError", "VersionNotSupportedError", "Violation"),
    ],
    "a2a_grpc.parts": [
        *("data_of", "file_part", "files_of", "part", "parts", "struct", "text_of", "to_dict", "to_python"),
        *("user_message", "value"),
    ],
    "a2a_grpc.push": ["Notification", "PushReceiver", "Reply", "WebhookSettings"],
    "a2a_grpc.principal": ["Principal"],
    "a2a_grpc.rpc": ["TransportSettings"],
    "a2a_grpc.testing": [
        *("Ask", "Clock", "Pause", "Pieces", "ScriptedAgent", "Status", "assert_events", "assert_state", "collect"),
        *("described", "running"),
    ],
    "a2a_grpc.store": [
        *(
            "AlreadyBound",
            "Append",
            "Binding",
            "Coordination",
            "Create",
            "DeadPush",
            "Head",
            "InOrder",
            "ListFilter",
            "Listed",
        ),
        *(
            "Mailbox",
            "MemoryStore",
            "Note",
            "Notes",
            "OneServer",
            "Outbox",
            "Page",
            "Pending",
            "Position",
            "Push",
            "PushClaim",
            "PushName",
            "PushStep",
            "QueueFull",
            "Record",
            "Records",
            "Scope",
            "Snapshot",
            "StaleAppend",
            "StoreFull",
            "StoreLost",
        ),
        *(
            "StoreUnavailable",
            "TaskKey",
            "TaskStore",
            "TaskView",
            "Then",
            "TooManyPushes",
            "Writing",
            "open_store",
            "over",
            "refused",
            "when_over",
            "written",
        ),
    ],
    "a2a_grpc.server.server": ["ServerFailedError"],
    "a2a_grpc.server": ["ListenError", "RequestLimits", "Server", "ServerSettings", "loading", "run", "serve"],
}
"""Public names by module."""

MADE_BY_THE_PACKAGE = {"Answer", "BlockingStream", "Pages", "RemoteTask", "TaskStream", "Turn"}
"""Classes whose constructors users do not call."""

DOCUMENTED_BY: dict[str, type] = {"MemoryStore": TaskStore, "OneServer": TaskStore}
"""Classes whose methods have their docstrings in a protocol."""

TARGETS = [(module, name) for module, names in PUBLIC.items() for name in names]


def test_the_list_has_all_names_of_the_package_except_messages() -> None:
    listed = {name for names in PUBLIC.values() for name in names}
    assert set(a2a_grpc.__all__) - listed == set(a2a_grpc.__all__) & set(vars(wire))


def load(module: str, name: str) -> object:
    return getattr(import_module(module), name)


def documentation(target: object) -> Docstring:
    assert target.__doc__
    return parse(target.__doc__)


def constructor(kind: type) -> list[str]:
    """Return the parameters of a class that `Args:` has to list.

    There are none if `Attributes:` says the same, as in a dataclass, and none if a base class documents them.
    """
    if "__init__" not in vars(kind) or "__dataclass_fields__" in vars(kind) or getattr(kind, "_is_protocol", False):
        return []
    return [] if kind.__name__ in MADE_BY_THE_PACKAGE else parameters(kind)


@pytest.mark.parametrize(("module", "name"), TARGETS)
def test_a_class_documents_its_parameters_and_attributes(module: str, name: str) -> None:
    kind = load(module, name)
    if not inspect.isclass(kind):
        return
    found = documentation(kind)
    taken = constructor(kind)
    documented = list(found.entries("Args"))
    assert documented == taken or (not taken and documented == parameters(kind))
    assert sorted(found.entries("Attributes")) == sorted(set(attributes(kind)) - set(taken))
    for text in [
        *found.entries("Args").values(),
        *found.entries("Attributes").values(),
        *found.entries("Raises").values(),
    ]:
        assert text.endswith("."), f"{name}: {text!r} is no sentence"
    for attribute, value in vars(kind).items():
        if not attribute.startswith("_"):
            assert not isinstance(value, cached_property), f"help() has no docstring of {name}.{attribute}"


def functions(module: str, name: str) -> list[tuple[str, object]]:
    target = load(module, name)
    if not inspect.isclass(target):
        return [(name, target)]
    own = [(key, value if isinstance(value, property) else getattr(target, key)) for key, value in vars(target).items()]
    return [
        (f"{name}.{key}", value)
        for key, value in own
        if not key.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, property))
        and (value.__doc__ or not hasattr(DOCUMENTED_BY.get(name, object), key))
    ]


@pytest.mark.parametrize(
    ("name", "function"),
    [pytest.param(*pair, id=pair[0]) for module, name in TARGETS for pair in functions(module, name)],
)
def test_a_public_function_documents_its_parameters(name: str, function: object) -> None:
    found = documentation(function)
    assert found.summary.endswith((".", ":")), name
    if isinstance(function, property):
        assert not found.sections, name
        return
    documented = found.entries("Args")
    assert list(documented) == parameters(function)
    for text in [*documented.values(), *found.entries("Raises").values()]:
        assert text.endswith("."), f"{name}: {text!r} is no sentence"


class Example(NamedTuple):
    """One of each kind.

    More about it,
    in two lines.

    Attributes:
        one: The first: it has
            two lines.
        two: The second.
    """

    one: int
    two: str = ""


@dataclass
class Base:
    value: int
    limit: ClassVar[int] = 3
    _hidden: int = 0


class Derived(Base):
    code = 1

    def __init__(self, given: int) -> None:
        super().__init__(given)
        self.given = given
        self.value, self.other = given, 2
        self._own = 4

    @property
    def size(self) -> int:
        return 1

    @classmethod
    def of(cls) -> "Derived":
        return cls(1)


def test_a_docstring_is_read_into_its_pieces() -> None:
    found = documentation(Example)
    assert found.summary == "One of each kind."
    assert found.text == "More about it,\nin two lines."
    assert found.entries("Attributes") == {"one": "The first: it has two lines.", "two": "The second."}
    assert found.entries("Args") == {}


@pytest.mark.parametrize("text", ["One.\n\nArgs:\n    no entry\n", "One.\n\nArgs:\n    a: b\n\nText behind.\n"])
def test_a_section_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"no entry|text after"):
        parse(text).entries("Args")


def test_the_attributes_of_a_class_are_its_own_public_ones() -> None:
    assert attributes(Example) == ["one", "two"]
    assert attributes(Base) == ["value", "limit"]
    assert attributes(Derived) == ["code", "given", "other"]


def test_parameters_are_named_as_the_docstring_names_them() -> None:
    def function(self: int, one: int, *args: int, two: int = 0, **options: int) -> None: ...

    assert parameters(function) == ["one", "*args", "two", "**options"]
