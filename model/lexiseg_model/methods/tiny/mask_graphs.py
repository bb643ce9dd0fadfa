"""ONNX graphs for the browser that choose and refine the masks of the prompt head, by `click_order` and `mask_rules`.

tile -> Palette, once an image; the head's masks of a prompt and that palette -> ChooseMask -> one refined mask
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from lexiseg_model.export.exportable import Part
from lexiseg_model.masks.pamr import affinity, refine_once
from lexiseg_model.methods.tiny.click_order import Contrast, contrast_of_cells, worth
from lexiseg_model.methods.tiny.graphs import Normalise
from lexiseg_model.methods.tiny.mask_rules import BINS, SMOOTHING, colour_bins, count_cells, weigh_colours
from lexiseg_model.methods.tiny.settings import TinySettings

MAX_CELLS = 4096  # of a side at stride 4
MAX_MASKS = 16  # of a prompt


class Palette(nn.Module):
    """uint8 tile [3, 4h, 4w] of an image -> what refinement compares, in cells h x w.

    The head's guide, uint8 [3, 2h, 2w]; the histogram bin [h, w] of each cell; weights [16, h, w] of its neighbours;
    the contrast between neighbours, [h, w - 1] and [h - 1, w].
    """

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise()

    def forward(self, tile: Tensor) -> tuple[Tensor, ...]:
        guide = F.avg_pool2d(tile[None].float(), 2).round()
        cells = self.normalise(F.avg_pool2d(guide, 2))[0]
        bins = colour_bins(cells.double())  # sums in float32 move cells to other bins than the service's
        bins = bins.view(cells.shape[1:])
        return guide[0].to(torch.uint8), bins, affinity(cells, SMOOTHING.dilations), *contrast_of_cells(cells)


class ChooseMask(nn.Module):
    """Masks [M, h, w] and quality [M] of a prompt, logits both; its box [4] if `has_box` is 1; and a palette.

    Returns logits [h, w] of the best mask, refined by the object's colours, and its quality [1] in 0..1.
    """

    def __init__(self, settings: TinySettings) -> None:
        super().__init__()
        self.clicks, self.colours = settings.clicks, settings.colours

    def forward(
        self,
        masks: Tensor,
        quality: Tensor,
        box: Tensor,
        has_box: Tensor,
        bins: Tensor,
        weights: Tensor,
        across: Tensor,
        down: Tensor,
    ) -> tuple[Tensor, Tensor]:
        sure = quality.sigmoid()
        best = worth(masks[None], sure[None], Contrast(across, down), self.clicks).argmax(1)
        mask = masks.index_select(0, best)
        bins = bins.flatten()
        counts, around = count_cells(mask, box[None], has_box[None] > 0, self.colours)
        rows = counts.flatten(1).float()  # integers up to 2^24 sum exactly
        histograms = rows.new_zeros(2, BINS**3).scatter_add(1, bins[None].expand(2, -1), rows)
        logits = weigh_colours(mask, histograms, bins, around, self.colours)
        for _ in range(SMOOTHING.iterations):
            logits = refine_once(logits, weights, SMOOTHING.dilations)
        return logits[0], sure.index_select(0, best)


def mask_parts(settings: TinySettings) -> list[Part]:
    """The graphs, for export."""
    rows, columns = (Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    h, w = 8 * rows, 8 * columns
    palette = {"bins": {0: h, 1: w}, "weights": {1: h, 2: w}, "across": {0: h, 1: w - 1}, "down": {0: h - 1, 1: w}}
    n = Dim("masks", min=1, max=MAX_MASKS)
    masks = {"masks": {0: n, 1: h, 2: w}, "quality": {0: n}, "box": {}, "has_box": {}}
    return [
        Part("palette", Palette(), _tile, {"tile": {1: 4 * h, 2: 4 * w}}, ("guide", *palette)),
        Part("choose-mask", ChooseMask(settings), _masks, {**masks, **palette}, ("mask", "sure")),
    ]


def _tile(rows: int, columns: int) -> list[Tensor]:
    """Random colours of an image of so many cells at stride 32, the upper half white as an overexposed sky."""
    tile = torch.randint(0, 256, (3, 32 * rows, 32 * columns), dtype=torch.uint8)
    tile[:, : 16 * rows] = 255
    return [tile]


def _masks(rows: int, columns: int) -> list[Tensor]:
    masks = torch.randn(4, 8 * rows, 8 * columns)
    box = torch.tensor([8.0, 6.0, 24.0 * columns, 20.0 * rows])
    return [masks, torch.randn(4), box, torch.tensor(1.0), *Palette()(*_tile(rows, columns))[1:]]
