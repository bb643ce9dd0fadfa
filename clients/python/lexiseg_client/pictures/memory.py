"""Ids of images that the server has seen, so that the same image need not be sent twice."""

from __future__ import annotations

import threading
from collections import OrderedDict


class SentImages:
    """From the digest of an upload to the server's image id; bounded, least recently used first. For many threads."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, digest: str) -> str | None:
        """The id of an image sent before."""
        with self._lock:
            if digest in self._ids:
                self._ids.move_to_end(digest)
            return self._ids.get(digest)

    def remember(self, digest: str, image_id: str) -> None:
        """The server has it under this id."""
        with self._lock:
            self._ids[digest] = image_id
            self._ids.move_to_end(digest)
            while len(self._ids) > self._most:
                self._ids.popitem(last=False)

    def forget(self, digest: str) -> None:
        """The server has it no more."""
        with self._lock:
            self._ids.pop(digest, None)
