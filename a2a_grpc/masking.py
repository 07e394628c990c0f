"""Mask passwords and other secrets in URLs, before a URL goes to an error, a log line or a terminal."""

import re
from urllib.parse import unquote

MASK = "***"

# A password may contain any character, even an "@", "/" or "?" that is not escaped: the password ends at the last "@".
# If a text begins with a URL, the whole text counts as one URL, because a password may also contain spaces. A later
# word with another URL is not part of it.
# No pattern scans a character more than a few times, because a text from a peer may be long.
_SCHEME = r"[A-Za-z][\w+.-]*:"
_USER = r"[^\s:/?#@'\"=,;()]"
# `http://HOST:PORT/agents/NAME@DOMAIN` is the URL of an agent at a sentinel, and holds no password.
_AGENT = r"(?!\d{1,5}/agents/)"
_WHOLE = re.compile(rf"\A\s*{_SCHEME}//[^\s:/?#@]*:{_AGENT}(?P<password>(?:(?!\s\S*?://).)*)@", re.DOTALL)
_WORD = re.compile(r"\S+")
_PASSWORD = re.compile(
    rf"(?<!{_USER})(?:{_SCHEME}/{{1,3}}{_USER}*:|(?:{_SCHEME})?{_USER}*:(?!//)){_AGENT}(?P<password>\S+)@$"
)
_USER_ALONE = re.compile(r"(?<![\w+.-])(?P<scheme>[A-Za-z][\w+.-]*://)(?P<user>[^\s:/?#@]+)@")
_PAIR = re.compile(
    r"(?P<before>^|[\s?&;#'\"(,])(?P<name>[\w.%+~-]+(?:\[\])?)="
    # Quotes and punctuation that close a sentence around the value are not part of the value.
    r"(?P<value>[^&\s]+?)(?P<after>(?=&)|['\"),;.:]{0,4}(?=\s|$))"
)
_SECRET_PART = re.compile(r"token|secret|pass|pwd|cred|sign|auth|key|jwt|session|bearer|assertion|ticket|cookie")
_PLAIN = frozenset({"target_session_attrs", "require_auth"})
"""Options of PostgreSQL that are no secrets, though they look like some."""
_SECRET_WORD = frozenset({"sig", "code", "otp", "pin", "sas", "sid", "pw", "nonce"})


def mask_url(text: str) -> str:
    """Replace the secrets of the URLs in a text with `***`. The text is a URL, or a sentence with URLs.

    Secrets are the password before a host, and the value of each `name=value` if the name looks secret. A user name
    alone before the host of an http URL is a secret, too, because a token is often there. Text that only looks like a
    secret is masked as well.
    """
    return _PAIR.sub(_without_value, _without_logins(text))


def is_secret(name: str) -> bool:
    """Return True if a name, of a query parameter or an option, looks like that of a secret."""
    spelled = unquote(name).replace("\0", "")
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", spelled)
    if spelled in _PLAIN:
        return False
    return bool(_SECRET_PART.search(spelled.lower())) or any(word.lower() in _SECRET_WORD for word in words)


def _without_logins(text: str) -> str:
    return _WORD.sub(_without_login, _WHOLE.sub(_without_password, text))


def _without_login(word: re.Match[str]) -> str:
    login, at, rest = word[0].rpartition("@")
    if not (login and rest):
        return word[0]
    return _USER_ALONE.sub(_without_token, _PASSWORD.sub(_without_password, login + at, count=1)) + rest


def _without_password(found: re.Match[str]) -> str:
    return found[0][: found.start("password") - found.start()] + f"{MASK}@"


def _without_token(found: re.Match[str]) -> str:
    is_web = found["scheme"].lower().startswith("http")
    return f"{found['scheme']}{MASK}@" if is_web or "%3a" in found["user"].lower() else found[0]


def _without_value(found: re.Match[str]) -> str:
    value = MASK if is_secret(found["name"]) or _hides_secret(found["value"]) else found["value"]
    return f"{found['before']}{found['name']}={value}{found['after']}"


def _hides_secret(value: str) -> bool:
    """Return True if a value is an escaped URL, or an escaped query, with a secret of its own."""
    if "%" not in value:
        return False
    plain = unquote(unquote(value))
    return _without_logins(plain) != plain or any(is_secret(found["name"]) for found in _PAIR.finditer(plain))
