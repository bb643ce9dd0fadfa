"""The text tower, asked once for each string: trainers in tests all want the same rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.words.text_tower import MiniLM


class RememberedRows:
    """Of every string that was asked for."""

    def __init__(self, tower: MiniLM) -> None:
        self._tower = tower
        self.digest = tower.digest
        self._rows: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._rows]
        self._rows.update(zip(fresh, self._tower.encode(fresh), strict=True))
        return np.stack([self._rows[text] for text in texts])
