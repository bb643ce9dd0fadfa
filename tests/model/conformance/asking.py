"""What the suite asks every model: pictures of coloured blocks, and classes with synonyms."""

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.features import Plan, TileFeatures
from lexiseg_model.segmenter import Segmenter, TextBank
from lexiseg_model.types import ClassEntry, Point, Prompt
from tests.model.stand_in import picture

SIZE = (60, 100)  # (height, width) of every picture
CLASSES = (ClassEntry("red", ("crimson",)), ClassEntry("green"), ClassEntry("blue", ("navy", "sea")))
CLICK = Prompt((Point(70, 20),))
BOX = Prompt(box=(10.0, 8.0, 90.0, 50.0))
PAIR = Prompt((Point(70, 20), Point(5, 5, positive=False)))


def blocks(letters: str = "rgba") -> NDArray[np.uint8]:
    """A picture [60, 100, 3]: four blocks of the stand-in's colours by their letters, row by row."""
    upper, lower = (letters[first] * 60 + letters[first + 1] * 40 for first in (0, 2))
    return picture([upper] * 25 + [lower] * 35)


def encoded_in_company(segmenter: Segmenter, plans: list[Plan]) -> list[TileFeatures]:
    """Each plan's part of one pass over the tiles of all, as the engine cuts them."""
    together = segmenter.encode_tiles(np.concatenate([plan.tiles for plan in plans]))
    ends = np.cumsum([len(plan.tiles) for plan in plans]).tolist()
    return [
        tuple(part[end - len(plan.tiles) : end] for part in together) for plan, end in zip(plans, ends, strict=True)
    ]


def bank_of(segmenter: Segmenter, classes: tuple[ClassEntry, ...] = CLASSES) -> TextBank:
    return segmenter.text_bank(classes, segmenter.encode_texts(segmenter.texts(classes)))
