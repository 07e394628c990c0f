"""What a user may write for an agent, taken apart.

127.0.0.1:50051   agents.example:443   [::1]:50051   agents.example
grpc://host:port   grpcs://host:port   dns:///host:port   unix:/run/agent.sock
https://host   http://host:8080   https://host/some/agent-card.json      the card, fetched
agent-card.json   ./cards/agent.json   file:///etc/agent-card.json       the card, read
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from a2a_grpc.address import is_loopback, join_address, split_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import MASK, mask_url
from a2a_grpc.protocol import CARD_PATH

PORTS = {"grpc": 50051, "grpcs": 443, "http": 80, "https": 443}
NO_USER = "give credentials as such"
MAX_SHOWN_CHARS = 200
"""Of a target that an error names."""
FORMS = "HOST:PORT, grpc://, grpcs://, dns:///, unix:, http(s)://, or the path of an agent card"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an agent's gRPC is."""

    dial: str
    """What a channel is given: `host:port`, `unix:/path`, `dns:///host:port`."""
    host: str
    """"" for a Unix socket."""
    port: int
    tls: bool | None
    """As the target says; None where it does not: then TLS beyond loopback."""

    @property
    def is_local(self) -> bool:
        """Whether nobody beyond this machine can listen in."""
        return not self.host or is_loopback(self.host)

    def __str__(self) -> str:
        return self.dial.removeprefix("dns:///")


@dataclass(frozen=True, slots=True)
class CardUrl:
    """Where an agent's card is served."""

    url: str = field(repr=False)
    host: str

    def __str__(self) -> str:
        return shown(self.url)


@dataclass(frozen=True, slots=True)
class CardFile:
    """Where an agent's card is stored."""

    path: str


def shown(target: str) -> str:
    """Return a target for errors and logs: its secrets masked, the whole query of a URL among them, and cut."""
    place, mark, _ = target.partition("?")
    masked = mask_url(place) + (f"?{MASK}" if mark else "")
    return masked if len(masked) <= MAX_SHOWN_CHARS else masked[:MAX_SHOWN_CHARS] + "…"


def parse(target: str) -> Address | CardUrl | CardFile:
    """Raises ConfigurationError for what is none of the forms above."""
    if target.startswith("unix:"):
        return grpc_address(target)
    scheme, separator, _ = target.partition("://")
    match scheme.lower() if separator else "":
        case "http" | "https":
            return _card_url(target)
        case "file":
            return _card_file(target)
        case "grpc" | "grpcs" | "dns":
            return grpc_address(target)
        case "" if target.startswith("dns:"):
            return grpc_address("dns:///" + target.removeprefix("dns:"))
        case "" if "/" in target or target.endswith(".json"):
            return CardFile(target)
        case "":
            return grpc_address(target)
    raise ConfigurationError(f"target is '{shown(target)}'; it must be {FORMS}")


def _card_file(url: str) -> CardFile:
    host, _, path = url[len("file://") :].partition("/")
    if host not in ("", "localhost") or not path:
        raise ConfigurationError(f"target is '{shown(url)}'; a file URL has three slashes: file:///PATH")
    return CardFile(unquote(f"/{path}"))


def grpc_address(url: str) -> Address:
    """The address that a user or a card's interface names (CARD-8): with or without a scheme; a path does not count.

    `grpcs://` and `https://` say TLS; the others leave it to the client (OPEN-6). Raises ConfigurationError.
    """
    if url.startswith("unix:"):
        if not (path := url.removeprefix("unix:")).strip("/") or not path.isprintable():
            raise ConfigurationError(f"target is '{shown(url)}'; it names no path")
        return Address(f"unix:{path}", "", 0, None)
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower() if separator else ""
    prefix = ""
    if scheme == "dns":
        prefix, (_, _, rest) = "dns:///", rest.partition("/")
    elif separator and scheme not in PORTS:
        raise ConfigurationError(f"target is '{shown(url)}'; it must be {FORMS}")
    authority = (rest if separator else url).partition("/")[0]
    if "@" in authority:
        raise ConfigurationError(f"target is '{shown(url)}', with a user or password before it; {NO_USER}")
    if not authority:
        raise ConfigurationError(f"target is '{shown(url)}'; it must be {FORMS}")
    if ":" not in authority.rpartition("]")[2]:
        authority += f":{PORTS.get(scheme, 443)}"
    if any(sign in authority for sign in "?#\\,") or not authority.isprintable() or " " in authority:
        raise ConfigurationError(f"target is '{shown(url)}'; it must be HOST:PORT, with no query and no odd signs")
    host, port = split_address("target", authority)
    if "%" in host and ":" not in host:  # gRPC would decode it, to another name
        raise ConfigurationError(f"target is '{shown(url)}'; a host has no '%'")
    if not port:
        raise ConfigurationError(f"target is '{shown(url)}'; port 0 cannot be called")
    return Address(prefix + join_address(host, port), host, port, True if scheme in ("grpcs", "https") else None)


def _card_url(url: str) -> CardUrl:
    """The card's own URL; without a file name, the well-known path below the one given."""
    try:
        split = urlsplit(url)
        port = split.port  # raises where it is none
    except ValueError as error:
        raise ConfigurationError(f"target is '{shown(url)}': {mask_url(str(error))}") from None
    if "@" in split.netloc:
        raise ConfigurationError(f"target is '{shown(url)}', with a user or password before it; {NO_USER}")
    if not split.hostname or port == 0:
        raise ConfigurationError(f"target is '{shown(url)}'; it must be http(s)://HOST[:PORT][/PATH]")
    path = split.path.rstrip("/")
    if not path.endswith(".json"):
        path += CARD_PATH
    return CardUrl(split._replace(path=path, fragment="").geturl(), split.hostname)
