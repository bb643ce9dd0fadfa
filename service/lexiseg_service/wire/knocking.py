"""Who was cut off and comes back at once: of such an address the system lets a part of the connections in.

A connection that floods is seen after a moment, in which it takes a core; opened again as soon as it is cut off, it
takes it all the time. gRPC accepts whoever has connected, so they are kept from connecting: a filter on what listens
throws most of their first packets away. Nobody is refused: a client's system sends the packet again, after a second
and then after another, until it is let in. Connections that are there are not touched.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

LET_IN = 0.25  # of their first packets; each is sent again after a second
MOST_HOSTS = 64  # the latest; who floods from more than that is a proxy's business
# Of the system's packet filters: linux/filter.h, linux/bpf_common.h, asm-generic/socket.h.
ATTACH, DETACH = 26, 27
INSTRUCTION = struct.Struct("=HBBI")  # what, steps to go if so and if not, a number
LOAD, LOAD_BYTE, SHIFT_RIGHT = 0x20, 0x30, 0x74
GO, IF_EQUAL, IF_ANY_BIT, IF_AT_LEAST, TAKE = 0x05, 0x15, 0x45, 0x35, 0x06
FLAGS, FIRST = 13, 2  # the byte of a packet of TCP, and its bit in a connection's first one
INTERNET = -0x100000  # where the head of the internet protocol is
CHANCE = -0x1000 + 56  # where a number by chance is
VERSIONS = {4: (12,), 6: (8, 12)}  # where words of the sender's address are; of the newer one those of its network
ALL = 0xFFFFFFFF
Step = tuple[int, int, int, int]


def let_in_some(listening: socket.socket, hosts: Iterable[str], share: float = LET_IN) -> bool:
    """From now on a share of the connections from some addresses is let in, at each try, and all others.

    Args:
        listening: a socket.
        hosts: addresses as the system writes them; none lets everybody in.
        share: from 0, none, to 1.

    Returns:
        Whether the system has such filters.
    """
    if not sys.platform.startswith("linux"):
        return False
    known = [address for host in hosts if (address := _address(host)) is not None][-MOST_HOSTS:]
    if not known:
        with suppress(OSError):  # there is none
            listening.setsockopt(socket.SOL_SOCKET, DETACH, bytes(4))
        return True
    steps = _steps(known, share)
    program = ctypes.create_string_buffer(
        b"".join(INSTRUCTION.pack(what, yes, no, number & ALL) for what, yes, no, number in steps)
    )
    try:
        listening.setsockopt(socket.SOL_SOCKET, ATTACH, struct.pack("HP", len(steps), ctypes.addressof(program)))
    except OSError:
        return False
    return True


def _steps(addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address], share: float) -> list[Step]:
    """Any first packet from these addresses is taken by chance, any other packet is."""
    take: Step = (TAKE, 0, 0, ALL)
    by_chance: list[Step] = [
        (LOAD, 0, 0, CHANCE),
        (IF_AT_LEAST, 0, 1, min(ALL, round(share * (ALL + 1)))),
        (TAKE, 0, 0, 0),
        take,
    ]
    looks: list[Step] = [(LOAD_BYTE, 0, 0, FLAGS), (IF_ANY_BIT, 1, 0, FIRST), take]
    for version, places in VERSIONS.items():
        compared: list[Step] = []
        for address in addresses:
            if address.version == version:
                words = struct.unpack(f"!{len(address.packed) // 4}L", address.packed)[: len(places)]
                left = 2 * (len(places) - 1)  # steps to what is done by chance
                for place, word in zip(places, words, strict=True):
                    compared += [(LOAD, 0, 0, INTERNET + place), (IF_EQUAL, 0, left + len(by_chance), word)]
                    left -= 2
                compared += by_chance
        if compared:
            looks += [(LOAD_BYTE, 0, 0, INTERNET), (SHIFT_RIGHT, 0, 0, 4), (IF_EQUAL, 1, 0, version)]
            looks += [(GO, 0, 0, len(compared)), *compared]
    return [*looks, take]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
