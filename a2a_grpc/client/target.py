"""Read the target that a user writes for an agent.

127.0.0.1:50051   agents.example:443   [::1]:50051   agents.example
grpc://host:port   grpcs://host:port   dns:///host:port   unix:/run/agent.sock
https://host   http://host:8080   https://host/some/agent-card.json      the card, fetched
agent-card.json   ./cards/agent.json   file:///etc/agent-card.json       the card, read
name@domain   name@domain/path      the logical address of an agent at a sentinel
"""

import os
import sys
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from a2a_grpc.address import is_loopback, join_address, split_address
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.config import ConfigurationError
from a2a_grpc.logical import hint, is_logical
from a2a_grpc.masking import MASK, mask_url
from a2a_grpc.protocol import CARD_PATH

PORTS = {"grpc": 50051, "grpcs": 443, "http": 80, "https": 443}
NO_USER = "give credentials as such"
MAX_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
MAX_SHOWN_CHARS = 200
"""The largest length of a target in an error."""
FORMS = "HOST:PORT, grpc://, grpcs://, dns:///, unix:, http(s)://, or the path of an agent card"


@dataclass(frozen=True, slots=True)
class Address:
    """The address of an agent's gRPC.

    Attributes:
        dial: The target of the channel: `host:port`, `unix:/path`, `dns:///host:port`.
        host: The host; empty for a Unix socket.
        port: The port; 0 for a Unix socket.
        tls: True or False if the target says it. If None, calls to other machines use TLS.
    """

    dial: str
    host: str
    port: int
    tls: bool | None

    @property
    def is_local(self) -> bool:
        """True if the address is on this machine, so that no other machine can read the calls."""
        return not self.host or is_loopback(self.host)

    def __str__(self) -> str:
        return self.dial.removeprefix("dns:///")


@dataclass(frozen=True, slots=True)
class CardUrl:
    """The URL of an agent's card."""

    url: str = field(repr=False)
    host: str

    def __str__(self) -> str:
        return shown(self.url)


@dataclass(frozen=True, slots=True)
class CardFile:
    """The file of an agent's card."""

    path: str


def shown(target: str) -> str:
    """Return a target for errors and logs. Secrets and the query of a URL are masked, and a long text is cut."""
    place, mark, _ = target.partition("?")
    masked = mask_url(place) + (f"?{MASK}" if mark else "")
    return masked if len(masked) <= MAX_SHOWN_CHARS else masked[:MAX_SHOWN_CHARS] + "…"


def parse(target: str) -> Address | CardUrl | CardFile:
    """Return what a target names. Raise ConfigurationError for a text that has none of the forms above."""
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


def reached(target: str, settings: ClientSettings) -> tuple[Address | CardUrl | CardFile, ClientSettings]:
    """Return what a target names, with the settings to call it.

    An agent with a logical address is called at the sentinel of the settings, and the address is the tenant.

    Raises:
        ConfigurationError: The target has none of the forms above, or the settings name no sentinel.
    """
    if not is_logical(target):
        return parse(target), settings
    if settings.sentinel is None:
        raise ConfigurationError(
            f"target is '{target}', an address at a sentinel: give --sentinel HOST:PORT, or set A2A_GRPC_SENTINEL"
        )
    try:
        return grpc_address(settings.sentinel), replace(settings, tenant=target)
    except ConfigurationError as error:
        raise ConfigurationError(f"sentinel is '{shown(settings.sentinel)}': {error}") from None


def _card_file(url: str) -> CardFile:
    host, _, path = url[len("file://") :].partition("/")
    if host not in ("", "localhost") or not path:
        raise ConfigurationError(f"target is '{shown(url)}'; a file URL has three slashes: file:///PATH")
    return CardFile(unquote(f"/{path}"))


def grpc_address(url: str) -> Address:
    """Return the address that a user or a card's interface names (CARD-8). Raise ConfigurationError if it is wrong.

    It may have a scheme, and a path, which is ignored. `grpcs://` and `https://` mean TLS. For others the client
    decides (OPEN-6).
    """
    if url.startswith("unix:"):
        if not (path := url.removeprefix("unix:")).strip("/") or not path.isprintable():
            raise ConfigurationError(f"target is '{shown(url)}'; it names no path")
        _check_socket(url, path)
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
        raise ConfigurationError(f"target is '{shown(url)}', with a user or password before it; {NO_USER}{hint(url)}")
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


def _check_socket(url: str, path: str) -> None:
    """Raise ConfigurationError for a path that no socket can have, since gRPC would try it again and again."""
    size = len(os.fsencode(path.removeprefix("//")))
    if size > MAX_SOCKET_PATH_BYTES:
        raise ConfigurationError(
            f"target is '{shown(url)}'; its path has {size} bytes, and a Unix socket can have {MAX_SOCKET_PATH_BYTES}"
        )


def _card_url(url: str) -> CardUrl:
    """Return the URL of a card. A URL without a file name is completed by the well-known path."""
    try:
        split = urlsplit(url)
        port = split.port  # raises if it is no port
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


def origin_of(target: str) -> str:
    """Return the origin of the card's URL that a target names; "" if it names no URL."""
    try:
        where = parse(target)
    except ConfigurationError:
        return ""
    if not isinstance(where, CardUrl):
        return ""
    parts = urlsplit(where.url)
    scheme = parts.scheme.lower()
    return f"{scheme}://{join_address(where.host.lower(), parts.port or (443 if scheme == 'https' else 80))}"
