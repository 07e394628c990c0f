"""Read the url of a webhook strictly, so that no two programs can read it in different ways."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from a2a_grpc.address import join_address
from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.masking import mask_url

MAX_URL_CHARS = 2048
MAX_HOST_CHARS = 253
MAX_SHOWN_CHARS = 256
PORTS = {"https": 443, "http": 80}
"""The schemes, each with its port."""

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)"
    r"(?P<target>(?:/[\w.~!$&'()*+,;=:@%/-]*)?(?:\?[\w.~!$&'()*+,;=:@%/?-]*)?)",
    re.ASCII,
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class PlaceError(ValueError):
    """A url, or a host, is not one that a webhook may have. The message is the end of a sentence about it."""


def refused(url: str, problem: str) -> InvalidRequestError:
    """Return the error for the url of a push config. The problem is the end of a sentence about it."""
    return InvalidRequestError.of(Violation("url", f"is '{mask_url(url)[:MAX_SHOWN_CHARS]}', which {problem}"))


@dataclass(frozen=True, slots=True)
class Place:
    """The parts of the url of a webhook.

    Attributes:
        scheme: "https" or "http" for a webhook, "grpcs" or "grpc" for an agent.
        host: The name in small letters, or the IP address in its usual spelling, without brackets.
        port: The port.
        target: The path and the query, as they were given.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def is_encrypted(self) -> bool:
        """True if the scheme means TLS."""
        return self.scheme.endswith("s")

    @property
    def url(self) -> str:
        """The url again, in its usual spelling."""
        return f"{self.scheme}://{join_address(self.host, self.port)}{self.target}"

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The IP address, if the host is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def read(url: str, ports: Mapping[str, int] = PORTS) -> Place:
    """Return the place that a url names.

    Args:
        url: The url.
        ports: The schemes that the url may have, each with its port. The first one is encrypted.

    Raises:
        PlaceError: The url is of another scheme, or has a part or a spelling that is not accepted.
    """
    if len(url) > MAX_URL_CHARS:
        raise PlaceError(f"has {len(url)} characters; the limit is {MAX_URL_CHARS}")
    found = _URL.fullmatch(url)
    if found is None:
        raise PlaceError(f"is not a URL of the form {next(iter(ports))}://HOST/PATH, without a fragment and in ASCII")
    scheme = found["scheme"].lower()
    if scheme not in ports:
        raise PlaceError(f"has the scheme '{scheme}'; it must be {next(iter(ports))}")
    if "@" in found["authority"]:
        raise PlaceError("has a user name or a password; give credentials in `authentication`")
    authority = _AUTHORITY.fullmatch(found["authority"])
    if authority is None:
        raise PlaceError("has no valid HOST or HOST:PORT")
    port = int(authority["port"] or ports[scheme])
    if not 0 < port < 65536:
        raise PlaceError(f"has the port {port}; a port is from 1 to 65535")
    target = found["target"]
    return Place(scheme, read_host(authority["host"]), port, target if target.startswith("/") else f"/{target}")


def read_host(host: str) -> str:
    """Return a host in its usual spelling. The IP address of version 6 stands in brackets, and is returned without.

    Raises:
        PlaceError: The host is empty, is an address in an unusual spelling, or cannot be a name in the DNS.
    """
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise PlaceError("has a host that is not an IPv6 address") from None
        if address.scope_id is not None:
            raise PlaceError("has a host with a zone")
        return str(address)
    name = host.lower()
    labels = name.split(".")
    if not name or len(name) > MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise PlaceError("has a host that is not a name in the DNS: letters (a-z), digits, '-' and '.' between them")
    if _NUMBER.fullmatch(labels[-1]):  # a resolver reads a name with such an end as an address
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise PlaceError("has an IPv4 address in an unusual spelling; write four decimal numbers") from None
    return name
