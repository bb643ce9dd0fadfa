"""A text tower that keeps the rows of every string: trainers ask for the same ones again."""

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.words.text_tower import MiniLM


class RememberedRows:
    """Encode each string once; a row does not depend on the other strings of a call."""

    width = MiniLM.width

    def __init__(self, tower: MiniLM) -> None:
        self._encode = tower.encode
        self.digest = tower.digest
        self._rows: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if fresh:
            self._rows.update(zip(fresh, self._encode(fresh), strict=True))
        return np.array([self._rows[text] for text in texts], np.float32).reshape(len(texts), self.width)
