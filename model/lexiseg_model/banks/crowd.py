"""Background words beside a class list: which of them step aside, because they mean what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.caches.known_words import KnownWords
from lexiseg_model.types import BackgroundRule, ClassEntry

Rows = NDArray[np.float16] | NDArray[np.float32]  # of texts, as many for each, in their order
Meaning = Callable[[tuple[ClassEntry, ...], Rows], NDArray[np.float32]]  # as `Segmenter.meaning`

MOST = 512  # texts that are kept
LONGEST = 128  # texts of a list that is looked up text by text; of a longer one one product takes less


class Crowd:
    """Words that stand for nobody, and their rows. Safe from any thread.

    Args:
        words: at least one.
        rows: of the words.
        meaning: what the rows of words or classes mean.
        rule: how near is the same meaning, and what else means the same.
    """

    def __init__(self, words: tuple[ClassEntry, ...], rows: Rows, meaning: Meaning, rule: BackgroundRule) -> None:
        self._n = len(words)
        self._same_meaning = rule.same_meaning
        self._meant = meaning(words, rows)  # [W, D]
        self._synonyms: dict[str, int] = {}  # text in small letters -> the words that it stands for, a bit for each
        for place, word in enumerate(words):
            for synonym in rule.synonyms.get(word.name, ()):
                self._synonyms[synonym] = self._synonyms.get(synonym, 0) | 1 << place
        # A text with its rows -> the words that step aside for it.
        self._known: KnownWords[tuple[str, bytes], int] = KnownWords(MOST)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept: what the words mean, and texts with their rows."""
        return self._meant.nbytes + self._known.nbytes

    def competing(self, classes: tuple[ClassEntry, ...], rows: Rows | None, meaning: Meaning) -> list[int]:
        """Places of the words that mean none of the classes, whose rows are None where they have no texts.

        `meaning` comes with each question: a model that it is of, and that keeps this, would hold itself.
        """
        aside = 0 if rows is None else reduce(or_, self._of_texts(classes, rows, meaning))
        return [place for place in range(self._n) if not aside >> place & 1]

    def _of_texts(self, classes: tuple[ClassEntry, ...], rows: Rows, meaning: Meaning) -> Sequence[int]:
        """For each text the words that step aside, a bit for each."""
        texts = [text for entry in classes for text in entry.texts]
        if len(texts) > LONGEST:
            return self._looked_at(texts, meaning(classes, rows))
        packed = rows.tobytes()
        size = len(packed) // len(texts)
        keys = [(text, packed[place * size : (place + 1) * size]) for place, text in enumerate(texts)]
        return self._known.of(keys, lambda: self._looked_at(texts, meaning(classes, rows)))

    def _looked_at(self, texts: list[str], meant: NDArray[np.float32]) -> list[int]:
        likeness = self._meant @ meant.T  # [W, D] x [D, T]
        # Not "at least": what is no number is like nothing that may stay.
        packed = np.packbits(~(likeness < self._same_meaning), axis=0, bitorder="little").T.tolist()
        alike = [int.from_bytes(bytes(column), "little") for column in packed]
        return [bits | self._synonyms.get(text.lower(), 0) for text, bits in zip(texts, alike, strict=True)]
