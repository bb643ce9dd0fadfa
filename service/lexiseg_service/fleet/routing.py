"""Which worker gets an image: the one that probably keeps its features, unless it has much more to do than another.

Rendezvous hashing (Thaler and Ravishankar, 1998): every worker draws a number for the image and the highest wins. All
gateways agree without talking, and a worker that comes or goes moves no more than its own share of the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

# A worker is busy with so many requests more in flight than the least loaded: about one batch. Below that, an image
# pass saved is worth the wait.
SPILL_AT = 8


class Candidate(Protocol):
    """A worker that could answer."""

    @property
    def address(self) -> str:
        """HOST:PORT; the same after a restart."""
        ...

    @property
    def load(self) -> int:
        """Requests in flight there."""
        ...

    @property
    def room(self) -> int:
        """Requests that it would still accept."""
        ...


C = TypeVar("C", bound=Candidate)


def ranked(candidates: Sequence[C], key: str) -> list[C]:
    """Candidates by what they drew for the key, the winner first; the same order everywhere."""
    return sorted(candidates, key=lambda candidate: _draw(candidate.address, key), reverse=True)


def choose(candidates: Sequence[C], key: str) -> C | None:
    """The winner, or the least loaded when the winner is busy; None without candidates."""
    order = ranked(candidates, key)
    if not order:
        return None
    winner = order[0]
    idlest = least_loaded(order)
    busy = winner.room <= 0 or winner.load - idlest.load >= SPILL_AT
    return idlest if busy and idlest.room > 0 else winner


def least_loaded(candidates: Sequence[C]) -> C:
    """The first of those with the fewest requests in flight."""
    return min(candidates, key=lambda candidate: candidate.load)


def _draw(address: str, key: str) -> bytes:
    return hashlib.blake2b(f"{address}|{key}".encode(), digest_size=8).digest()
