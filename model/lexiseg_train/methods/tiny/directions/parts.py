"""Masks of parts: a part's box within its whole's mask, an ellipse in the box for what is round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_train.data.indexed import IGNORE

SET = "voc-parts"
ROUND = frozenset(
    (
        *("head", "eye", "wheel", "headlight", "ear", "nose", "mouth", "muzzle", "mirror", "hand", "foot", "hoof"),
        *("engine", "saddle", "beak", "bottle cap"),
    )
)
# What lies on a part of the rank before; all others are of the first rank.
RANKS = (
    frozenset(["muzzle", "ear", "horn", "beak", "hand", "foot", "hoof", "headlight", "mirror", "license plate"]),
    frozenset(["eye", "nose", "mouth"]),
)
CORE, RIM = 0.9, 1.25  # squared radius of an ellipse inside which a cell is the part's, and up to which it is unsure
NOTHING = 0


class Part(NamedTuple):
    """A part: its name, its sides in pixels, and what it is a part of."""

    name: str
    xyxy: tuple[float, float, float, float]
    of: str


class Parts:
    """The parts of photographs that other sets hold in a split, by set and name; `names`: of all parts, from mask value
    1 on."""

    def __init__(self, root: Path, split: str = "train") -> None:
        """Read `parts.json` of the set below a folder of data sets; without it no photograph has parts."""
        path = root / SET / "parts.json"
        listing = json.loads(path.read_text()) if path.exists() else {}
        self.of = {
            (entry["set"].removesuffix(f"/{split}"), stem): [
                Part(part["name"], tuple(part["xyxy"]), part["of"]) for part in entry["parts"]
            ]
            for stem, entry in listing.items()
            if entry["set"].endswith(f"/{split}")
        }
        everything = [part for parts in self.of.values() for part in parts]
        self.names = sorted({part.name for part in everything})
        self.pairs = sorted({(part.name, part.of) for part in everything})

    def mask(self, parts: list[Part], mask: NDArray[np.uint8], classes: tuple[str, ...]) -> NDArray[np.uint8]:
        """Values [H, W] of parts in a photograph with a mask [H, W] of `classes`: NOTHING, 1 + index, or IGNORE."""
        values = np.full(mask.shape, NOTHING, np.uint8)
        for rank in range(1 + len(RANKS)):
            above = self._of_rank([part for part in parts if rank_of(part.name) == rank], mask, classes)
            values = np.where(above == NOTHING, values, above)
        return values

    def _of_rank(self, parts: list[Part], mask: NDArray[np.uint8], classes: tuple[str, ...]) -> NDArray[np.uint8]:
        values, unsure = np.full(mask.shape, NOTHING, np.uint8), np.zeros(mask.shape, bool)
        y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
        for part in parts:
            x0, y0, x1, y1 = part.xyxy
            inside = (x + 0.5 >= x0) & (x + 0.5 < x1) & (y + 0.5 >= y0) & (y + 0.5 < y1)
            inside = inside & (mask == classes.index(part.of))
            value = 1 + self.names.index(part.name)
            if part.name in ROUND:
                across, down = max(x1 - x0, 1) / 2, max(y1 - y0, 1) / 2
                radius = ((x + 0.5 - (x0 + x1) / 2) / across) ** 2 + ((y + 0.5 - (y0 + y1) / 2) / down) ** 2
                unsure |= inside & (radius > CORE) & (radius <= RIM)
                inside = inside & (radius <= CORE)
            unsure |= inside & (values != NOTHING) & (values != value)
            values[inside] = value
        values[unsure] = IGNORE
        return values


def rank_of(name: str) -> int:
    """0 for a part of the whole, 1 for one that lies on such a part, 2 for what lies on that."""
    return next((rank for rank, names in enumerate(RANKS, 1) if name in names), 0)
