"""Which words `tiny` was trained on, and which lie far from all of them.

A text tower places any word near some other, so a model answers for words that no photograph has taught it. The rows
of the words that training used lie beside the weights (`familiar.safetensors`, some hundred bytes a word): a word whose
nearest is farther than the bound is told to whoever asked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lexiseg_model.errors import WeightsError
from lexiseg_model.segmenter import RowsOf

FILE = "familiar.safetensors"
STEPS = 127  # of a component of a unit row, kept as int8: cosines are right to 0.01
MOST_KEPT = 1 << 16  # texts whose nearest word is remembered
BYTES_OF_A_TEXT = 120  # what is remembered of it, and its place, beside the text


class Nearest(NamedTuple):
    """The word of training that a text is most like, and their cosine."""

    word: str
    likeness: float


class _Known(NamedTuple):
    """By text, and the bytes of all. Never changed, but replaced."""

    nearest: dict[str, Nearest]
    nbytes: int


class Familiar:
    """Words [N] of training, their rows [N, D] and the cosine from which a text is familiar. Safe from any thread."""

    def __init__(self, words: Sequence[str], rows: NDArray[np.float32], bound: float) -> None:
        self.bound = bound
        self.words = tuple(words)
        self.rows = _unit(rows)
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
        cosines = _unit(np.asarray(rows_of(fresh), np.float32)) @ self.rows.T  # [F, D] x [D, N]
        best = cosines.argmax(1)
        made = {
            text: Nearest(self.words[place], float(cosine))
            for text, place, cosine in zip(fresh, best, cosines.max(1), strict=True)
        }
        together = known | made
        of_made = sum(map(sys.getsizeof, made)) + BYTES_OF_A_TEXT * len(made)
        if len(together) <= MOST_KEPT:
            self._known = _Known(together, n_bytes + of_made)
        else:
            self._known = _Known(made, of_made)
        return [together[text] for text in texts]

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
        words, bound, digest = json.loads(said["words"]), float(said["bound"]), said["text_digest"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is damaged: {error!r}") from None
    if digest != text_digest:
        raise WeightsError(f"{path} is of the text tower {digest}, this one is {text_digest}")
    return Familiar(words, rows.astype(np.float32), bound)


def write_familiar(
    folder: Path, words: Sequence[str], rows: NDArray[np.floating], bound: float, text_digest: str
) -> None:
    """Puts words, rows [N, D] and bound beside the weights."""
    said = {"words": json.dumps(list(words), ensure_ascii=False), "bound": f"{bound:.2f}", "text_digest": text_digest}
    save_file({"rows": np.rint(_unit(rows.astype(np.float32)) * STEPS).astype(np.int8)}, folder / FILE, said)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-6)
    return unit
