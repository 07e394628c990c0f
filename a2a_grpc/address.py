"""Split and join addresses of the form `HOST:PORT`, and find out what a host is."""

import ipaddress

from a2a_grpc.config import ConfigurationError


def split_address(name: str, address: str) -> tuple[str, int]:
    """Return the host and the port of `host:port` or `[v6]:port`. Raise ConfigurationError, which names the setting."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or len(port) > 5 or int(port) > 65535:
        raise ConfigurationError(f"{name} is '{address}'; it must be HOST:PORT with a port from 0 to 65535")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare and bare == host and not host.startswith("["):
        raise ConfigurationError(f"{name} is '{address}'; an IPv6 address stands in brackets: [{bare}]:{port}")
    if not bare or "[" in bare or "]" in bare or (":" in bare) != (bare != host):
        raise ConfigurationError(f"{name} is '{address}'; it must be HOST:PORT, where HOST is a name or an IP address")
    return bare, int(port)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_wildcard(host: str) -> bool:
    """Return True if the host stands for every address of a machine. A server can listen there, but no client on
    another machine can connect there."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host in ("0", "*")
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_unspecified


def is_loopback(host: str) -> bool:
    """Return True if only this machine reaches the host."""
    host = host.lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
