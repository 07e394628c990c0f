"""The script that counts lines of code."""

from tools.size import Size, size_of

SOURCE = '''"""A module.

Of several lines.
"""

import os  # a comment


# another comment
def function(
    one: str,
) -> str:
    """Return something."""
    return f"""{one}
    {os.sep}"""
'''


def test_only_lines_with_code_and_docstrings_count() -> None:
    assert size_of(SOURCE) == Size(code=6, documented=11)
    assert size_of("") == Size()
