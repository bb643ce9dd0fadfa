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

RELAYS_OF_6TO4 = IPv4Network("192.88.99.0/24")  # RFC 7526: out of use, but packets may still be taken
PROTOCOL_ASSIGNMENTS = IPv4Network("192.0.0.0/24")  # RFC 6890; which of it is global differs between Pythons
GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA hands out; loopback, ULA, link-local lie elsewhere
DOCUMENTATION = IPv6Network("3fff::/20")  # RFC 9637; newer than some of the Pythons that we run on
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the IPv4 address is in the last 32 bits


def is_public(address: Address) -> bool:
    """Whether a packet to it leaves for the public internet, through whatever the address carries inside."""
    if isinstance(address, IPv4Address):
        if address in RELAYS_OF_6TO4 or address in PROTOCOL_ASSIGNMENTS:
            return False
        return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
    if address.scope_id is not None:
        return False
    inside = _carried(address)
    if inside is not None:
        return is_public(inside)
    return address.is_global and address in GLOBAL_UNICAST and address not in DOCUMENTATION and address.teredo is None


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv4-mapped, 6to4 or NAT64 address stands for."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # host and port to addresses; OSError for an unknown name


class SystemResolver:
    """The operating system's resolver, in threads of its own: slow names hold up nobody else's work.

    A look-up that is given up keeps its thread until the system gives up, too: `most` of them is for both.
    """

    def __init__(self, most: int) -> None:
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        look_up = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(entry[4][0]) for entry in await look_up]
