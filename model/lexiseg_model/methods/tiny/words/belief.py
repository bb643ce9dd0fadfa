"""How far a class list is known: which classes `tiny` can only guess at, and how far the others may be doubted."""

from __future__ import annotations

from collections.abc import Sequence

from lexiseg_model.caches.by_list import ByList
from lexiseg_model.caches.known_words import KnownWords
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.doubt import Doubted, DoubtRule
from lexiseg_model.methods.tiny.words.familiar import Familiar, Nearest
from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry

MOST = 2048  # classes that are kept


class Belief:
    """By the word of training that each class is nearest to; a list is looked at once. Safe from any thread."""

    def __init__(self, familiar: Familiar, rule: DoubtRule) -> None:
        self._familiar = familiar
        self._rule = rule
        self._nearest_of: ByList[Sequence[Nearest]] = ByList()
        self._known: KnownWords[tuple[str, ...], Nearest] = KnownWords(MOST)  # by a class's texts

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept of classes and texts that were asked for; the words of training are the model's."""
        return self._nearest_of.made_bytes + self._known.nbytes + self._familiar.kept_bytes

    def strangers(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        """Classes that are like no word of training, or not English."""
        bound = self._familiar.bound
        return [
            Unfamiliar(index, nearest.word, nearest.likeness, bound, nearest.is_foreign)
            for index, nearest in enumerate(self._nearest(classes, rows_of))
            if nearest.likeness < bound or nearest.is_foreign
        ]

    def doubted(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> Doubted:
        """How far each class may be doubted."""
        return self._rule.of([nearest[:2] for nearest in self._nearest(classes, rows_of)])

    def _nearest(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> Sequence[Nearest]:
        def look_up() -> Sequence[Nearest]:
            texts_of = [entry.texts for entry in classes]
            return self._known.of(texts_of, lambda: self._compared(texts_of, rows_of))

        return self._nearest_of.once(classes, look_up)

    def _compared(self, texts_of: Sequence[tuple[str, ...]], rows_of: RowsOf) -> list[Nearest]:
        return self._familiar.best([[TEMPLATE.format(text) for text in texts] for texts in texts_of], rows_of)
