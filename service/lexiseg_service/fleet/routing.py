"""The worker for an image: the one that probably has its features cached, unless it is much busier than another.

Rendezvous hashing (Thaler and Ravishankar, 1998): the worker with the highest hash for the image wins. All gateways
agree without communication, and adding or removing a worker moves only its own share of the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

# A worker is busy with that many requests in flight more than the least loaded one: about one batch. Below that, a
# cached image pass is worth the wait.
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
    """Candidates by their hash for the key, the highest first."""
    return sorted(candidates, key=lambda candidate: _hash(candidate.address, key), reverse=True)


def choose(candidates: Sequence[C], key: str) -> C | None:
    """The first ranked, or the least loaded when that one is busy; None without candidates."""
    order = ranked(candidates, key)
    if not order:
        return None
    winner = order[0]
    idle = least_loaded(order)
    busy = winner.room <= 0 or winner.load - idle.load >= SPILL_AT
    return idle if busy and idle.room > 0 else winner


def least_loaded(candidates: Sequence[C]) -> C:
    """The first of those with the fewest requests in flight."""
    return min(candidates, key=lambda candidate: candidate.load)


def _hash(address: str, key: str) -> bytes:
    return hashlib.blake2b(f"{address}|{key}".encode(), digest_size=8).digest()
