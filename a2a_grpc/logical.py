"""Logical addresses of agents behind a sentinel: `name@domain` or `name@domain/path`."""

import re

from a2a_grpc.config import ConfigurationError

MAX_CHARS = 255
"""The largest length of a logical address."""

# `--` at the third place begins an encoded name, which programs may show in other letters (RFC 5891, section 4.2.3.1).
_LABEL = r"(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = r"(?!..--)[a-z0-9](?:(?:[a-z0-9_-]|\.(?!\.)){0,61}[a-z0-9])?"
_ADDRESS = re.compile(rf"{_NAME}@{_LABEL}(?:\.{_LABEL})*(?:/{_NAME})*")

FORM = (
    f"NAME@DOMAIN or NAME@DOMAIN/PATH, of at most {MAX_CHARS} characters: small letters a-z, digits and '-', and '.' "
    "and '_' in NAME and PATH; NAME, and each part of DOMAIN and PATH, has at most 63 characters and begins and ends "
    "with a letter or digit"
)


def is_logical(text: str) -> bool:
    """Return True if a text is a logical address.

    Only small ASCII letters are allowed, so that two different addresses do not look the same.

    Args:
        text: The text.
    """
    return len(text) <= MAX_CHARS and _ADDRESS.fullmatch(text) is not None


def hint(text: str) -> str:
    """Return the end of an error for a text that may be meant as a logical address and is none; "" for other texts.

    Args:
        text: The text.
    """
    is_meant = "@" in text.partition("/")[0] and not is_logical(text)
    return f"; an address at a sentinel is {FORM}" if is_meant else ""


def logical(name: str, text: str) -> str:
    """Return a logical address. Raise ConfigurationError, which names the setting, if the text is none.

    Args:
        name: The name of the setting.
        text: The text.
    """
    if not is_logical(text):
        raise ConfigurationError(f"{name} is '{text[:MAX_CHARS]}'; it must be {FORM}")
    return text
