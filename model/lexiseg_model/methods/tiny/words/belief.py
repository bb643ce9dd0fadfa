"""How far a class list is known: which classes `tiny` can only guess at, and how far the others may be doubted."""

from __future__ import annotations

from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.by_list import ByList
from lexiseg_model.methods.tiny.words.doubt import Doubted, DoubtRule
from lexiseg_model.methods.tiny.words.familiar import Familiar, Nearest
from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry

MOST = 2048  # classes that are kept: other lists are mostly made of the same words


class Belief:
    """By the word of training that each class is nearest to; a list is looked at once. Safe from any thread."""

    def __init__(self, familiar: Familiar, rule: DoubtRule) -> None:
        self._familiar = familiar
        self._rule = rule
        self._nearest_of: ByList[list[Nearest]] = ByList()
        self._known: dict[tuple[str, ...], Nearest] = {}  # by a class's texts

    def strangers(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        """Classes that are like no word of training."""
        bound = self._familiar.bound
        nearest = enumerate(self._nearest(classes, rows_of))
        return [Unfamiliar(index, *found, bound) for index, found in nearest if found.likeness < bound]

    def doubted(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> Doubted:
        """How far each class may be doubted."""
        return self._rule.of(self._nearest(classes, rows_of))

    def _nearest(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Nearest]:
        def find() -> list[Nearest]:
            known = self._known
            try:
                return [known[entry.texts] for entry in classes]
            except KeyError:
                pass
            texts_of = [entry.texts for entry in classes]
            nearest = self._familiar.best([[TEMPLATE.format(text) for text in texts] for texts in texts_of], rows_of)
            if len(classes) <= MOST:
                room = known if len(known) + len(classes) <= MOST else {}
                self._known = {**room, **dict(zip(texts_of, nearest, strict=True))}
            return nearest

        return self._nearest_of.once(classes, find)
