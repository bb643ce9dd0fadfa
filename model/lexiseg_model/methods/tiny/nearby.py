"""The part of an image around boxes, for masks in less time: maps that prompts share are made of that part alone."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.closer_look import NOWHERE, Size
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.types import Prompt

BLOCK = 8  # cells: the head's maps are halved three times
MARGIN = 0.15  # around a box, in sides of it
MIN_MARGIN = 32.0  # pixels of the network's input


class Part(NamedTuple):
    """Rows and columns of an image's cells (h, w) at STRIDE."""

    rows: slice
    columns: slice
    cells: Size

    def of(self, whole: Features) -> Features:
        """The features of this part, as of an image of the size of its input."""
        rows, columns = self.rows, self.columns
        size = (STRIDE * (rows.stop - rows.start), STRIDE * (columns.stop - columns.start))
        guide_rows, guide_columns = (slice(2 * side.start, 2 * side.stop) for side in (rows, columns))
        pixels = whole.tensors["pixels"][:, rows, columns].contiguous()
        guide = whole.tensors["guide"][:, guide_rows, guide_columns].contiguous()
        return Features(size, {"pixels": pixels, "guide": guide})

    def moved(self, prompt: Prompt, scale: tuple[float, float]) -> Prompt:
        """A prompt about a box, in pixels of the network's input of this part; `scale` is theirs per pixel."""
        assert prompt.box is not None
        (x, y), (x0, y0, x1, y1) = scale, prompt.box
        left, top = STRIDE * self.columns.start, STRIDE * self.rows.start
        return replace(prompt, box=(x * x0 - left, y * y0 - top, x * x1 - left, y * y1 - top))

    def widened(self, masks: Tensor) -> Tensor:
        """Logits [M, a, b] of this part -> [M, h, w] of the whole image; NOWHERE outside."""
        (height, width), rows, columns = self.cells, self.rows, self.columns
        margins = (columns.start, width - columns.stop, rows.start, height - rows.stop)
        return F.pad(masks, margins, value=NOWHERE)


def around(boxes: NDArray[np.float64], cells: Size) -> Part:
    """The part of an image of so many cells around boxes [N, 4] in pixels of the network's input."""
    margins = np.maximum(MARGIN * (boxes[:, 2:] - boxes[:, :2]), MIN_MARGIN)
    low, high = (boxes[:, :2] - margins).min(0), (boxes[:, 2:] + margins).max(0)
    left, top = (BLOCK * np.floor(low / (STRIDE * BLOCK)).clip(0)).astype(int).tolist()
    right, bottom = np.minimum(BLOCK * np.ceil(high / (STRIDE * BLOCK)), cells[::-1]).astype(int).tolist()
    return Part(slice(top, bottom), slice(left, right), cells)
