"""Places for requests that are accepted and not yet answered: as many as the queue holds, and a few that stay fair.

A source may take all the places that are free. When none is, one that holds fewer than its share still gets one, out
of a reserve that is half as large again: so nobody's requests are refused because of what others have in the queue. The
share is that of one source more than there are, or two of them would use up the reserve before a third comes.
"""

from __future__ import annotations


class Places:
    """Not for several threads at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._reserve = max(1, most // 2)
        self._held: dict[str, int] = {}
        self._taken = 0

    def __len__(self) -> int:
        """Places that are taken."""
        return self._taken

    def take(self, source: str) -> bool:
        """Whether the source has got one more; it is to be given back."""
        own = self._held.get(source, 0)
        if self._taken >= self._most:
            share = self._most // (len(self._held) + (1 if own else 2))
            if own >= max(1, share) or self._taken >= self._most + self._reserve:
                return False
        self._held[source] = own + 1
        self._taken += 1
        return True

    def give_back(self, source: str) -> None:
        """One is free again."""
        self._taken -= 1
        own = self._held.pop(source) - 1
        if own:
            self._held[source] = own
