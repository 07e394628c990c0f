"""The places that webhooks may have in addition to public ones: the setting `push_allow`."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from a2a_grpc.config import ConfigurationError
from a2a_grpc.push.addresses import Address, is_public
from a2a_grpc.push.place import Place, PlaceError, read_host

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FORM = "it must be HOST, HOST:PORT, CIDR or CIDR:PORT, with an IPv6 address in brackets before a port"


@dataclass(frozen=True, slots=True)
class Rule:
    """One part of `push_allow`: a host or a network, at one port or at all of them."""

    host: str
    """The name; empty for a network."""
    network: Network | None
    port: int | None

    def fits(self, place: Place, address: Address | None) -> bool:
        """Return True if the rule allows a place at an address. Without an address, only the host is compared."""
        if self.port not in (None, place.port):
            return False
        if self.network is None:
            return self.host == place.host
        return address is not None and address in self.network

    def may_fit(self, place: Place) -> bool:
        """Return True if the rule allows the place at some address."""
        return self.port in (None, place.port) and (self.network is not None or self.host == place.host)


def parse(text: str) -> tuple[Rule, ...]:
    """Return the rules of the setting `push_allow`, whose parts have commas between them.

    Raises:
        ConfigurationError: A part is neither a host nor a network.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(parts):
        raise ConfigurationError(f"push_allow is '{text}', with an empty part between its commas; {_FORM}")
    return tuple(map(_rule, parts))


def _rule(text: str) -> Rule:
    inner, port = _split(text)
    try:
        bare = inner.strip("[]") if inner.startswith("[") else inner
        if "/" in bare or ":" in bare or _is_address(bare):
            return Rule("", ipaddress.ip_network(bare), port)
        return Rule(read_host(bare), None, port)
    except PlaceError as error:
        raise ConfigurationError(f"push_allow is '{text}', which {error}; {_FORM}") from None
    except ValueError as error:
        raise ConfigurationError(f"push_allow is '{text}'; {error}") from None


def _split(text: str) -> tuple[str, int | None]:
    """Return what stands before the port, and the port if there is one."""
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        before, colon, port = f"[{inner}]", rest[:1], rest[1:]
        if not bracket or (rest and colon != ":"):
            raise ConfigurationError(f"push_allow is '{text}'; {_FORM}")
    elif text.count(":") > 1:
        before, colon, port = text, "", ""
    else:
        before, colon, port = text.partition(":")
    if not colon:
        return before, None
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ConfigurationError(f"push_allow is '{text}'; its port must be from 1 to 65535")
    return before, int(port)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class DestinationPolicy:
    """Decides which places are allowed.

    Without rules these are https at port 443, at a host all of whose addresses are public. A rule allows its host or
    its network with any port, or only with its port, and also with http.

    Args:
        rules: The rules of `push_allow`.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)

    def names_host(self, place: Place) -> bool:
        """Return True if a rule allows the host of the place by its name, at any address."""
        return any(rule.fits(place, None) for rule in self._rules)

    def problem_before_lookup(self, place: Place) -> str:
        """Return why no address can make the place allowed, as the end of a sentence; "" if one can."""
        address = place.address
        if address is not None:
            return self.problem(place, address)
        if any(rule.may_fit(place) for rule in self._rules):
            return ""
        return _form_problem(place) or ("" if "." in place.host else not_public(place))

    def problem(self, place: Place, address: Address) -> str:
        """Return why the place must not be dialled at an address, as the end of a sentence; "" if it may."""
        if any(rule.fits(place, address) for rule in self._rules):
            return ""
        return _form_problem(place) or ("" if is_public(address) else not_public(place))


def _form_problem(place: Place) -> str:
    if not place.is_encrypted:
        said = place.scheme
        return f"begins with {said}://, which is not allowed for this host; it must begin with {said}s://"
    if place.port != 443:
        return f"has the port {place.port}, which is not allowed for this host; it must be 443"
    return ""


def not_public(place: Place) -> str:
    """Return the problem of a host that is not public. It names no address, which could describe a private network."""
    return f"has no public address for its host '{place.host}'"
