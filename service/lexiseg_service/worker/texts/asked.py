"""What each key has asked for, so that what it is told of the cache says nothing of what others ask.

Rows are shared by all keys. Were a key told which of its texts were there, it could find out any word that another
has asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

MOST = 65_536  # texts of all keys together, some 8 MB; what was not asked for longest is forgotten first
BYTES_OF_A_MARK = 125  # a number, and its place in the order


class AskedBefore:
    """Texts by key; safe to use from any thread."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._asked: OrderedDict[int, None] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all marks, nearly."""
        return BYTES_OF_A_MARK * len(self._asked)

    def note(self, owner: str, tower: str, texts: Iterable[str]) -> int:
        """How many of the distinct texts the owner had not asked this tower for; from now on it has."""
        new = 0
        with self._guard:
            for text in texts:
                mark = hash((owner, tower, text))
                if mark in self._asked:
                    self._asked.move_to_end(mark)
                else:
                    self._asked[mark] = None
                    new += 1
            while len(self._asked) > self._most:
                self._asked.popitem(last=False)
        return new
