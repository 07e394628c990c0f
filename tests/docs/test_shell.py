"""How the output of a command is compared with a page."""

from tests.docs.shell import commands, matches


def test_all_that_a_page_shows_is_compared_except_what_it_leaves_out() -> None:
    assert matches('{\n  "id": "t-1"\n}\n', '{\n  "id": "…"\n}\n')
    assert not matches('{\n  "id": "t-1"\n}\n', '{\n  "id": "…"\n')
    assert not matches("Ready", "Read")


def test_each_line_after_a_dollar_is_a_command_and_the_lines_below_are_its_output() -> None:
    assert commands("$ one\nfirst\n$ two \\\n> more\nsecond\n") == [("one", "first\n"), ("two \\\nmore", "second\n")]
