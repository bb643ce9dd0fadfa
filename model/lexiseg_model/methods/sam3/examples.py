"""Classes by example in SAM 3: exemplar boxes in the queried image itself.

SAM 3 compares exemplars within one image only, so a row holds just a box and a fingerprint of its image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors
from lexiseg_model.errors import ExamplesError, ForeignExamplesError, OptionError
from lexiseg_model.masks.regions import tight_box
from lexiseg_model.masks.rle import decode
from lexiseg_model.segmenter import TextRows
from lexiseg_model.types import Region

WORD = "visual"  # text of prompts with boxes only, as in Sam3Processor
PRINT = 8  # numbers of an image's fingerprint
BOX = 4
ROW = 2 * BOX + PRINT  # each coordinate is the sum of two fp16 numbers
ENTRY = BOX + 1  # numbers of a vector for each box: the box and its label
ONE_IMAGE = "sam3 finds classes by example only in the image that the examples are from"


class Exemplars(NamedTuple):
    """Boxes [N, 4] (centre x, y, width, height, relative to the image); `labels` [N]: 1 the class, 0 not."""

    boxes: Tensor
    labels: Tensor


def fingerprint(tile: NDArray[np.uint8]) -> Tensor:
    """Fingerprint of an image: 8 bytes, uint8 [8]."""
    digest = hashlib.blake2b(tile.tobytes(), digest_size=PRINT).digest()
    return torch.tensor(list(digest), dtype=torch.uint8)


def rows(regions: Sequence[Region], size: tuple[int, int], picture: Tensor) -> TextRows:
    """Encode regions of an image of `size` (H, W) with fingerprint `picture` [8]: rows [R, 16] fp16."""
    boxes = np.array([_box(region, size) for region in regions], np.float32).reshape(-1, BOX)
    high = boxes.astype(np.float16)
    low = (boxes - high).astype(np.float16)
    prints = np.tile(picture.cpu().numpy().astype(np.float16), (len(regions), 1))
    return np.concatenate([high, low, prints], 1)


def vectors(positive: TextRows, negative: TextRows, width: int) -> ExampleVectors:
    """Pack all boxes of a class in a vector [1, width]; its last number is minus their count: negative is no text."""
    parts = [(part, label) for part, label in ((positive, 1.0), (negative, 0.0)) if len(part)]
    if any(part.shape[1:] != (ROW,) for part, _ in parts):
        raise ForeignExamplesError(
            f"expected rows [N, {ROW}] of examples, got {[list(part.shape) for part, _ in parts]}"
        )
    all_rows = np.concatenate([part for part, _ in parts]).astype(np.float32)
    prints = all_rows[:, 2 * BOX :]
    if (prints != prints[0]).any():
        raise ExamplesError(ONE_IMAGE)
    labels = np.concatenate([np.full(len(part), label, np.float32) for part, label in parts])
    boxes = all_rows[:, :BOX] + all_rows[:, BOX : 2 * BOX]
    entries = np.column_stack([boxes, labels]).reshape(-1)
    if PRINT + len(entries) >= width:
        raise ExamplesError(f"{len(labels)} examples of a class; expected at most {(width - 1 - PRINT) // ENTRY}")
    vector = torch.zeros(1, width)
    vector[0, :PRINT] = torch.from_numpy(prints[0])
    vector[0, PRINT : PRINT + len(entries)] = torch.from_numpy(entries)
    vector[0, -1] = -len(labels)
    return ExampleVectors(vector, torch.zeros(0, width))  # without means every background word stays


def boxes_of(vector: Tensor, picture: Tensor) -> Exemplars:
    """Unpack the boxes of a vector [width] for the image with fingerprint `picture` [8]."""
    if not torch.equal(vector[:PRINT].cpu(), picture.cpu().to(vector.dtype)):
        raise ExamplesError(ONE_IMAGE)
    entries = vector[PRINT : PRINT - int(vector[-1]) * ENTRY].view(-1, ENTRY)
    return Exemplars(entries[:, :BOX], entries[:, BOX].long())


def _box(region: Region, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Centre x and y, width and height of a region's box, relative to the image."""
    if region.mask is not None:
        mask = decode(region.mask)
        if not mask.any():
            raise OptionError("the mask of an example is empty")
        left, top, right, bottom = tight_box(mask)
    else:
        assert region.prompt is not None
        if region.prompt.box is None or region.prompt.points:
            raise OptionError("sam3 takes boxes and masks as examples, not points")
        left, top, right, bottom = region.prompt.box
    height, width = size
    return (left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height
