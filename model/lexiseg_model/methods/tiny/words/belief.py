"""How far a class list is known: which classes `tiny` can only guess at, and how far the others may be doubted."""

from __future__ import annotations

from collections.abc import Sequence

from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.doubt import Doubted, DoubtRule
from lexiseg_model.methods.tiny.words.familiar import Familiar, Nearest
from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry


class Belief:
    """By the word of training that each class is nearest to. Thread-safe."""

    def __init__(self, familiar: Familiar, rule: DoubtRule) -> None:
        self._familiar = familiar
        self._rule = rule

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered of texts."""
        return self._familiar.kept_bytes

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
        texts_of = [[TEMPLATE.format(text) for text in entry.texts] for entry in classes]
        return self._familiar.best(texts_of, rows_of)
