"""Detect unfamiliar words: words unlike all training words of `tiny`, and words of other languages.

`familiar.safetensors` holds the rows of the training words, which of them had masks, and a logistic regression of
foreign words: the tower embeds a foreign word near a random English one.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.weights import FOLDER, TEMPLATE
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry

FILE = "familiar.safetensors"
MAX_FOREIGN_LIKENESS = 0.9  # cosine with a training word above which a word is not foreign


class Nearest(NamedTuple):
    """The training word nearest to a text, their cosine, and whether the text is not English."""

    word: str
    likeness: float
    is_foreign: bool


class Familiar:
    """The training words, their rows [N, D], the cosine of a familiar text, and the regression `foreign` [D + 1].
    Thread-safe."""

    def __init__(
        self,
        words: Sequence[str],
        rows: NDArray[np.float32],
        bound: float,
        foreign: NDArray[np.float32] | None,
        masked: Collection[str] | None = None,
    ) -> None:
        self.bound = bound
        self.words = tuple(words)
        self.masked = frozenset(word.lower() for word in (words if masked is None else masked))
        self.rows = unit_rows(rows)
        self.foreign = foreign

    def nearest(self, texts: list[str], rows_of: RowsOf) -> list[Nearest]:
        """Return the nearest training word of each text."""
        rows = unit_rows(np.asarray(rows_of(texts), np.float32))
        cosines = rows @ self.rows.T  # [F, D] x [D, N]
        likeness, is_foreign = cosines.max(1), np.zeros(len(texts), bool)
        words = [self.words[index] for index in cosines.argmax(1)]
        if self.foreign is not None:
            looks_foreign = rows @ self.foreign[:-1] + self.foreign[-1] > 0
            not_latin = np.array([not all(map(_is_readable, text)) for text in texts])
            is_foreign = not_latin | (looks_foreign & (likeness < MAX_FOREIGN_LIKENESS))
        return list(map(Nearest, words, likeness.tolist(), is_foreign.tolist()))

    def unfamiliar(self, classes: Sequence[ClassEntry], rows_of: RowsOf) -> list[Unfamiliar]:
        """Return the classes that are unlike all training words, or not English."""
        nearest = iter(self.nearest([TEMPLATE.format(text) for entry in classes for text in entry.names], rows_of))
        most_familiar = [max((next(nearest) for _ in entry.names), key=lambda word: word.likeness) for entry in classes]
        return [
            Unfamiliar(index, word.word, word.likeness, self.bound, word.is_foreign)
            for index, word in enumerate(most_familiar)
            if word.likeness < self.bound or word.is_foreign
        ]


def read_familiar(folder: Path, text_digest: str) -> Familiar | None:
    """The training words of a model directory; None: no such file. Raises WeightsError: damaged, or of another
    tower."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            rows = file.get_tensor("rows")
            foreign = file.get_tensor("foreign") if "foreign" in file.keys() else None
        words, bound, digest = json.loads(metadata["words"]), float(metadata["bound"]), metadata["text_digest"]
        masked = json.loads(metadata["masked"]) if "masked" in metadata else None  # files of 0.3 lack it
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is damaged: {error!r}") from None
    if digest != text_digest:
        raise WeightsError(f"{path} belongs to the text tower {digest}; the installed one is {text_digest}")
    return Familiar(words, rows.astype(np.float32), bound, foreign, masked)


def _is_readable(character: str) -> bool:
    """Whether the text tower can read a character: Latin letters, digits and signs; no other script, no emoji."""
    if character.isascii():
        return True
    is_letter_or_picture = unicodedata.category(character)[0] == "L" or unicodedata.category(character) == "So"
    return not is_letter_or_picture or unicodedata.name(character, "").startswith("LATIN")


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows [N, D] scaled to unit length."""
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6)
    return unit


def foreign(texts: list[str]) -> list[bool]:
    """Whether each text is not English, by the bundled model; raises WeightsError if the text tower is missing."""
    tower = load_text_tower()
    familiar = _read(FOLDER, tower.digest)
    assert familiar is not None, "the bundled model lists its training words"
    return [word.is_foreign for word in familiar.nearest([TEMPLATE.format(text) for text in texts], tower.encode)]


_read = cache(read_familiar)
