"""Find out whether an IP address is one of the public internet.

The list is our own, because `ipaddress.is_global` accepts addresses that lead into private networks by a translation
(64:ff9b::/96, 2002::/16), and multicast.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFUSED_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # of carriers; a metadata service of a cloud is there, too
            "127.0.0.0/8",  # this machine
            "168.63.129.16/32",  # Azure: the services of the host for its machines
            "169.254.0.0/16",  # link-local; the metadata services of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # assignments of the IETF
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # automatic multicast tunneling
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)

_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
"""All global unicast addresses. Everything else is local, mapped, translated, multicast or reserved."""

_REFUSED_V6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # assignments of the IETF: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which contains an IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3ffe::/16",  # returned to the IANA
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: Address) -> bool:
    """Return True if the address is one of the public internet, at which a machine can be reached."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    if address.scope_id is not None or address not in _GLOBAL_V6:
        return False
    return not any(address in network for network in _REFUSED_V6)
