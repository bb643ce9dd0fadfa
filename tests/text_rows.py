"""A text tower that keeps the rows of every string: trainers ask for the same ones again."""

from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from tests import once

LONG = 256  # new texts of a call, from which their rows are a file of the run: names of a pretrained trunk take 10 s


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
            encode = self._encode_for_all_processes if len(fresh) >= LONG else self._encode
            self._rows.update(zip(fresh, encode(fresh), strict=True))
        return np.array([self._rows[text] for text in texts], np.float32).reshape(len(texts), self.width)

    def _encode_for_all_processes(self, texts: list[str]) -> NDArray[np.float32]:
        def save(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, self._encode(texts))

        name = sha256("\0".join([self.digest, *texts]).encode()).hexdigest()[:16]
        rows: NDArray[np.float32] = np.load(once.made(f"rows-{name}", save))
        return rows
