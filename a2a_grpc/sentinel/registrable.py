"""Which names and URLs of agents a registry accepts. An agent checks them before it starts, and the registry again."""

from a2a_grpc.client.target import CardFile, parse
from a2a_grpc.config import ConfigurationError
from a2a_grpc.text import flaw

MAX_URL_CHARS = 2000


def name_flaw(name: str) -> str | None:
    """Return what is wrong with the name of an agent that registers, as the end of a sentence, or None.

    Args:
        name: The name.
    """
    if said := flaw(name):
        return said
    if not name.strip() or not name.isprintable():
        return "must have printable characters only, and one that is no space"
    return "must have no '@': such names are those of attached agents" if "@" in name else None


def url_flaw(url: str) -> str | None:
    """Return what is wrong with the URL of an agent that clients call directly, as the end of a sentence, or None.

    Args:
        url: The URL of the agent's card, or the address of its gRPC.
    """
    if said := flaw(url, MAX_URL_CHARS):
        return said
    try:
        where = parse(url) if url else None
    except ConfigurationError as error:
        return str(error)
    if where is None or isinstance(where, CardFile) or url.startswith("unix:"):
        return "must be the URL of the agent's card, or the address of its gRPC"
    return None
