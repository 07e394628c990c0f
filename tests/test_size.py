"""The script that counts lines of code."""

from tools.size import lines_of

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


def test_only_lines_with_code_count() -> None:
    assert lines_of(SOURCE) == 6
    assert lines_of("") == 0
