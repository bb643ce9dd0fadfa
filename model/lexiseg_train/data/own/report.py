"""What was found in a user's set: classes, pictures, and what is left out; for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_train.data.indexed import IGNORE

MAX_LISTED = 100  # pictures of a report that are left out
MAX_WARNINGS = 100


@dataclass(frozen=True)
class ClassCount:
    """A class, and the numbers of photographs and of their pixels, at the written size, that show it."""

    name: str
    pictures: int
    pixels: int


@dataclass(frozen=True)
class Report:
    """What a set holds.

    Attributes:
        layout: what it was read as, such as "COCO".
        classes: without the background.
        photographs: number of pictures that are used, by split: `train`, and `val` where one is held out.
        left_out: number of pictures that are not used.
        left_out_pictures: the first MAX_LISTED of them, each with the reason.
        unknown_pixels: of all pictures, pixels that count as no class and no background.
        background_pixels: of all pictures.
        warnings: sentences for people.
    """

    layout: str
    classes: tuple[ClassCount, ...]
    photographs: dict[str, int]
    left_out: int
    left_out_pictures: tuple[str, ...]
    unknown_pixels: int
    background_pixels: int
    warnings: tuple[str, ...]

    @property
    def named(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(each.name for each in self.classes)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report as lines for people, without its warnings."""
        n_pixels = sum(each.pixels for each in self.classes) + self.unknown_pixels + self.background_pixels
        counts = ", ".join(f"{split} {count:,}" for split, count in self.photographs.items()) or "none"
        background, unknown = (_percent(each, n_pixels) for each in (self.background_pixels, self.unknown_pixels))
        return [
            f"{self.layout}: photographs {counts}; {self.left_out:,} left out",
            *(
                f"  {each.name}: {each.pictures:,} photographs, {_percent(each.pixels, n_pixels)}"
                for each in self.classes
            ),
            f"  of all pixels background {background}, unknown {unknown}",
        ]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f} %"


class Counts:
    """Counts of the pictures of a set, as they are read."""

    def __init__(self) -> None:
        self.pixels = np.zeros(IGNORE + 1, np.int64)
        self.pictures = np.zeros(IGNORE + 1, np.int64)

    def add(self, mask: NDArray[np.uint8]) -> None:
        """Count a mask [H, W] of class indices."""
        counts = np.bincount(mask.reshape(-1), minlength=IGNORE + 1)
        self.pixels += counts
        self.pictures += counts > 0

    @property
    def present(self) -> set[int]:
        """The mask values that there are."""
        return set(np.flatnonzero(self.pixels).tolist())

    def of_class(self, value: int, name: str) -> ClassCount:
        """The counts of a class."""
        return ClassCount(name, int(self.pictures[value]), int(self.pixels[value]))


def without_place(sentences: Sequence[str], *places: Path) -> tuple[str, ...]:
    """Sentences with files by their paths in the set, not on this machine."""
    cleared = []
    for sentence in sentences:
        for place in places:
            sentence = sentence.replace(f"{place}/", "").replace(str(place), "the set")
        cleared.append(sentence)
    return tuple(cleared)
