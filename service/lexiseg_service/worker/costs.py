"""What a request will cost before anything of it is done: from its pixels and its words, beside others.

Sizes are in milliseconds of an ordinary core of 2025. How fast this worker is, on its device and beside what else runs
here, is not asked of them: that is the pace of the `forecast`. What a text takes in the tower is learned here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from lexiseg_service.question.messages import WorkerRequest

LARGE = 60.0  # a finish of so many milliseconds or more is large: some megapixels, or thousands of texts
LARGE_IMAGE = 12.0  # likewise of an image that is decoded
LEARNING = 0.1  # weight of the latest chunk in what a text takes
SURPRISE = 4.0  # times as long; what takes longer was held up by something else, as the first of its kind is
WHOLE = 64  # texts up to which each is looked for; of more, so many are


class Size(NamedTuple):
    """How large a request is to each stage, beside others."""

    decode: float = 0.0
    image: float = 0.0
    finish: float = 0.0
    texts: float = 0.0  # that will have to be encoded

    @property
    def large(self) -> bool:
        """Whether small requests should not wait for its finish."""
        return self.finish >= LARGE

    @property
    def large_image(self) -> bool:
        """Whether small requests should not wait for it to be decoded."""
        return self.decode >= LARGE_IMAGE


def size_of(request: WorkerRequest, pixels: int, missing: float) -> Size:
    """The size of a request.

    Args:
        request: what is asked.
        pixels: of the image as sent.
        missing: texts that no cache in memory knows.
    """
    megapixels = pixels / 1e6
    n_classes = len(request.vocabulary.classes)
    n_texts = sum(1 + len(entry.synonyms) for entry in request.vocabulary.classes)
    finish = 8 + megapixels * (8 + n_classes / 25) + n_texts / 20 + 3 * (len(request.prompts) + len(request.regions))
    painted = 40 * min(megapixels, 1.0) if request.overlay else 0.0
    refined = 150.0 if request.refine == "pamr" else 0.0
    return Size(2 + 2 * megapixels, 30.0, finish + painted + refined, missing)


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
        self._guard = threading.Lock()

    def learn(self, n_texts: int, seconds: float) -> None:
        """The text tower took so long for so many texts."""
        with self._guard:
            before = self._seconds_per_text
            self._seconds_per_text += LEARNING * (min(seconds / n_texts, SURPRISE * before) - before)
            if n_texts >= WHOLE // 2:  # of a few texts, each takes longer
                least = self._least_per_text
                self._least_per_text = seconds / n_texts if least is None else min(least, seconds / n_texts)

    def least(self, n_texts: int) -> float:
        """Seconds that so many texts take at the best speed that there was ever; 0 while nobody knows."""
        with self._guard:
            return n_texts * (self._least_per_text or 0.0)

    def work(self, size: Size) -> float:
        """Seconds of an ordinary core for all but the text tower."""
        return 1e-3 * (size.decode + size.image + size.finish)

    def reading(self, size: Size) -> float:
        """Seconds in the text tower."""
        return size.texts * self._seconds_per_text
