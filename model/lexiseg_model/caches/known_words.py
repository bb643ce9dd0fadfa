"""What was found out about words that were asked for before: other lists are mostly made of the same words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

from lexiseg_model.caches.weight import Weighed

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class KnownWords(Generic[K, V]):
    """Word, and whatever else decides about it, -> what was found out. Safe from any thread.

    Its dict is replaced and never changed, so nobody waits to look something up. When it is full all of it goes but
    the latest list.

    Args:
        most: words; a longer list is not kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: Weighed[dict[K, V]] = Weighed({})

    def __iter__(self) -> Iterator[K]:
        return iter(self._known.value)

    @property
    def nbytes(self) -> int:
        """Bytes of what is known, words included."""
        return self._known.nbytes

    def of(self, words: Sequence[K], find_out: Callable[[], Sequence[V]]) -> Sequence[V]:
        """Of each word what is known, or all that `find_out` gives where one of them is new.

        Two who ask at once may both find out.
        """
        known = self._known.value
        try:
            return [known[word] for word in words]
        except KeyError:
            pass
        found = find_out()
        if len(words) <= self._most:
            others = known if len(known) + len(words) <= self._most else {}
            self._known = Weighed({**others, **dict(zip(words, found, strict=True))})
        return found
