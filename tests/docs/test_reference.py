"""The reference pages list every public name, and their links lead somewhere."""

import importlib.util
import inspect
import re
from importlib import import_module

import pytest

from a2a_grpc import Client, RemoteAgent, errors
from a2a_grpc.client import BlockingClient, SendOptions
from tests.harness import ROOT
from tests.test_docstrings import PUBLIC

_spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

PAGES = {name: (ROOT / "docs" / name).read_text() for name in reference.PAGES}
OPTIONS = list(SendOptions.__annotations__)
SENDS = {
    Client: ("send", "start", "stream"),
    RemoteAgent: ("run", "start", "stream", "events"),
    BlockingClient: ("send", "start", "stream"),
}


@pytest.mark.parametrize("module", ["a2a_grpc", "a2a_grpc.client", "a2a_grpc.store"])
def test_each_public_name_of_a_module_is_listed(module: str) -> None:
    assert set(import_module(module).__all__) - reference.NAMES.keys() == set()


def test_each_error_is_listed() -> None:
    kinds = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }
    assert kinds - reference.NAMES.keys() == set()


def test_each_listed_class_and_function_is_among_those_whose_docstrings_are_checked() -> None:
    checked = {name for names in PUBLIC.values() for name in names}
    listed = {
        name
        for name, found in reference.NAMES.items()
        if inspect.isroutine(found.target) or inspect.isclass(found.target)
    }
    assert listed - checked == reference.PROTOCOL.keys() - {"TaskState"} | reference.WITHOUT_METHODS


def test_each_link_leads_to_a_heading_of_a_page() -> None:
    anchors = {page: set(reference.slugs(re.findall(r"^#+ (.+)$", text, re.MULTILINE))) for page, text in PAGES.items()}
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            name, _, anchor = target.partition("#")
            if name and name not in PAGES:
                assert name.startswith("https://") or (ROOT / "docs" / name).exists(), f"{page}: {target}"
            elif anchor:
                assert anchor in anchors[name or page], f"{page}: {target}"


@pytest.mark.parametrize(("kind", "method"), [(kind, method) for kind, methods in SENDS.items() for method in methods])
def test_help_and_the_reference_list_each_option_of_a_message(kind: type, method: str) -> None:
    assert [name for name in inspect.signature(getattr(kind, method)).parameters if name in OPTIONS] == OPTIONS
    documentation = inspect.getdoc(getattr(kind, method)) or ""
    for option in OPTIONS:
        assert re.search(rf"^    {option}: \w", documentation, re.MULTILINE), option
    if kind is not BlockingClient:  # the page refers to Client there
        entry = PAGES["reference-client.md"].partition(f"\n### `{kind.__name__}.{method}`\n")[2].partition("\n### ")[0]
        for option in OPTIONS:
            assert f"\n- `{option}` (" in entry, option


def test_a_name_without_documentation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client.cancel, "__doc__", None)
    with pytest.raises(LookupError, match=r"Client\.cancel has no docstring"):
        reference.PAGES["reference-client.md"]()


def test_a_parameter_without_documentation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client.cancel, "__doc__", "Cancel a task.\n\nArgs:\n    task_id: The task.")
    with pytest.raises(LookupError, match=r"Client\.cancel does not document \['headers', 'metadata'\]"):
        reference.PAGES["reference-client.md"]()
