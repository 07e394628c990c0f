"""The generated pages of the documentation say what the package says."""

import importlib.util

import pytest

from tests.harness import ROOT

_spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_fresh(name: str) -> None:
    assert generate.is_fresh(name), "run 'make docs' and commit"
