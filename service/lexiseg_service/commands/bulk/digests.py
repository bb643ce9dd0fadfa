"""Digests of more texts than memory should hold: 64 bits each, in a temporary file (TMPDIR).

The file is mapped: what of it is in memory the system takes back when it needs the room, so however many there are, a
process stays within its limit and is slower at worst. Sorting in place goes through it in ever smaller parts.
"""

from __future__ import annotations

import hashlib
import tempfile
from array import array

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2**16  # digests in memory before they are written, or looked at


class Digests:
    """Of texts as they come, then in order. Closed, it takes no more; what it gave in order stays."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="lexiseg-")  # noqa: SIM115
        self._last = array("Q")
        self._written = 0

    def __len__(self) -> int:
        return self._written + len(self._last)

    def add(self, text: str) -> None:
        """One more text."""
        self._last.append(short_digest(text))
        if len(self._last) >= AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Lets the file go, as soon as nobody holds what is mapped of it."""
        self._file.close()

    def ordered(self) -> NDArray[np.uint64]:
        """All of them, [N], smallest first; nothing is added after it."""
        self._flush()
        if not self._written:
            return np.empty(0, np.uint64)
        digests = np.memmap(self._file, np.uint64, "r+")
        digests.sort()
        return digests

    def _flush(self) -> None:
        self._last.tofile(self._file)
        self._file.flush()
        self._written += len(self._last)
        self._last = array("Q")


def short_digest(text: str) -> int:
    """64 bits of a text: what is kept where all texts would be too many."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def repeated(ordered: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """What stands more than once among ordered digests, once each."""
    parts = [ordered[start : start + AT_ONCE + 1] for start in range(0, len(ordered), AT_ONCE)]
    twice = [np.unique(part[1:][part[1:] == part[:-1]]) for part in parts]
    return np.unique(np.concatenate(twice)) if twice else np.empty(0, np.uint64)


def place_of(ordered: NDArray[np.uint64], digest: int) -> int | None:
    """Of a digest among ordered ones; None where it is not among them."""
    place = int(np.searchsorted(ordered, np.uint64(digest)))
    return place if place < len(ordered) and ordered[place] == digest else None
