"""Text rows cached without a bound, for a run over a data set; the worker has its own, bounded cache."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.segmenter import Segmenter


class KnownRows:
    """A `RowsOf` that encodes each text once: texts -> rows [len(texts), D]."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._rows: dict[str, NDArray[np.float16]] = {}

    def __call__(self, texts: list[str]) -> NDArray[np.float16]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if fresh:
            self._rows.update(zip(fresh, self._segmenter.encode_texts(fresh), strict=True))
        return np.stack([self._rows[text] for text in texts])
