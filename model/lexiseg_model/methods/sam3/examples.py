"""Classes by example in SAM 3: its boxes, of the very picture that is asked about.

    region -> row: box and picture -> vector: the boxes of a class, in the place of a word's tokens -> a pass of its own

SAM 3 looks for what is like the boxes in the features that the boxes lie in: nothing of them can be taken to another
picture. So a row is no more than where a box is, and in which picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import OptionError, TaskError
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import ExampleVectors, TextRows
from lexiseg_model.types import Region

WORD = "visual"  # beside boxes alone, as Sam3Processor
PRINT = 8  # numbers that tell a picture
BOX = 4
ROW = 2 * BOX + PRINT  # each side of a box is two numbers of fp16
ENTRY = BOX + 1  # of a vector: a box, and whether it shows the class


class Shown(NamedTuple):
    """Boxes [N, 4] (centre, width, height, as shares of the picture); `labels` [N]: 1 is the class, 0 is not."""

    boxes: Tensor
    labels: Tensor


def fingerprint(tile: NDArray[np.uint8]) -> Tensor:
    """[8] bytes that tell one picture from others."""
    digest = hashlib.blake2b(tile.tobytes(), digest_size=PRINT).digest()
    return torch.tensor(list(digest), dtype=torch.uint8)


def rows(regions: Sequence[Region], size: tuple[int, int], picture: Tensor) -> TextRows:
    """[R, 16] of regions in a picture of that size (height, width).

    Raises:
        OptionError: a region is shown by points, or is an empty mask.
    """
    sides = np.array([_box(region, size) for region in regions], np.float32).reshape(-1, BOX)
    rough = sides.astype(np.float16)
    rest = (sides - rough).astype(np.float16)
    told = np.tile(picture.cpu().numpy().astype(np.float16), (len(regions), 1))
    return np.concatenate([rough, rest, told], 1)


def vectors(positive: TextRows, negative: TextRows, width: int) -> ExampleVectors:
    """One vector [1, width] for all boxes of a class: its last number is how many, below 0, which no word's is.

    Raises:
        OptionError: rows that are not of this method, or more boxes than there is room for.
        TaskError: boxes of different pictures.
    """
    parts = [(some, label) for some, label in ((positive, 1.0), (negative, 0.0)) if len(some)]
    if any(some.shape[1:] != (ROW,) for some, _ in parts):
        raise OptionError(f"expected rows [N, {ROW}] of examples, got {[list(some.shape) for some, _ in parts]}")
    all_rows = np.concatenate([some for some, _ in parts]).astype(np.float32)
    pictures = all_rows[:, 2 * BOX :]
    if (pictures != pictures[0]).any():
        raise TaskError(_of_one_picture())
    labels = np.concatenate([np.full(len(some), label, np.float32) for some, label in parts])
    boxes = all_rows[:, :BOX] + all_rows[:, BOX : 2 * BOX]
    entries = np.column_stack([boxes, labels]).reshape(-1)
    if PRINT + len(entries) >= width:
        raise OptionError(f"{len(labels)} examples of a class; there is room for {(width - 1 - PRINT) // ENTRY}")
    vector = torch.zeros(1, width)
    vector[0, :PRINT] = torch.from_numpy(pictures[0])
    vector[0, PRINT : PRINT + len(entries)] = torch.from_numpy(entries)
    vector[0, -1] = -len(labels)
    return ExampleVectors(vector, torch.zeros(0, width))  # no direction: every background word stays


def boxes_of(vector: Tensor, picture: Tensor) -> Shown:
    """What a vector [width] shows in a picture.

    Raises:
        TaskError: the boxes are of another picture.
    """
    if not torch.equal(vector[:PRINT].cpu(), picture.cpu().to(vector.dtype)):
        raise TaskError(_of_one_picture())
    entries = vector[PRINT : PRINT - int(vector[-1]) * ENTRY].view(-1, ENTRY)
    return Shown(entries[:, :BOX], entries[:, BOX].long())


def _of_one_picture() -> str:
    return "sam3 looks for classes by example in the picture alone that shows them"


def _box(region: Region, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Centre, width and height of a region's box, as shares of the picture."""
    if region.mask is not None:
        y, x = np.nonzero(decode(region.mask))
        if not len(y):
            raise OptionError("the mask of an example has no pixel")
        left, top, right, bottom = float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)
    else:
        assert region.prompt is not None
        if region.prompt.box is None or region.prompt.points:
            raise OptionError("sam3 takes boxes and masks as examples, and no points")
        left, top, right, bottom = region.prompt.box
    height, width = size
    return (left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height
