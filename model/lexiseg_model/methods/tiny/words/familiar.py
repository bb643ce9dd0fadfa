"""Detection of words that `tiny` was not trained on: words unlike all of training, and words of other languages.

The text tower places every word near some other, so the model answers for any word. `familiar.safetensors` beside the
weights holds the rows of the words of training; a word whose nearest one is less alike than a bound is unfamiliar. The
tower reads English only and places a foreign word near a random English one. The file therefore also holds a direction
that separates the two: a logistic regression over frequent words of twelve languages. A letter that is not Latin makes
a word foreign.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry

FILE = "familiar.safetensors"
INT8_SCALE = 127  # of the components of unit rows in the file; cosines are right to 0.01
MAX_FOREIGN_LIKENESS = 0.9  # to a word of training; a word that is more alike is not foreign


class Nearest(NamedTuple):
    """The word of training that a text is most like, their cosine, and whether the text is not English."""

    word: str
    likeness: float
    is_foreign: bool


class Familiar:
    """The words [N] of training, their rows [N, D] and the cosine from which a text is familiar. Thread-safe.

    `foreign` [D + 1] is a direction and an offset; texts with a positive product are not English.
    """

    def __init__(
        self, words: Sequence[str], rows: NDArray[np.float32], bound: float, foreign: NDArray[np.float32] | None = None
    ) -> None:
        self.bound = bound
        self.words = tuple(words)
        self.rows = unit_rows(rows)
        self.foreign = foreign

    def nearest(self, texts: list[str], rows_of: RowsOf) -> list[Nearest]:
        """Return the nearest word of each text."""
        rows = unit_rows(np.asarray(rows_of(texts), np.float32))
        cosines = rows @ self.rows.T  # [F, D] x [D, N]
        best, likeness = cosines.argmax(1), cosines.max(1)
        are_foreign = self._are_foreign(texts, rows, likeness)
        return [
            Nearest(self.words[place], float(cosine), bool(is_foreign))
            for place, cosine, is_foreign in zip(best, likeness, are_foreign, strict=True)
        ]

    def _are_foreign(
        self, texts: list[str], rows: NDArray[np.float32], likeness: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """[F] for texts, their unit rows [F, D] and their likeness [F] to the nearest word of training."""
        if self.foreign is None:
            return np.zeros(len(texts), bool)
        is_strange: NDArray[np.bool_] = rows @ self.foreign[:-1] + self.foreign[-1] > 0
        not_latin = np.array([not all(map(_is_readable, text)) for text in texts])
        return not_latin | (is_strange & (likeness < MAX_FOREIGN_LIKENESS))

    def strangers(self, classes: Sequence[ClassEntry], rows_of: RowsOf) -> list[Unfamiliar]:
        """Return the classes that are like no word of training, or not English."""
        texts_of = [[TEMPLATE.format(text) for text in entry.texts] for entry in classes]
        return [
            Unfamiliar(index, nearest.word, nearest.likeness, self.bound, nearest.is_foreign)
            for index, nearest in enumerate(self.best(texts_of, rows_of))
            if nearest.likeness < self.bound or nearest.is_foreign
        ]

    def best(self, texts_of: Sequence[Sequence[str]], rows_of: RowsOf) -> list[Nearest]:
        """Return for each class the nearest word of its most familiar text."""
        of_texts = self.nearest([text for texts in texts_of for text in texts], rows_of)
        if all(len(texts) == 1 for texts in texts_of):
            return of_texts
        nearest = iter(of_texts)
        return [max((next(nearest) for _ in texts), key=lambda found: found.likeness) for texts in texts_of]


def read_familiar(folder: Path, text_digest: str) -> Familiar | None:
    """Of a model directory; None where it has none.

    Raises:
        WeightsError: the file is damaged, or its rows are of another text tower.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            said = file.metadata() or {}
            rows = file.get_tensor("rows")
            foreign = file.get_tensor("foreign") if "foreign" in file.keys() else None
        words, bound, digest = json.loads(said["words"]), float(said["bound"]), said["text_digest"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is damaged: {error!r}") from None
    if digest != text_digest:
        raise WeightsError(f"{path} is of the text tower {digest}, this one is {text_digest}")
    return Familiar(words, rows.astype(np.float32), bound, foreign)


def _is_readable(character: str) -> bool:
    """Whether the text tower knows a character: Latin letters, digits and signs; no other script, no emoji."""
    if character.isascii():
        return True
    is_letter_or_picture = unicodedata.category(character)[0] == "L" or unicodedata.category(character) == "So"
    return not is_letter_or_picture or unicodedata.name(character, "").startswith("LATIN")


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6)
    return unit
