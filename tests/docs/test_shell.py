"""How the output of a command is compared with a page."""

from tests.docs.shell import commands, matches


def test_all_that_a_page_shows_is_compared_except_what_it_leaves_out() -> None:
    assert matches('{\n  "id": "t-1"\n}\n', '{\n  "id": "…"\n}\n') == {}
    assert matches('{\n  "id": "t-1"\n}\n', '{\n  "id": "…"\n') is None
    assert matches("Ready", "Read") is None


def test_an_id_of_a_page_stands_for_the_id_that_is_printed_in_its_place() -> None:
    one, two, shown = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "12a")
    assert matches(f"COMPLETED {one}", f"COMPLETED {shown}") == {shown: one}
    assert matches(f"{one} {one}", f"{shown} {shown}") == {shown: one}
    assert matches(f"{one} {two}", f"{shown} {shown}") is None
    assert matches("COMPLETED none", f"COMPLETED {shown}") is None


def test_each_line_after_a_dollar_is_a_command_and_the_lines_below_are_its_output() -> None:
    assert commands("$ one\nfirst\n$ two \\\n> more\nsecond\n") == [("one", "first\n"), ("two \\\nmore", "second\n")]
