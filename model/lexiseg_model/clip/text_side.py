"""The text side of a segmenter: templates filled in, rows from the tower, one vector for each text."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lexiseg_model.clip.classes import ClassRule, class_vectors
from lexiseg_model.clip.templates import fill
from lexiseg_model.errors import ShapeError
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.types import ClassEntry, Precision


class RawRows(Protocol):
    """What a text tower is asked for, whatever its make."""

    digest: str  # of all that decides its rows: those of one digest may be shared
    width: int

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), width], not normalised; the same for a string in any company."""


class TextSide:
    """A text tower, the templates that every text goes through, and the method's rule to put them together."""

    def __init__(
        self, tower: RawRows, templates: list[str], rule: ClassRule, device: torch.device, precision: Precision
    ) -> None:
        self.tower = tower
        self._templates = templates
        self._rule = rule
        self._device = device
        self._precision = precision

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        """Every text of every class in every template, all templates of a text together."""
        return [fill(template, text) for entry in classes for text in entry.texts for template in self._templates]

    def rows(self, texts: list[str]) -> TextRows:
        """Raw rows [S, D] of the tower: float32 when exact, else rounded to fp16."""
        rows = self.tower.encode(texts)
        return rows if self._precision == "exact" else rows.astype(np.float16)

    def bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        """Unit vectors of the classes' texts, on the device.

        Raises:
            ShapeError: `rows` has not one row for each of `texts(classes)`.
        """
        owner = np.repeat(np.arange(len(classes)), [len(entry.texts) for entry in classes])
        return TextBank(torch.from_numpy(self._vectors(len(owner), rows)).to(self._device), owner, len(classes))

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """The same vectors [T, D] in memory; errors as `bank`."""
        return self._vectors(sum(len(entry.texts) for entry in classes), rows)

    def _vectors(self, n_texts: int, rows: TextRows) -> NDArray[np.float32]:
        expected = (n_texts * len(self._templates), self.tower.width)
        if rows.shape != expected:
            raise ShapeError(f"expected text rows {list(expected)}, got {list(rows.shape)}")
        if not n_texts:
            return np.empty((0, self.tower.width), np.float32)
        vectors: NDArray[np.float32] = class_vectors(
            torch.from_numpy(rows.astype(np.float32)), len(self._templates), self._rule
        ).numpy()
        return vectors
