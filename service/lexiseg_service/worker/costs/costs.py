"""What requests and their texts take here, in seconds: as the model's trial measured it, and as is learned.

How much is done at a time, and beside what else runs here, is the pace of the `forecast`. What a text takes in the
tower is learned here, and so is the least that any work takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from lexiseg_service.worker.costs.size import IMAGE, Size
from lexiseg_service.worker.costs.speed import ORDINARY, Speed

LEARNING = 0.1  # weight of the latest chunk in what a text takes
SURPRISE = 4.0  # times as long; what takes longer was held up by something else, as the first of its kind is
DOUBT = 0.5  # of what the trial took: what came before it may have made it slow
WHOLE = 64  # texts up to which each is looked for; of more, so many are


def missing_texts(texts: list[str], known: Callable[[list[str]], int]) -> float:
    """How many of the texts are not known; of a long list, judged by some of them.

    Args:
        texts: of a question.
        known: counts those of a list that are in memory.
    """
    step = max(1, len(texts) // WHOLE)
    some = texts[::step]
    return len(texts) * (1 - known(some) / len(some)) if some else 0.0


class Costs:
    """Seconds by size; safe to use from any thread."""

    def __init__(self) -> None:
        self._seconds_per_text = 1.5e-3
        self._least_per_text: float | None = None
        self._speeds: dict[str, Speed] = {}  # by the digest of a model
        self._least_finish: dict[str, float] = {}  # times what was expected, at best
        self._least_per_tile: dict[str, float] = {}
        self._guard = threading.Lock()

    def tried(self, digest: str, speed: Speed) -> None:
        """A model is this fast, alone."""
        with self._guard:
            self._speeds[digest] = speed
            self._least_finish[digest] = DOUBT
            self._least_per_tile[digest] = DOUBT * 1e-3 * IMAGE * speed.image / speed.tiles

    def tried_texts(self, n_texts: int, seconds: float) -> None:
        """The text tower took so long, alone; of the first tower of a worker it stands instead of a guess."""
        with self._guard:
            if self._least_per_text is None:
                self._seconds_per_text = seconds / n_texts
                self._least_per_text = DOUBT * seconds / n_texts

    def speed_of(self, digest: str) -> Speed:
        """Of a model; an ordinary one where it has not been tried."""
        return self._speeds.get(digest, ORDINARY)

    def learn(self, n_texts: int, seconds: float) -> None:
        """The text tower took so long for so many texts."""
        with self._guard:
            before = self._seconds_per_text
            self._seconds_per_text += LEARNING * (min(seconds / n_texts, SURPRISE * before) - before)
            if n_texts >= WHOLE // 2:  # of a few texts, each takes longer
                least = self._least_per_text
                self._least_per_text = seconds / n_texts if least is None else min(least, seconds / n_texts)

    def encoded(self, digest: str, n_tiles: int, seconds: float) -> None:
        """An image pass of a model took so long."""
        with self._guard:
            if digest in self._least_per_tile:
                self._least_per_tile[digest] = min(self._least_per_tile[digest], seconds / n_tiles)

    def finished(self, digest: str, size: Size, seconds: float) -> None:
        """A finish of a model took so long."""
        with self._guard:
            if digest in self._least_finish:
                self._least_finish[digest] = min(self._least_finish[digest], seconds / size.finish_seconds)

    def least(self, n_texts: int) -> float:
        """Seconds that so many texts take at the best speed that there was ever; 0 while nobody knows."""
        with self._guard:
            return n_texts * (self._least_per_text or 0.0)

    def least_finish(self, digest: str, size: Size) -> float:
        """Likewise, of a finish. What a task or refinement takes beyond that may be remembered, and does not count."""
        with self._guard:
            return self._least_finish.get(digest, 0.0) * size.finish_seconds

    def least_image(self, digest: str, n_tiles: int) -> float:
        """Likewise, of an image pass."""
        with self._guard:
            return self._least_per_tile.get(digest, 0.0) * n_tiles

    def reading(self, size: Size) -> float:
        """Seconds in the text tower."""
        return size.texts * self._seconds_per_text
