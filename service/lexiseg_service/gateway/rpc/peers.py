"""Who calls, as gRPC writes it."""

from __future__ import annotations

import re
from urllib.parse import unquote

PEER = re.compile(r"ipv[46]:(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:]*)):\d+")


def address_of(peer: str) -> str | None:
    """The address in a peer: `ipv4:127.0.0.1:4711`, `ipv6:%5B::1%5D:4711`, `unix:...`."""
    address = PEER.fullmatch(unquote(peer))
    return None if address is None else address["six"] or address["four"]
