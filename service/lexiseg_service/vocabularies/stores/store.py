"""Where users' vocabularies are kept: names and documents as bytes. What the bytes mean is not a store's business."""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """Writes are compare-and-swap, so that of two writers at once only one wins."""

    @property
    def nbytes(self) -> int:
        """Bytes of the documents that are in memory."""
        ...

    async def read(self, name: str) -> bytes | None:
        """A document, or None. Goes on answering while the store behind it is away."""
        ...

    async def read_all(self) -> dict[str, bytes]:
        """Every document by its name."""
        ...

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Puts `new` in the place of `old` (None: absent); False if something else is there by now.

        Raises:
            NotReady: nothing can be written at present.
        """
        ...

    def degraded(self) -> str | None:
        """What works less well than it should, for /readyz."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class MemoryStore:
    """Forgets everything with the process."""

    def __init__(self, kept: dict[str, bytes] | None = None) -> None:
        self._kept = dict(kept or {})

    @property
    def nbytes(self) -> int:
        """Bytes of all documents."""
        return sum(map(len, tuple(self._kept.values())))

    async def read(self, name: str) -> bytes | None:
        """A document, or None."""
        return self._kept.get(name)

    async def read_all(self) -> dict[str, bytes]:
        """Every document by its name."""
        return dict(self._kept)

    async def replace(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Puts `new` in the place of `old`."""
        if self._kept.get(name) != old:
            return False
        if new is None:
            self._kept.pop(name, None)
        else:
            self._kept[name] = new
        return True

    def degraded(self) -> str | None:
        """Never."""
        return None

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""
