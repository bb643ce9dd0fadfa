"""Which words `tiny` was trained on, and which it can only guess at: words far from all of them, and foreign ones.

A text tower places any word near some other, so a model answers for words that no photograph has taught it. The rows
of the words that training used lie beside the weights (`familiar.safetensors`, some hundred bytes a word): a word whose
nearest is farther than the bound is unfamiliar. The tower reads English alone. It places a word of another language
near a random English one, so the file holds a direction as well that tells the two apart
(`training/familiar_words.py`), and a letter that is not Latin makes a word foreign by itself.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.segmenter import RowsOf, Unfamiliar
from lexiseg_model.types import ClassEntry

FILE = "familiar.safetensors"
STEPS = 127  # of a component of a unit row, kept as int8: cosines are right to 0.01
MAX_FOREIGN_LIKENESS = 0.9  # what is more like a word of training is that word, whatever it looks like
MOST_KEPT = 1 << 16  # texts whose nearest word is remembered
BYTES_OF_A_TEXT = 120  # what is remembered of it, and its place, beside the text


class Nearest(NamedTuple):
    """The word of training that a text is most like, their cosine, and whether the text is not English."""

    word: str
    likeness: float
    is_foreign: bool


class _Known(NamedTuple):
    """By text, and the bytes of all. Never changed, but replaced."""

    nearest: dict[str, Nearest]
    nbytes: int


class Familiar:
    """Words [N] of training, their rows [N, D] and the cosine from which a text is familiar. Safe from any thread.

    `foreign` [D + 1] is a direction and an offset: above 0 lie texts that are not English.
    """

    def __init__(
        self, words: Sequence[str], rows: NDArray[np.float32], bound: float, foreign: NDArray[np.float32] | None = None
    ) -> None:
        self.bound = bound
        self.words = tuple(words)
        self.rows = _unit(rows)
        self.foreign = foreign
        self._known = _Known({}, 0)

    @property
    def kept_bytes(self) -> int:
        """Bytes of what is remembered of texts, nearly."""
        return self._known.nbytes

    def nearest(self, texts: Sequence[str], rows_of: RowsOf) -> list[Nearest]:
        """Of each text; rows are asked for only of those that are not remembered."""
        known, n_bytes = self._known
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        if not fresh:
            return [known[text] for text in texts]
        rows = _unit(np.asarray(rows_of(fresh), np.float32))
        cosines = rows @ self.rows.T  # [F, D] x [D, N]
        best, likeness = cosines.argmax(1), cosines.max(1)
        made = {
            text: Nearest(self.words[place], float(cosine), bool(is_foreign))
            for text, place, cosine, is_foreign in zip(
                fresh, best, likeness, self._are_foreign(fresh, rows, likeness), strict=True
            )
        }
        together = known | made
        of_made = sum(map(sys.getsizeof, made)) + BYTES_OF_A_TEXT * len(made)
        if len(together) <= MOST_KEPT:
            self._known = _Known(together, n_bytes + of_made)
        else:
            self._known = _Known(made, of_made)
        return [together[text] for text in texts]

    def _are_foreign(
        self, texts: list[str], rows: NDArray[np.float32], likeness: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """[F] for texts, their unit rows [F, D] and how much they are like a word of training [F]."""
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
        """Of each class with its texts, for the one that is most like a word of training."""
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


def write_familiar(
    folder: Path,
    words: Sequence[str],
    rows: NDArray[np.floating],
    bound: float,
    text_digest: str,
    foreign: NDArray[np.float32] | None = None,
) -> None:
    """Puts words, rows [N, D], bound and the direction of foreign words [D + 1] beside the weights."""
    said = {"words": json.dumps(list(words), ensure_ascii=False), "bound": f"{bound:.2f}", "text_digest": text_digest}
    tensors: dict[str, NDArray[Any]] = {"rows": np.rint(_unit(rows.astype(np.float32)) * STEPS).astype(np.int8)}
    save_file(tensors | ({} if foreign is None else {"foreign": foreign}), folder / FILE, said)


def _is_readable(character: str) -> bool:
    """Whether the text tower can know a character: Latin letters, digits and signs, no other script and no emoji."""
    if character.isascii():
        return True
    is_letter_or_picture = unicodedata.category(character)[0] == "L" or unicodedata.category(character) == "So"
    return not is_letter_or_picture or unicodedata.name(character, "").startswith("LATIN")


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6)
    return unit
