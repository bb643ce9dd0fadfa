"""From classes to vectors: texts in prompt templates, rows of a text tower, the published rules to average them.

The strings of `data/templates.json` are exactly the sources', missing articles and all: published figures depend on
them.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError, ShapeError
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.types import ClassEntry, Precision

EPSILON = 1e-6  # probabilities are clamped to EPSILON..1 - EPSILON
DATA = Path(__file__).parent / "data" / "templates.json"


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(DATA.read_text())
    return data


def template_set(name: str) -> list[str]:
    """The strings of a set, in their published order; `fill` puts a text in.

    Raises:
        OptionError: no set of that name.
    """
    sets = _data()["sets"]
    if name not in sets:
        raise OptionError(f"no template set {name!r}; there are {', '.join(sets)}")
    return list(sets[name]["templates"])


def fill(template: str, text: str) -> str:
    """A template with a text in place of `{}`; braces of the text stay what they are."""
    return text.join(template.split("{}"))


def background_words(name: str) -> tuple[str, ...]:
    """Words of a list. Raises OptionError: no list of that name."""
    lists = _data()["background_words"]
    if name not in lists:
        raise OptionError(f"no list of background words {name!r}; there are {', '.join(lists)}")
    return tuple(lists[name])


# How the templates of one text are averaged: unit rows (SCLIP, NACLIP, ProxyCLIP), or raw ones, longer rows more (TCL).
# `rows`: not at all, of a method that has one template.
ClassRule = Literal["mean_of_units", "mean_of_rows", "rows"]
AS_IT_IS = ["{}"]  # templates of methods without any


class RawRows(Protocol):
    """A text tower of any make."""

    digest: str  # of all that decides its rows; towers of one digest share them
    width: int

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), width], not normalised; a string has the same row in any batch."""


def logit_of_threshold(logits: Tensor, threshold: float) -> Tensor:
    """The logit [] of a probability, of the type of `logits`: the background of classes that are scored apart."""
    clipped = min(max(threshold, EPSILON), 1 - EPSILON)
    return logits.new_tensor(math.log(clipped / (1 - clipped)))


class TextSide:
    """A text tower, the templates of every text, and the method's rule to average them."""

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
        """Vectors of the classes' texts, on the device. Raises ShapeError: not one row for each of `texts(classes)`."""
        owner = np.repeat(np.arange(len(classes)), [len(entry.texts) for entry in classes])
        return TextBank(torch.from_numpy(self._vectors(len(owner), rows)).to(self._device), owner, len(classes))

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """The same vectors [T, D] in memory; errors as `bank`."""
        return self._vectors(sum(len(entry.texts) for entry in classes), rows)

    def _vectors(self, n_texts: int, rows: TextRows) -> NDArray[np.float32]:
        """Vectors [n_texts, D] of rows [n_texts * templates, D]; raises as `bank`."""
        expected = (n_texts * len(self._templates), self.tower.width)
        if rows.shape != expected:
            raise ShapeError(f"expected text rows {list(expected)}, got {list(rows.shape)}")
        by_text = torch.from_numpy(rows.astype(np.float32)).view(n_texts, len(self._templates), self.tower.width)
        if self._rule == "mean_of_units":
            vectors = F.normalize(F.normalize(by_text, dim=2).mean(1), dim=1)
        elif self._rule == "mean_of_rows":
            vectors = F.normalize(by_text.mean(1), dim=1, eps=1e-6)  # TCL's epsilon
        else:
            vectors = by_text[:, 0]
        in_memory: NDArray[np.float32] = vectors.numpy()
        return in_memory


class WithTexts:
    """The text side of a segmenter: `Words` but for scores."""

    _text: TextSide

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        return self._text.texts(classes)

    def encode_texts(self, texts: list[str]) -> TextRows:
        return self._text.rows(texts)

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        return self._text.bank(classes, rows)

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        return self._text.meaning(classes, rows)
