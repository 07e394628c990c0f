"""The requirements, and the page that lists their tests: each one is covered, or says why it is not."""

import ast
from pathlib import Path

import pytest

from tests.covers import NOT_COVERED, REQUIREMENTS, covered_by, covers
from tests.docs.pages import blocks
from tests.harness import ROOT
from tools.traceability import marked_tests, marks_of


def test_every_requirement_has_a_test_or_a_reason_and_never_both() -> None:
    covered = set(marked_tests())
    assert set(REQUIREMENTS) - covered - set(NOT_COVERED) == set()
    assert covered & set(NOT_COVERED) == set()
    assert covered | set(NOT_COVERED) == set(REQUIREMENTS)


def test_an_id_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no requirement SEND-99, G13 in docs/requirements\.toml"):
        covers("SEND-2", "SEND-99", "G13")


def test_the_example_of_traceability_md_names_requirements_that_exist() -> None:
    [block] = [each for each in blocks(ROOT / "docs" / "traceability.md") if each.name.endswith(Path(__file__).name)]
    exec(block.text, {"covers": covers})


def test_marks_are_read_wherever_they_stand() -> None:
    text = """
pytestmark = [pytest.mark.long, covers("P1")]

@covers("G1")
class TestOne:
    @covers("G2", "G3")
    @pytest.mark.parametrize("x", [pytest.param(1, marks=covers("G4")), 2])
    async def test_two(self) -> None: ...
"""
    marks = [(ids, test) for ids, test in marks_of(ast.parse(text)) if ids]
    assert marks == [(["P1"], None), (["G1"], "TestOne"), (["G2", "G3", "G4"], "test_two")]


def test_an_id_that_is_no_literal_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"covers\(NAME\): write the id as a literal text"):
        list(marks_of(ast.parse("@covers(NAME)\ndef test_one(): ...")))


def test_the_page_has_what_pytest_has_collected(request: pytest.FixtureRequest) -> None:
    """The marks of this run, which pytest has read, are on the page, which is made from the texts of the files."""
    read = marked_tests()
    for item in request.session.items:
        path = item.path.relative_to(ROOT)
        for id in covered_by(item):
            tests = {marked.test for marked in read[id] if marked.path == path}
            names = {None, *(getattr(node, "originalname", node.name) for node in item.listchain())}
            assert tests & names, item.nodeid
