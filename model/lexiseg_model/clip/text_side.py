"""From classes to vectors: texts in prompt templates, rows of a text tower, the published rules to average them.

The templates and where they come from are in `data/templates.json`; the strings are exactly the sources', full
stops, missing articles and all, because published figures depend on them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lexiseg_model.errors import OptionError, ShapeError
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.types import ClassEntry, Precision

if TYPE_CHECKING:
    from lexiseg_model.clip.text import ChunkedTower

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
    """Words of a list; `plain` is the word background.

    `bg26`: SCLIP, NACLIP, ProxyCLIP, CorrCLIP. On COCO-Object `bg17`: ProxyCLIP; `bg16`: CorrCLIP.

    Raises:
        OptionError: no list of that name.
    """
    lists = _data()["background_words"]
    if name not in lists:
        raise OptionError(f"no list of background words {name!r}; there are {', '.join(lists)}")
    return tuple(lists[name])


# How the templates of one text are averaged: unit rows (SCLIP, NACLIP, ProxyCLIP), or raw ones, longer rows more (TCL).
ClassRule = Literal["mean_of_units", "mean_of_rows"]


class TextSide:
    """A text tower, the templates of every text, and the method's rule to average them."""

    def __init__(
        self, tower: ChunkedTower, templates: list[str], rule: ClassRule, device: torch.device, precision: Precision
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
        """Unit vectors [n_texts, D] of rows [n_texts * templates, D]; raises as `bank`."""
        expected = (n_texts * len(self._templates), self.tower.width)
        if rows.shape != expected:
            raise ShapeError(f"expected text rows {list(expected)}, got {list(rows.shape)}")
        by_text = torch.from_numpy(rows.astype(np.float32)).view(n_texts, len(self._templates), self.tower.width)
        if self._rule == "mean_of_units":
            by_text, epsilon = F.normalize(by_text, dim=2), 1e-12
        else:
            epsilon = 1e-6  # TCL's
        vectors: NDArray[np.float32] = F.normalize(by_text.mean(1), dim=1, eps=epsilon).numpy()
        return vectors
