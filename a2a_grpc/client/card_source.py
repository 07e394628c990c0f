"""Read cards from files, and from the pages of servers."""

from collections.abc import Mapping
from contextlib import suppress

from a2a_grpc.client.card import read_card
from a2a_grpc.client.errors import AgentCardError
from a2a_grpc.client.page import MAX_PAGE_BYTES
from a2a_grpc.client.target import shown
from a2a_grpc.logical import hint
from a2a_grpc.regular import read_regular
from a2a_grpc.wire import AgentCard


def read_card_page(content: bytes, headers: Mapping[str, str], source: str, problems: list[str]) -> AgentCard:
    """Return the card on a page. Raise AgentCardError, which names the source."""
    return read_card(_decoded(content, headers), source, problems)


def read_card_file(path: str, problems: list[str] | None = None) -> AgentCard:
    """Return the card in a file. Raise AgentCardError, which names the path."""
    try:
        content = read_regular(path, MAX_PAGE_BYTES)
    except OSError as error:
        # The error of the system names the path, which may be a URL with a secret.
        without_path = OSError(error.errno, error.strerror)
        raise AgentCardError(f"cannot read the card '{shown(path)}': {error.strerror}{hint(path)}") from without_path
    return read_card(content, shown(path), problems)


def _decoded(content: bytes, headers: Mapping[str, str]) -> bytes | str:
    """Return the text of a page that is not UTF-8, as its Content-Type says. Return any other page as it is."""
    charset = str(headers.get("Content-Type", "")).lower().partition("charset=")[2].split(";")[0].strip(' "')
    try:
        content.decode()
    except UnicodeDecodeError:
        with suppress(LookupError, UnicodeDecodeError):
            return content.decode(charset) if charset else content
    return content
