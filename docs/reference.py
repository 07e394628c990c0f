"""The reference pages: every public name, with what its docstring says.

`CHAPTERS` says which names stand on which page, and in which order. Signatures and types come from the source. The
texts come from the docstrings, which `tools/docstrings.py` reads. The classes of the protocol are generated code
without docstrings; `PROTOCOL` describes their fields. A name or a parameter without documentation is an error.
"""

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any

from a2a_grpc import A2AError, wire
from tools.anchors import slugs
from tools.docstrings import Docstring, attributes, parameters, parse

WIDTH = 120


@dataclass(frozen=True, slots=True, eq=False)
class Chapter:
    """One page of the reference.

    Attributes:
        page: The name of the file.
        title: The heading of the page.
        about: What the page is about.
        names: The names by the module from which users import them. A module in parentheses is not imported by users.
    """

    page: str
    title: str
    about: str
    names: dict[str, list[str]]


CHAPTERS = (
    Chapter(
        "reference-agent.md",
        "Reference: agents and servers",
        "This page lists everything with which you write an agent and serve it. The [agent guide](agent.md) shows"
        " how to use it.",
        {
            "a2a_grpc": [
                *("Agent", "Turn", "Completed", "InputRequired", "AuthRequired", "Rejected", "Failed"),
                *("serve", "Server", "ServerSettings"),
            ],
            "a2a_grpc.agent": ["Answer", "Outcome", "Skill", "Output", "Callback", "Callbacks", "CallbackTask"],
            "(a2a_grpc.agent.agent)": ["Handler", "Router", "Validator", "ExtendedCard"],
            "a2a_grpc.principal": ["Principal"],
            "a2a_grpc.engine": ["EngineSettings", "Stats"],
            "a2a_grpc.rpc": ["TransportSettings"],
            "a2a_grpc.server": ["RequestLimits", "ListenError"],
            "(a2a_grpc.server.server)": ["ServerFailedError"],
            "a2a_grpc.config": ["load"],
        },
    ),
    Chapter(
        "reference-auth.md",
        "Reference: authentication",
        "This page lists the authenticators of a server, and what you need to write one. The [security"
        " page](security.md#who-may-call) shows how to use them. `Principal` is on the page of [agents and"
        " servers](reference-agent.md).",
        {
            "a2a_grpc.auth": [
                *("ApiKeys", "Jwt", "ClientCertificates", "anonymous", "AuthSettings"),
                *("Authenticator", "CallCredentials", "Certificate", "Refused", "Described", "Opened"),
            ],
        },
    ),
    Chapter(
        "reference-client.md",
        "Reference: clients",
        "This page lists everything with which you call agents. The [client guide](client.md) shows how to use it.",
        {
            "a2a_grpc": ["RemoteAgent", "connect", "Client", "ClientManager"],
            "a2a_grpc.client": [
                *("SendOptions", "RemoteTask", "TaskStream", "BlockingClient", "BlockingStream", "Discovered", "Cards"),
                *("ClientSettings", "bearer", "oauth2", "token_command", "api_key", "Credentials"),
                *("find_agent", "Registry", "FoundAgent"),
                *("Event", "state_name", "progress_of"),
            ],
            "(a2a_grpc.client.headers)": ["Metadata"],
            "(a2a_grpc.client.pages)": ["Pages"],
            "(a2a_grpc.client.security)": ["Given"],
        },
    ),
    Chapter(
        "reference-testing.md",
        "Reference: tests",
        "This page lists what helps to test agents and the programs that call them. [Test agents and"
        " clients](testing.md) shows how to use it.",
        {
            "a2a_grpc.testing": [
                *("running", "Clock", "assert_state", "assert_events", "collect", "described"),
                *("ScriptedAgent", "Status", "Pieces", "Pause", "Ask"),
            ],
            "(a2a_grpc.testing.scripted)": ["Step"],
            "(a2a_grpc.testing.events)": ["Expected"],
            "(a2a_grpc.testing.clock)": ["Settle"],
        },
    ),
    Chapter(
        "reference-push.md",
        "Reference: push notifications",
        "This page lists what receives push notifications, and the settings of a server that sends them. [Receiving"
        " push notifications](receiving-push.md) shows how to use it.",
        {
            "a2a_grpc": ["PushReceiver", "Notification"],
            "a2a_grpc.push": ["Reply", "WebhookSettings"],
        },
    ),
    Chapter(
        "reference-content.md",
        "Reference: content and the classes of the protocol",
        "This page lists the functions that make and read content, and the classes of the protocol that carry it."
        " `Struct` and `Value` are classes of `google.protobuf`; `to_dict` and `to_python` give their Python values."
        " A `Timestamp` has the method `ToDatetime`.",
        {
            "a2a_grpc": [
                *("text_of", "data_of", "Task", "Message", "Part", "Artifact", "TaskState", "TaskStatusUpdateEvent"),
                "TaskArtifactUpdateEvent",
            ],
            "a2a_grpc.wire": ["TaskStatus", "TaskPushNotificationConfig"],
            "a2a_grpc.client": ["files_of", "file_part", "user_message"],
            "a2a_grpc.parts": [
                "part",
                "parts",
                "value",
                "struct",
                "to_python",
                "to_dict",
                "Contents",
                "Content",
                "Json",
            ],
        },
    ),
    Chapter(
        "reference-errors.md",
        "Reference: errors",
        "This page lists the classes of errors. [Errors and log messages](messages.md) says what to do about each.",
        {
            "a2a_grpc": ["A2AError", "InvalidRequestError"],
            "a2a_grpc.errors": [
                *("Violation", "TaskNotFoundError", "TaskNotCancelableError", "PushNotificationNotSupportedError"),
                *("UnsupportedOperationError", "ContentTypeNotSupportedError", "InvalidAgentResponseError"),
                *("ExtendedAgentCardNotConfiguredError", "ExtensionSupportRequiredError", "VersionNotSupportedError"),
                *("ResourceExhaustedError", "UnavailableError", "UnauthenticatedError", "PermissionDeniedError"),
                *("DeadlineExceededError", "UnimplementedError", "InternalError"),
            ],
            "a2a_grpc.client": [
                *("UnreachableError", "CredentialsUnavailableError", "ConnectionLostError", "TaskLostError"),
                *("TaskNotCompletedError", "NoAgentFound"),
                *("ResponseTooLargeError", "AgentCardError", "ConfigurationError"),
            ],
        },
    ),
    Chapter(
        "reference-store.md",
        "Reference: stores",
        "This page lists what a store of tasks takes, returns and raises. [A store of your own](custom-store.md) shows"
        " how to write one.",
        {
            "a2a_grpc.store": [
                *(
                    "open_store",
                    "TaskStore",
                    "Records",
                    "Coordination",
                    "Mailbox",
                    "Notes",
                    "Outbox",
                    "OneServer",
                    "MemoryStore",
                    "Scope",
                    "TaskKey",
                    "Record",
                    "Head",
                    "Snapshot",
                    "TaskView",
                ),
                *(
                    "WHOLE",
                    "CORE",
                    "Create",
                    "Append",
                    "InOrder",
                    "Written",
                    "Writing",
                    "written",
                    "refused",
                    "when_over",
                    "over",
                    "Pending",
                    "Binding",
                    "Note",
                    "ListFilter",
                    "Position",
                    "Listed",
                    "Page",
                ),
                *("Push", "PushName", "PushClaim", "Then", "PushStep", "DeadPush"),
                *("StaleAppend", "AlreadyBound", "QueueFull", "StoreFull", "TooManyPushes", "StoreUnavailable"),
                "StoreLost",
            ],
            "a2a_grpc.store.contract": [
                *("StoreContract", "RecordsContract", "CoordinationContract", "MailboxContract", "NotesContract"),
                "OutboxContract",
            ],
        },
    ),
)

LIKE = {"BlockingClient": "Client", "MemoryStore": "TaskStore", "OneServer": "TaskStore"}
"""Classes whose methods are documented at those of another class."""

WITHOUT_METHODS = {
    "StoreContract",
    "RecordsContract",
    "CoordinationContract",
    "MailboxContract",
    "NotesContract",
    "OutboxContract",
}
"""Classes whose methods are not listed. Those of these are tests."""

SETTINGS = {
    "ServerSettings": "server",
    "EngineSettings": "server",
    "TransportSettings": "server",
    "RequestLimits": "server",
    "AuthSettings": "server",
    "ClientSettings": "client",
}
"""Classes of settings: the section of the page of all settings that lists their fields."""

SPEC = "https://a2a-protocol.org/latest/specification/"

PROTOCOL: dict[str, tuple[str, dict[str, str]]] = {
    "Task": (
        "A task: what an agent does for a caller, with its state and its results (spec §4.1.1).",
        {
            "id": "The id, which the server has given.",
            "context_id": "The conversation that the task belongs to.",
            "status": "The state, with its message and its time.",
            "artifacts": "The results.",
            "history": "The messages of the user and the agent, the oldest first.",
            "metadata": "Further values, by key.",
        },
    ),
    "TaskStatus": (
        "The state of a task (spec §4.1.2).",
        {
            "state": "The state.",
            "message": "What the agent says about it, for example a question.",
            "timestamp": "The time of this status, in UTC.",
        },
    ),
    "Message": (
        "One message of a user or an agent (spec §4.1.4).",
        {
            "message_id": "The id, which the sender has given.",
            "context_id": "The conversation that the message belongs to.",
            "task_id": "The task that the message goes on with; empty for a new task.",
            "role": "The sender: `ROLE_USER` or `ROLE_AGENT` of `a2a_grpc.wire`.",
            "parts": "The content. There is at least one part.",
            "metadata": "Further values, by key. The key `skill` names the skill that the message is for.",
            "extensions": "The URIs of the extensions that the message uses.",
            "reference_task_ids": "Earlier tasks that the message is about.",
        },
    ),
    "Part": (
        "A piece of content (spec §4.1.6). Exactly one of `text`, `raw`, `url` and `data` is set.",
        {
            "text": "A text.",
            "raw": "The bytes of a file.",
            "url": "The address of a file.",
            "data": "A JSON value. `data_of` gives it as a Python value.",
            "metadata": "Further values, by key.",
            "filename": "The name of the file.",
            "media_type": "The media type of the content, for example `text/csv`.",
        },
    ),
    "Artifact": (
        "A result of a task (spec §4.1.7).",
        {
            "artifact_id": "The id, which is unique in the task.",
            "name": "A name for people.",
            "description": "A description for people.",
            "parts": "The content. There is at least one part.",
            "metadata": "Further values, by key.",
            "extensions": "The URIs of the extensions that the artifact uses.",
        },
    ),
    "TaskStatusUpdateEvent": (
        "An event of a task: it has a new status (spec §4.2.1).",
        {
            "task_id": "The task.",
            "context_id": "The conversation that the task belongs to.",
            "status": "The new status.",
            "metadata": "Further values, by key.",
        },
    ),
    "TaskArtifactUpdateEvent": (
        "An event of a task: an artifact is new, replaced or extended (spec §4.2.2).",
        {
            "task_id": "The task.",
            "context_id": "The conversation that the task belongs to.",
            "artifact": "The artifact, or the parts to add to it.",
            "append": "True if the parts are added to the artifact with the same id.",
            "last_chunk": "True if no further parts of the artifact follow.",
            "metadata": "Further values, by key.",
        },
    ),
    "TaskPushNotificationConfig": (
        "An address that the agent calls with the events of a task (spec §4.3.1).",
        {
            "tenant": "The tenant; the client sets it.",
            "id": "The id of the config. If it is empty, the agent gives one.",
            "task_id": "The task.",
            "url": "The address.",
            "token": "A token that the agent sends with each call, so that your server can recognise the agent.",
            "authentication": "How the agent authenticates itself at the address.",
        },
    ),
    "TaskState": (
        "The state of a task, a number (spec §4.1.3). Write `TaskState.TASK_STATE_WORKING`, for example. `state_name`"
        " gives the name of a state.",
        {
            "TASK_STATE_UNSPECIFIED": "No state.",
            "TASK_STATE_SUBMITTED": "The server has accepted the task.",
            "TASK_STATE_WORKING": "The agent works.",
            "TASK_STATE_COMPLETED": "The task has ended with success.",
            "TASK_STATE_FAILED": "The task has ended because it could not be done.",
            "TASK_STATE_CANCELED": "The task has ended because a caller canceled it.",
            "TASK_STATE_INPUT_REQUIRED": "The task waits for a message of its user.",
            "TASK_STATE_REJECTED": "The task has ended because the agent will not do it.",
            "TASK_STATE_AUTH_REQUIRED": "The task waits for its user, who has to sign in or to authorise something.",
        },
    ),
}
"""The classes of the protocol: what each is, and its fields or values."""

SCALARS = {1: "float", 3: "int", 4: "int", 5: "int", 8: "bool", 9: "str", 12: "bytes", 13: "int"}
"""The Python types of protobuf's field types."""


@dataclass(frozen=True, slots=True)
class Name:
    """A public name.

    Attributes:
        text: The name.
        module: The module that users import it from; in parentheses if they do not import it.
        page: The page on which it stands.
    """

    text: str
    module: str
    page: str

    @property
    def target(self) -> Any:
        """The class, function or value."""
        return getattr(import_module(self.module.strip("()")), self.text)


NAMES = {
    name: Name(name, module, chapter.page)
    for chapter in CHAPTERS
    for module, names in chapter.names.items()
    for name in names
}
"""Every name of the reference."""


# -- the pages


INDEX_START = f"""\
# Reference

This page lists every public name of the package. Each name links to its parameters, attributes, methods, results and
errors. The [agent guide](agent.md) and the [client guide](client.md) show how to use them.

A name is public if this page lists it. Other names may change without notice. "spec §3.1.1" is a section of the
[A2A specification]({SPEC}).
"""

HOW_TO_READ = f"""\
A method that begins with `async` has to be awaited. Parameters after `*` are given by name. A parameter with the
default `...` can be left out. "spec §3.1.1" is a section of the [A2A specification]({SPEC}).
"""


def index_page() -> str:
    """Return the page that lists all names."""
    page = [INDEX_START]
    for chapter in CHAPTERS:
        title = chapter.title.removeprefix("Reference: ").capitalize()
        page += [f"## {title}\n", "| Name | What it is |", "|---|---|"]
        for name in (name for names in chapter.names.values() for name in names):
            about = _linked(_first_sentence(_summary(NAMES[name])), Place("reference.md")).replace("|", "\\|")
            page.append(f"| [`{name}`]({chapter.page}#{_anchor(name)}) | {about} |")
        page.append("")
    return "\n".join(page)


def chapter_page(chapter: Chapter) -> str:
    """Return the page of a chapter."""
    page = [f"# {chapter.title}\n", _wrap(_linked(chapter.about, Place(chapter.page))), "", HOW_TO_READ]
    names = [NAMES[name] for group in chapter.names.values() for name in group]
    for name in names:
        links = ", ".join(f"[`{method}`](#{_anchor(f'{name.text}.{method}')})" for method in _methods(name))
        page += _item(f"[`{name.text}`](#{_anchor(name.text)})" + (f": {links}" if links else ""))
    for name in names:
        page += ["", *_entry(name)]
    return "\n".join(page) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference.md": index_page,
    **{chapter.page: partial(chapter_page, chapter) for chapter in CHAPTERS},
}


# -- one name


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a text, which decides the targets of its links.

    Attributes:
        page: The page.
        owner: The class whose entry the text belongs to; empty for others.
        here: The name whose entry it is. A text does not link to its own entry.
    """

    page: str
    owner: str = ""
    here: str = ""


def _entry(name: Name) -> Iterator[str]:
    yield f"## `{name.text}`\n"
    if name.text in PROTOCOL:
        yield from _protocol_entry(name)
    elif inspect.isclass(name.target):
        yield from _class_entry(name)
    elif callable(name.target) and hasattr(name.target, "__wrapped__") | inspect.isfunction(name.target):
        yield from _code(name, _signature(name.text, name.target))
        yield from _function_body(name.target, Place(name.page, "", name.text))
    else:
        yield from _code(name, f"{name.text}{_assignment(name)[0]}")
        yield _text(_summary(name), Place(name.page, "", name.text))


def _code(name: Name, *lines: str) -> Iterator[str]:
    """Yield the block with the import and the signature."""
    imported = [] if name.module.startswith("(") else [f"from {name.module} import {name.text}"]
    if not imported and not lines:
        return
    yield "\n".join(["```py", *imported, *([""] if imported and lines else []), *lines, "```"])
    yield ""


def _class_entry(name: Name) -> Iterator[str]:
    kind, place = name.target, Place(name.page, name.text, name.text)
    found = _documentation(kind)
    taken = found.entries("Args")
    is_value = is_dataclass(kind) or hasattr(kind, "_fields")
    is_made = (bool(taken) or is_value) and name.text not in SETTINGS
    yield from _code(name, *([_signature(name.text, kind)] if is_made else []))
    yield _text(found.summary, place)
    if found.text:
        yield "\n" + _text(found.text, place)
    yield from _bases(kind, place)
    if name.text in SETTINGS:
        yield f"\nThe fields, with defaults and ranges, are in [All settings](settings.md#{SETTINGS[name.text]})."
        return
    yield from _example(found)
    yield from _parameters(kind, taken, place)
    yield from _attributes(kind, found, place)
    yield from _raises(found, place)
    for method in _methods(name):
        target = getattr(kind, method)
        yield f"\n### `{name.text}.{method}`\n"
        yield from _code_only(_signature(f"{name.text}.{method}", target))
        if (like := _same_as(name, method)) is not None:
            yield _wrap(f"The same as {_linked(f'`{like}.{method}`', place)}.")
        else:
            yield from _function_body(target, Place(name.page, name.text, f"{name.text}.{method}"))
    if (like := LIKE.get(name.text)) is not None and not _methods(name):
        yield "\n" + _wrap(f"It has the methods of {_linked(f'`{like}`', place)}.")


def _code_only(*lines: str) -> Iterator[str]:
    yield "\n".join(["```py", *lines, "```"])
    yield ""


def _function_body(function: Any, place: Place) -> Iterator[str]:
    found = _documentation(function)
    yield _text(found.summary, place)
    if found.text:
        yield "\n" + _text(found.text, place)
    yield from _example(found)
    if missing := {*parameters(function)} - found.entries("Args").keys():
        raise LookupError(f"{place.here} does not document {sorted(missing)}")
    yield from _parameters(function, found.entries("Args"), place)
    returned = _definition(function).returns
    kind = "" if returned is None else _types(returned, place)
    if kind and kind != "`None`":
        more = _linked(" ".join(found.sections.get("Returns", "").split()), place)
        yield "\n" + _wrap(f"**Returns** {kind}" + (f": {more}" if more else ""))
    yield from _raises(found, place)


def _bases(kind: type, place: Place) -> Iterator[str]:
    names = [base.__name__ for base in kind.__bases__ if base.__module__ not in ("typing",)]
    names = [name for name in names if name not in ("object", "tuple", "dict", "Generic")]
    if names and not typing.is_typeddict(kind):
        yield "\n" + _linked(f"Subclass of {' and '.join(f'`{name}`' for name in names)}.", place)
    if issubclass(kind, A2AError) and kind.reason:
        retry = "True" if kind.retryable else "False"
        yield f"\nIts `code` is `{kind.code.name}`, its `reason` is `{kind.reason}`, its `retryable` is `{retry}`."


def _example(found: Docstring) -> Iterator[str]:
    for section in ("Example", "Examples"):
        if section in found.sections:
            yield "\n**Example**\n\n```py\n" + found.sections[section] + "\n```"


def _parameters(function: Any, taken: dict[str, str], place: Place) -> Iterator[str]:
    if not taken:
        return
    yield "\n**Parameters**\n"
    kinds = _annotations(function)
    for name, text in taken.items():
        kind = kinds.get(name)
        shown = f" ({_types(kind, place)})" if kind is not None else ""
        yield from _item(f"`{name}`{shown}: {_linked(text, place)}")
    both = [f"`{name}`" for name in taken if inspect.isclass(function) and name in attributes(function)]
    if both:
        listed = " and ".join([", ".join(both[:-1]), both[-1]] if len(both) > 1 else both)
        yield "\n" + _wrap(f"{listed} {'are also attributes' if len(both) > 1 else 'is also an attribute'}.")


def _attributes(kind: type, found: Docstring, place: Place) -> Iterator[str]:
    documented = found.entries("Attributes")
    kinds = _attribute_types(kind)
    lines: list[str] = []
    for name, text in documented.items():
        shown = f" ({_types(kinds[name], place)})" if name in kinds else ""
        lines += _item(f"`{name}`{shown}: {_linked(text, place)}")
    for name, value in vars(kind).items():
        if name.startswith("_") or not isinstance(value, property):
            continue
        doc, returned = _documentation(value, f"{kind.__name__}.{name}"), _definition(value.fget).returns
        shown = f" ({_types(returned, place)}, read-only)" if returned is not None else ""
        lines += _item(f"`{name}`{shown}: {_linked(f'{doc.summary} {doc.text}'.strip(), place)}")
    if missing := set(attributes(kind)) - documented.keys() - found.entries("Args").keys() - _class_facts(kind):
        raise LookupError(f"{kind.__name__} does not document its attributes {sorted(missing)}")
    if lines:
        yield "\n**Options**\n" if typing.is_typeddict(kind) else "\n**Attributes**\n"
        yield from lines


def _class_facts(kind: type) -> set[str]:
    """Return the attributes that `_bases` shows."""
    return {"code", "reason", "retryable"} if issubclass(kind, A2AError) and kind is not A2AError else set()


def _raises(found: Docstring, place: Place) -> Iterator[str]:
    if entries := found.entries("Raises"):
        yield "\n**Raises**\n"
        for name, text in entries.items():
            names = ", ".join(_linked(f"`{one}`", place) for one in name.split(", "))
            yield from _item(f"{names}: {_linked(text, place)}")


def _protocol_entry(name: Name) -> Iterator[str]:
    place = Place(name.page, name.text, name.text)
    about, texts = PROTOCOL[name.text]
    if name.text == "TaskState":
        expected = dict.fromkeys(wire.TaskState.keys(), "")
    else:
        expected = {field.name: _field_type(field) for field in name.target.DESCRIPTOR.fields}
    if expected.keys() != texts.keys():
        raise LookupError(f"PROTOCOL does not describe {sorted(expected.keys() ^ texts.keys())} of {name.text}")
    yield from _code(name)
    yield _text(about, place)
    yield "\n**Values**\n" if name.text == "TaskState" else "\n**Fields**\n"
    for field, text in texts.items():
        shown = f" ({_linked(expected[field], place)})" if expected[field] else ""
        yield from _item(f"`{field}`{shown}: {_linked(text, place)}")


def _field_type(field: Any) -> str:
    named = field.message_type or field.enum_type
    kind = named.name if named is not None else SCALARS[field.type]
    return f"list of `{kind}`" if field.is_repeated else f"`{kind}`"


def _methods(name: Name) -> list[str]:
    """Return the public methods of a class in the order of the source; none if those of another class are meant."""
    if not inspect.isclass(name.target) or name.text in {*PROTOCOL, *SETTINGS, *WITHOUT_METHODS}:
        return []
    methods = [key for key, value in vars(name.target).items() if not key.startswith("_") and _is_method(value)]
    if name.text in LIKE and not any(getattr(name.target, method).__doc__ for method in methods):
        return []
    return methods


def _is_method(value: object) -> bool:
    return inspect.isroutine(value) or isinstance(value, (classmethod, staticmethod))


def _same_as(name: Name, method: str) -> str | None:
    """Return the class that documents a method, if it is another one."""
    like = LIKE.get(name.text)
    if like is None or not hasattr(NAMES[like].target, method):
        return None
    return like if getattr(name.target, method).__doc__ == getattr(NAMES[like].target, method).__doc__ else None


def _summary(name: Name) -> str:
    """Return what a name is, in a few sentences."""
    if name.text in PROTOCOL:
        return PROTOCOL[name.text][0]
    if inspect.isclass(name.target) or inspect.isroutine(name.target):
        return _documentation(name.target).summary
    return _assignment(name)[1]


def _documentation(target: Any, name: str = "") -> Docstring:
    if not target.__doc__:
        raise LookupError(f"{name or target.__qualname__} has no docstring")
    return parse(target.__doc__)


# -- what the source says


def _definition(function: Any) -> ast.FunctionDef:
    """Return the definition of a function in its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    return typing.cast(ast.FunctionDef, tree.body[0])


@cache
def _class_definition(kind: type) -> ast.ClassDef:
    return typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0])


def _assignment(name: Name) -> tuple[str, str]:
    """Return the source of a value after its name, and the string below it."""
    home = _home(name)
    body = ast.parse(inspect.getsource(home)).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name.text:
                pass
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name.text:
                pass
            case _:
                continue
        match after:
            case ast.Expr(ast.Constant(str() as text)):
                return f" = {ast.unparse(value)}".replace("'", '"'), " ".join(text.split())
        break
    raise LookupError(f"{name.text} of {home.__name__} has no documentation below it")


def _home(name: Name) -> ModuleType:
    """Return the module that assigns a name, which another one may import."""
    module = import_module(name.module.strip("()"))
    for statement in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(statement, ast.ImportFrom) and any(alias.name == name.text for alias in statement.names):
            return import_module(str(statement.module))
    return module


def _constructor(kind: type) -> Any:
    found = (vars(base).get("__init__") for base in kind.__mro__)
    return next((one for one in found if inspect.isfunction(one)), None)


def _annotations(function: Any) -> dict[str, ast.expr]:
    """Return the annotations of the parameters of a function, or of the constructor of a class, by name."""
    if inspect.isclass(function):
        if is_dataclass(function) or hasattr(function, "_fields"):
            return _attribute_types(function)
        function = _constructor(function)
    arguments = _definition(function).args
    found = {one.arg: one.annotation for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    if arguments.vararg is not None:
        found[f"*{arguments.vararg.arg}"] = arguments.vararg.annotation
    if arguments.kwarg is not None:
        found[f"**{arguments.kwarg.arg}"] = arguments.kwarg.annotation
        if "SendOptions" in ast.unparse(arguments.kwarg):
            found |= _attribute_types(NAMES["SendOptions"].target)
    return {name: kind for name, kind in found.items() if kind is not None}


def _attribute_types(kind: type) -> dict[str, ast.expr]:
    """Return the annotations of the attributes of a class, as far as the source has any."""
    found: dict[str, ast.expr] = {}
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("a2a_grpc"):
            continue
        for statement in _class_definition(base).body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    found[name] = annotation
                case ast.FunctionDef(name="__init__"):
                    taken = {one.arg: one.annotation for one in (*statement.args.args, *statement.args.kwonlyargs)}
                    found |= dict(_assigned(statement, taken))
    return found


def _assigned(init: ast.FunctionDef, taken: dict[str, ast.expr | None]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the attributes that a constructor assigns and whose types are known, with their types."""
    for statement in ast.walk(init):
        match statement:
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name), annotation=kind):
                yield name, kind
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=value):
                match value:
                    case ast.Name(id=source) if (known := taken.get(source)) is not None:
                        yield name, known
                    case ast.Constant(str() | bool() | int() as constant):
                        yield name, ast.Name(type(constant).__name__)


def _signature(name: str, function: Any) -> str:
    """Return the signature without types, in lines of at most `WIDTH` characters."""
    shown: list[str] = []
    seen_star = False
    defaults = _defaults(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not seen_star:
            shown.append("*")
            seen_star = True
        if parameter.kind is parameter.VAR_POSITIONAL:
            seen_star = True
            shown.append(f"*{parameter.name}")
        elif parameter.kind is parameter.VAR_KEYWORD:
            shown.append(f"**{parameter.name}")
        elif parameter.default is parameter.empty:
            shown.append(parameter.name)
        else:
            shown.append(f"{parameter.name}={defaults.get(parameter.name) or _shown(parameter.default)}")
    start = "async " if inspect.iscoroutinefunction(inspect.unwrap(function)) else ""
    returned = None if inspect.isclass(function) else _definition(function).returns
    end = "" if returned is None or ast.unparse(returned) == "None" else f" -> {_unquoted(returned)}"
    line = f"{start}{name}({', '.join(shown)}){end}"
    return textwrap.fill(line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _shown(default: object) -> str:
    return repr(default).replace("'", '"')


def _defaults(function: Any) -> dict[str, str]:
    """Return those defaults that are shown as the source writes them: members of an enum, and functions."""
    target = _constructor(function) if inspect.isclass(function) else function
    if target is None or (inspect.isclass(function) and (is_dataclass(function) or hasattr(function, "_fields"))):
        return {}
    arguments = _definition(target).args
    positional = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    pairs = [
        *zip(positional, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {
        one.arg: "..." if isinstance(default, ast.Lambda) else ast.unparse(default)
        for one, default in pairs
        if isinstance(default, (ast.Attribute, ast.Lambda)) or (isinstance(default, ast.Name) and default.id in NAMES)
    }


def _unquoted(kind: ast.expr) -> str:
    return kind.value if isinstance(kind, ast.Constant) and isinstance(kind.value, str) else ast.unparse(kind)


# -- text


def _types(kind: ast.expr, place: Place) -> str:
    """Return an annotation as code, with links to the classes that the reference has."""
    return " or ".join(_type(arm, place) for arm in _arms(kind))


def _arms(kind: ast.expr) -> Iterator[str]:
    if isinstance(kind, ast.BinOp) and isinstance(kind.op, ast.BitOr):
        yield from _arms(kind.left)
        yield from _arms(kind.right)
    elif isinstance(kind, ast.Constant) and isinstance(kind.value, str):
        yield from _arms(ast.parse(kind.value, mode="eval").body)
    else:
        yield ast.unparse(kind)


def _type(text: str, place: Place) -> str:
    text = text.removeprefix("ClassVar[").rstrip("]") if text.startswith("ClassVar[") else text.replace("'", '"')
    for word in re.findall(r"[A-Za-z_]\w*", text):
        if (link := _link_to(word, Place(place.page, "", place.here))) is not None:
            return f"[`{text}`]({link})"
    return f"`{text}`"


EXAMPLE = "<!-- not run: a part of a program; the guides have whole ones -->"
SPAN = re.compile(r"(?P<link>\[[^\]]*\]\([^)]*\))|`(?P<code>[^`]+)`|(?P<word>\b[A-Z]\w+\b)")
CALL = re.compile(r"@?(\w+(?:\.\w+)*)(?:\(.*\))?")


def _linked(text: str, place: Place) -> str:
    """Return a text with links to the names of the reference."""

    def replace(found: re.Match[str]) -> str:
        if found["link"]:
            return found[0]
        if found["word"]:  # without code marks only what can be no word of English
            is_name = len(re.findall(r"[A-Z][a-z]+", found["word"])) > 1 or found["word"].endswith("Error")
            link = _link_to(found["word"], place) if is_name else None
            return f"[`{found['word']}`]({link})" if link else found[0]
        called = CALL.fullmatch(found["code"])
        link = _link_to(called[1], place) if called else None
        return f"[{found[0]}]({link})" if link else found[0]

    return SPAN.sub(replace, text)


def _link_to(word: str, place: Place) -> str | None:
    """Return the target of a link to a name or a method; None if there is none, or if it is the text's own entry."""
    owner, _, method = word.rpartition(".")
    if not owner and place.owner in NAMES and method in _methods(NAMES[place.owner]):
        owner, word = place.owner, f"{place.owner}.{method}"
    if owner:
        if owner not in NAMES:
            return None
        page = NAMES[owner].page
        if method not in _methods(NAMES[owner]):
            word = owner  # an attribute, in the entry of its class
    elif word in NAMES:
        page = NAMES[word].page
    else:
        return None
    if word == place.here:
        return None
    return f"{'' if page == place.page else page}#{_anchor(word)}"


def _anchor(name: str) -> str:
    """Return the anchor of the heading of a name or a method."""
    page = NAMES[name.partition(".")[0]].page
    chapter = next(chapter for chapter in CHAPTERS if chapter.page == page)
    return _anchors(chapter)[name]


@cache
def _anchors(chapter: Chapter) -> dict[str, str]:
    names = [name for group in chapter.names.values() for name in group]
    headings = [heading for name in names for heading in (name, *(f"{name}.{m}" for m in _methods(NAMES[name])))]
    return dict(zip(headings, slugs(headings), strict=True))


def _first_sentence(text: str) -> str:
    found = re.match(r".*?[.!?](?=\s|$)", text, re.DOTALL)
    return found[0] if found else text


def _text(text: str, place: Place) -> str:
    """Return the paragraphs of a docstring with links. An indented block is code."""
    blocks: list[str] = []
    for block in text.split("\n\n"):
        if all(line.startswith("    ") for line in block.splitlines()):
            blocks.append(f"{EXAMPLE}\n```python\n{textwrap.dedent(block)}\n```")
        elif re.match(r"- |\d+\. ", block):
            items = re.split(r"\n(?=- |\d+\. )", block)
            blocks.append("\n".join(_wrap(_linked(" ".join(item.split()), place), "  ") for item in items))
        else:
            blocks.append(_wrap(_linked(" ".join(block.split()), place)))
    return "\n\n".join(blocks)


def _item(text: str) -> list[str]:
    """Return the lines of an item of a list."""
    return [_wrap(f"- {text}", "  ")]


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
