"""Host names to addresses, and which addresses belong to the public internet.

`ipaddress.is_global` alone is not enough: it accepts multicast, site-local and IPv6 addresses that embed a private
IPv4 address, and its answers differ between Python's patch releases.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

RELAYS_OF_6TO4 = IPv4Network("192.88.99.0/24")  # RFC 7526: deprecated, but may still be routed
PROTOCOL_ASSIGNMENTS = IPv4Network("192.0.0.0/24")  # RFC 6890; which of them are global differs between Pythons
GLOBAL_UNICAST = IPv6Network("2000::/3")  # everything that IANA assigns; loopback, ULA and link-local are elsewhere
DOCUMENTATION = IPv6Network("3fff::/20")  # RFC 9637; unknown to older Pythons
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the IPv4 address is in the last 32 bits


def is_public(address: Address) -> bool:
    """Whether an address, and an IPv4 address embedded in it, belongs to the public internet."""
    if isinstance(address, IPv4Address):
        if address in RELAYS_OF_6TO4 or address in PROTOCOL_ASSIGNMENTS:
            return False
        return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
    if address.scope_id is not None:
        return False
    inside = _embedded_ipv4(address)
    if inside is not None:
        return is_public(inside)
    return address.is_global and address in GLOBAL_UNICAST and address not in DOCUMENTATION and address.teredo is None


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address in an IPv4-mapped, 6to4 or NAT64 address."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # host and port to addresses; OSError for an unknown name


class SystemResolver:
    """The operating system's resolver, in its own threads, so that slow lookups delay no other work.

    A cancelled lookup keeps its thread until the system gives up.
    """

    def __init__(self, max_threads: int) -> None:
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        lookup = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(entry[4][0]) for entry in await lookup]
