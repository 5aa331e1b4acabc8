"""Which addresses a build may reach: the internet, and nothing that is near the host. No I/O.

The rules hold in the build's own network namespace, in which nothing of the build has the right to
change them. Source: nft(8); RFC 6890 for the ranges that are of no use on the internet.
"""

import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from pipeline_containers.errors import ContainersError

SUBNET = "198.18.0.0/24"
"""Between a build and what carries its packets; nobody's on the internet, and seldom anybody's."""
DNS = "198.18.0.3"
"""Where the same program answers for DNS, by the servers that the host asks."""
NEAR = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
)
"""Loopback, link-local with the metadata service, private networks, multicast, reserved."""


def parse_network(text: str) -> str:
    """Check an address or a range of IPv4; raises `ValueError`."""
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no IPv4 address or range: give one like 10.1.2.3 or 10.1.2.0/24"
        ) from error


def parse_own_addresses(routes: str) -> tuple[str, ...]:
    """Read a host's own addresses from `ip -json -4 route show table local type local`."""
    try:
        found: list[dict[str, Any]] = json.loads(routes or "[]")
        return tuple(sorted({parse_network(str(route["dst"])) for route in found}))
    except (ValueError, TypeError, KeyError) as error:
        raise ContainersError(
            f"ip says nothing of use on this host's addresses: {error}"
        ) from error


def rules(own: Sequence[str], allowed: Sequence[str]) -> str:
    """Write the rules of a build's network, as `nft -f` takes them.

    `own` are the host's addresses, `allowed` what may be reached although it is near.
    """
    refuse = "reject with icmpx type admin-prohibited"
    near = [ipaddress.IPv4Network(network) for network in (*NEAR, *own)]
    lines = [
        'oifname "lo" accept',
        f"ip daddr {DNS} meta l4proto {{ tcp, udp }} th dport 53 accept",
        *([f"ip daddr {{ {', '.join(allowed)} }} accept"] if allowed else []),
        f"ip daddr {{ {', '.join(map(str, ipaddress.collapse_addresses(near)))} }} {refuse}",
        f"meta nfproto ipv6 {refuse}",
    ]
    chain = "type filter hook output priority filter; policy accept;"
    body = "\n".join(f"    {line}" for line in (chain, *lines))
    return f"table inet build {{\n  chain output {{\n{body}\n  }}\n}}\n"
