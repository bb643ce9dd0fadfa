"""Vectors of texts that were asked for before: other lists are mostly made of the same words.

What is made of a row does not depend on the rows beside it, so it is the same whenever it was made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lexiseg_model.caches.weight import Weighed
from lexiseg_model.kernel.cell_scores import cell_scores
from lexiseg_model.methods.tiny.network import EMBEDDING, TinyNetwork

MOST = 2048  # texts that are kept; a list of more than half of that is not looked for
Made = tuple[NDArray[np.float32], NDArray[np.float32]]  # vectors [T, D] and levels [T]


class _Kept(NamedTuple):
    """Where each text is, the rows that it came with, and what was made of them. Never changed, but replaced."""

    places: Weighed[dict[str, int]]
    rows: NDArray[np.float16]
    vectors: NDArray[np.float32]
    levels: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self)


class KnownTexts:
    """Text with its row -> vector and level. Safe from any thread.

    Args:
        make: from rows [T, 384] to what is made of each.
    """

    def __init__(self, make: Callable[[NDArray[np.float16]], Made]) -> None:
        self._make = make
        self._kept: _Kept | None = None
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        kept = self._kept
        return 0 if kept is None else kept.nbytes

    def of(self, texts: Sequence[str], rows: NDArray[np.float16]) -> Made:
        """What is made of each text's row. Rows are compared: a text that comes with another is made anew."""
        if 2 * len(texts) > MOST:
            return self._make(rows)
        made = self._find(texts, rows)
        if made is None:
            self._keep(texts, rows)
            made = self._find(texts, rows)
        # Of a text that comes twice, with two rows, one alone is kept.
        return self._make(rows) if made is None else made

    def _find(self, texts: Sequence[str], rows: NDArray[np.float16]) -> Made | None:
        kept = self._kept
        if kept is None:
            return None
        try:
            known = kept.places.value
            places = np.array([known[text] for text in texts])
        except KeyError:
            return None
        if kept.rows.take(places, 0).tobytes() != rows.tobytes():
            return None
        return kept.vectors.take(places, 0), kept.levels.take(places)

    def _keep(self, texts: Sequence[str], rows: NDArray[np.float16]) -> None:
        with self._guard:
            kept = self._kept
            if kept is not None and len(kept.places.value) + len(texts) > MOST:
                kept = None
            places = {} if kept is None else kept.places.value
            new = [at for at, text in enumerate(texts) if kept is None or not _is_kept(kept, text, rows[at])]
            of_new, (vectors, levels) = rows[new], self._make(rows[new])
            first = 0 if kept is None else len(kept.rows)
            if kept is not None:
                of_new = np.concatenate([kept.rows, of_new])
                vectors, levels = np.concatenate([kept.vectors, vectors]), np.concatenate([kept.levels, levels])
            places = {**places, **{texts[at]: first + n for n, at in enumerate(new)}}
            self._kept = _Kept(Weighed(places), of_new, vectors, levels)


def _is_kept(kept: _Kept, text: str, row: NDArray[np.float16]) -> bool:
    place = kept.places.value.get(text)
    return place is not None and kept.rows[place].tobytes() == row.tobytes()


def projecting(network: TinyNetwork) -> Callable[[NDArray[np.float16]], Made]:
    """As `TinyNetwork.project_texts` and `levels_of`, where the kernel makes products of such rows.

    Each row by itself: how BLAS rounds depends on how many there are.
    """
    weights = np.ascontiguousarray(network.text_projection.weight.detach().numpy())
    nothing, each = np.zeros(EMBEDDING, np.float32), np.arange(EMBEDDING)
    direction = network.text_level.double()

    @torch.inference_mode()
    def project(rows: NDArray[np.float16]) -> Made:
        products = cell_scores(rows.T, weights, nothing, each)
        vectors = F.normalize(torch.from_numpy(np.ascontiguousarray(products.T)), dim=1)
        # [T, 384] x [384] -> [T], in twice the digits: rounded once, whatever their order
        levels = (F.normalize(torch.from_numpy(rows).float(), dim=1).double() * direction).sum(1).float()
        return vectors.numpy(), levels.numpy()

    return project
