"""The check for plain English: what it finds, where, and what it leaves alone."""

import textwrap
from pathlib import Path

import pytest

from tools.prose import COVERED, MAX_WORDS, check_module, check_page, covered, main


def module(source: str) -> list[tuple[int, str]]:
    return sorted({(finding.line, finding.wrong) for finding in check_module("m.py", textwrap.dedent(source))})


def page(source: str) -> list[tuple[int, str]]:
    return sorted({(finding.line, finding.wrong) for finding in check_page("p.md", textwrap.dedent(source))})


def function(docstring: str, before: str = "") -> list[tuple[int, str]]:
    return module(f'{before}\ndef name():\n    """{docstring}"""\n')


@pytest.mark.parametrize(
    "first",
    [
        "Return the tasks that wait.",
        "Yield each event, in order of its seq.",
        "Claim the task if it is free. Return True if claimed.",
        "Pass the message on.",
        "Process one request.",
        "Bring the task back.",
        "Return the address: the host and the port.",
    ],
)
def test_a_first_line_in_the_imperative_passes(first: str) -> None:
    assert function(first) == []


@pytest.mark.parametrize(
    ("first", "wrong"),
    [
        ("Returns the tasks.", "the first line begins with 'Returns'"),
        ("Takes the task over.", "the first line begins with 'Takes'"),
        ("Whether a task waits.", "the first line begins with 'Whether'"),
        ("What the task waits for.", "the first line begins with 'What'"),
        ("The tasks that wait.", "the first line begins with 'The'"),
        ("Tasks that wait.", "the first line begins with 'Tasks'"),
        ("Text of the message.", "the first line begins with 'Text of'"),
        ("Waiting for the store.", "the first line begins with 'Waiting'"),
        ("Claim the task: whether it was free.", "the first sentence has a colon"),
    ],
)
def test_a_first_line_that_is_no_imperative_is_found(first: str, wrong: str) -> None:
    assert function(first) == [(3, wrong)]


def test_a_property_may_be_a_noun_phrase_but_does_not_begin_with_whether() -> None:
    assert function("The text of the message.", "@property") == []
    assert function("The text of the message.", "@cached_property") == []
    assert function("Whether the task ended.", "@property") == [(3, "the first line begins with 'Whether'")]


def test_a_class_or_a_module_may_be_a_noun_phrase() -> None:
    assert module('"""The tasks: what they are."""\nclass A:\n    """The name of a task."""\n') == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Return a task for whoever asks.", "'whoever'"),
        ("Return whatever is left.", "'whatever'"),
        ("Return True if somebody waits.", "'somebody'"),
        ("Wake nobody else.", "'nobody else'"),
        ("Return all but for one.", "'but for'"),
        ("Stop when the reader is told.", "'told'"),
        ("Begin the run anew.", "'anew'"),
        ("Wait surely.", "'surely'"),
        ("Claim a task that is held elsewhere.", "'elsewhere'"),
        ("Return the task, or None where there is none.", "'None where'"),
        ("Return the task. Where it is lost, claim it.", "a sentence that begins with 'Where'"),
        ("Keep the task for who reads it.", "'for who'"),
        ("Return what has become of the task.", "'become of'"),
        ("Return but\n    for one.", "'but for'"),
    ],
)
def test_a_word_of_the_dialect_is_found(text: str, word: str) -> None:
    assert word in [wrong for _, wrong in function(text)]
    if "\n" not in text:
        assert word in [wrong for _, wrong in page(text)]
        assert word in [wrong for _, wrong in module(f"# {text}\n")]


@pytest.mark.parametrize(
    "text",
    [
        "Return `whoever`, ``told`` and `a\n    name that nobody reads`.",
        'Return "whoever" and “told”.',
        "Print where the server listens.",
        "Return the place where the file is kept.",
        "Return the folder. However, a file may be missing.",
        "Return the answer of [the page](https://example.org/whoever-was-told).",
        "Return the output.\n\n        whoever = told(anew)\n\n    Plain.\n    ",
    ],
)
def test_code_quotes_links_and_plain_uses_are_left_alone(text: str) -> None:
    assert function(text) == []


def test_the_blocks_and_comments_of_a_page_are_left_alone() -> None:
    assert page("<!-- file: whoever.py -->\n```python\ntold = anew\n```\n\nPlain.\n") == []
    assert page("````\n```\nwhoever\n```\n````\n") == []


def test_a_finding_names_the_line() -> None:
    assert page("# Title\n\nFirst line\nthat was told.\n\n| a | b |\n|---|---|\n| c | anew |\n") == [
        (4, "'told'"),
        (8, "'anew'"),
    ]
    source = '''
    """Module."""


    class Task:
        """A task.

        Attributes:
            id: Its name.
            state: What was told.
        """

        owner: str
        """Whoever owns it."""

        def __init__(self) -> None:
            self.size = 0
            """Its size, for nobody."""


    SIZE = setting(1, "A size for everybody.")
    '''
    assert module(source) == [(10, "'told'"), (14, "'Whoever'"), (18, "'nobody'"), (21, "'everybody'")]


def test_a_long_sentence_is_found_once_at_its_first_line() -> None:
    words = " ".join(["word"] * (MAX_WORDS - 1))
    assert page(f"Short.\nOne {words}. Short.") == []
    assert page(f"Short.\nOne two {words}. Short.") == [(2, f"a sentence of {MAX_WORDS + 1} words")]
    assert function(f"Return it.\n\n    One two {words}.\n    ") == [(5, f"a sentence of {MAX_WORDS + 1} words")]


def test_items_cells_headings_and_sections_are_sentences_of_their_own() -> None:
    words = " ".join(["word"] * 16)
    assert page(f"# {words}\n{words}:\n- {words}\n- {words}\n\n| {words} | {words} |\n") == []
    assert function(f"Return it.\n\n    {words}  {words}\n    word    {words}\n    ") == []
    sections = f"""Return it.

    Args:
        one: {words}
        two: {words}
            {words[:20]}

    Returns:
        {words}

    Raises:
        told: {words}
    """
    assert function(sections) == []


def test_comments_of_several_lines_are_one_text_and_directives_are_none() -> None:
    assert module("a = 1  # it was but\n# for one\n") == []
    assert module("# it was but\n# for one\n") == [(1, "'but for'")]
    assert module("a = 1  # type: ignore[whoever]\n") == []


def test_the_help_of_an_option_is_checked() -> None:
    assert module('name = Option("--x", help="Wait for somebody.")\n') == [(1, "'somebody'")]


@pytest.mark.parametrize(
    "statement",
    [
        'raise ValueError("nobody waits")',
        'raise ValueError(f"{name} waits for nobody")',
        'logger.info("nobody waits task=%s", task)',
        'problem = Violation("field", f"nobody takes {kind}")',
    ],
)
def test_the_message_of_an_exception_or_a_log_is_checked(statement: str) -> None:
    assert module(statement) == [(1, "'nobody'")]


def test_the_program_prints_the_findings_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good = tmp_path / "bad.md", tmp_path / "good.md"
    bad.write_text("It was told.\n")
    good.write_text("It was said.\n")
    assert main([str(good)]) == 0
    assert capsys.readouterr().out == ""
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == (
        f"{bad}:1: 'told'; write: notified, given, reported, or the verb that says what happened\n"
        "1 findings in 1 of 2 files\n"
    )


@pytest.mark.parametrize("name", ["missing.md", "settings.toml"])
def test_a_file_that_cannot_be_checked_ends_the_program_with_2(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.toml").touch()
    assert main([str(tmp_path / name)]) == 2
    assert capsys.readouterr().err == f"{tmp_path / name}: no Markdown page and no Python module\n"


@pytest.mark.parametrize("pattern", COVERED)
def test_a_covered_pattern_names_files(pattern: str) -> None:
    assert covered([pattern])
