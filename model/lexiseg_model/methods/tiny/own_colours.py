"""An object's own colours: where the head is sure of it they say what else is of it (GrabCut's idea, Rother 2004).

The head's logits know objects in general and little of this one. So for each mask a histogram of colours is filled by
what it holds, and one by what it leaves out; the logarithm of their ratio is added to the logits, and what comes of it
is smoothed along the picture's edges. Counts are whole numbers: their sum depends neither on order nor on company.
Figures: docs/training.md.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.masks.pamr import PamrSettings, refine
from lexiseg_model.methods.tiny.boxes.rule import within
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.settings import OwnColours

BINS = 12  # of a histogram, along each axis of colour
WIDTH = 5.0  # standard deviations of the picture's colours from the first bin to the last
COUNT = 256  # of a cell that a mask holds for certain
CERTAIN = 8.0  # logits beyond which a mask says no more
MOST = 3.0  # of the logarithm of a ratio
FLOOR = 0.2 / BINS**3  # share of a histogram that a colour has that was not seen
AT_ONCE = 32  # masks, whose histograms then fit a core's cache
SMOOTHING = PamrSettings(iterations=2, dilations=(1, 2))
# Lightness, red against blue, green against both: axes along which a picture's colours are spread evenly enough.
AXES = ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.0, -0.5), (-0.25, 0.5, -0.25))


class Palette(NamedTuple):
    """Of one picture in h x w cells: normalised colours `cells` [3, h, w], and the bin of each, `bins` [h * w]."""

    cells: Tensor
    bins: Tensor


def palette(guide: Tensor, size: tuple[int, int]) -> Palette:
    """Of normalised colours [3, H, W], for masks of (h, w) cells."""
    cells = F.interpolate(guide[None].float(), size=size, mode="area")[0]
    axes = torch.tensor(AXES, device=guide.device) @ cells.flatten(1)  # [3, h * w]
    spread = axes.std(dim=1, keepdim=True, correction=0) + 0.01
    places = ((axes - axes.mean(dim=1, keepdim=True)) / (WIDTH * spread) + 0.5) * BINS
    lightness, warmth, green = places.long().clamp(0, BINS - 1)
    return Palette(cells, ((lightness * BINS + warmth) * BINS + green).int())


def by_own_colours(masks: Tensor, boxes: Tensor, has_box: Tensor, palette: Palette, rule: OwnColours) -> Tensor:
    """Masks that know their object's colours.

    Args:
        masks: logits [N, h, w] at stride 4 of the network's input.
        boxes: [N, 4] x0, y0, x1, y1 in pixels of that input, outside of which no cell is the object's,
        has_box: [N] bool, where there is one. Elsewhere a mask has its colours around itself.
        palette: of the picture, in h x w cells.
        rule: how much colours weigh.

    Returns:
        Logits [N, h, w] between -`rule.bound` and `rule.bound`.
    """
    if len(masks) <= AT_ONCE:
        return _of_some(masks, boxes, has_box, palette, rule)
    parts = zip(*(torch.split(part, AT_ONCE) for part in (masks, boxes, has_box)), strict=True)
    return torch.cat([_of_some(some, of_some, given, palette, rule) for some, of_some, given in parts])


def _of_some(masks: Tensor, boxes: Tensor, has_box: Tensor, palette: Palette, rule: OwnColours) -> Tensor:
    size = masks.shape[1], masks.shape[2]
    around = within(torch.where(has_box[:, None], boxes, outer_boxes(masks)), size, rule.ring)
    masks = masks.clamp(-CERTAIN, CERTAIN)
    held = (masks.sigmoid() * COUNT).round().int()
    if has_box.any():
        held *= within(boxes, size) | ~has_box[:, None, None]
    ratio = log_ratio(held * around, (COUNT - held) * around, palette.bins)
    seen = torch.addcmul(masks, ratio, around, value=rule.weight).clamp_(-rule.bound, rule.bound)
    return refine(seen, palette.cells, SMOOTHING)


def outer_boxes(masks: Tensor) -> Tensor:
    """[N, 4] x0, y0, x1, y1 around what masks [N, h, w] hold, all where that is nothing; in pixels of the input."""
    sides = []
    cells = masks > 0
    for axis in (1, 2):
        held = cells.any(axis).int()  # [N, w], then [N, h]
        sides.append((held.argmax(1), held.shape[1] - held.flip(1).argmax(1)))
    (left, right), (top, bottom) = sides
    return STRIDE * torch.stack([left, top, right, bottom], 1).float()


def log_ratio(held: Tensor, left: Tensor, bins: Tensor) -> Tensor:
    """[N, h, w] how much likelier each cell's colour is in what masks hold than in what they leave out.

    Args:
        held, left: counts [N, h, w] of each cell, integers.
        bins: [h * w] of each cell's colour.
    """
    n = len(held)
    places = bins.long()
    # Whole numbers, far fewer than float64 tells apart.
    counts = torch.cat([held, left]).flatten(1).double()
    histograms = torch.stack([torch.bincount(places, of_mask, BINS**3) for of_mask in counts])  # [2 * N, bins]
    share = histograms.float() / histograms.sum(dim=1, keepdim=True).clamp_min(1).float()
    share = _blurred(share.view(-1, BINS, BINS, BINS)).view(-1, BINS**3) + FLOOR
    ratio = (share[:n] / share[n:]).log_().clamp_(-MOST, MOST)
    return ratio.index_select(1, bins).view(held.shape)


def _blurred(histograms: Tensor) -> Tensor:
    """[N, BINS, BINS, BINS]: a quarter of each bin goes to either neighbour, along each axis; none leaves."""
    for axis in (1, 2, 3):
        low, high = histograms.narrow(axis, 0, 1), histograms.narrow(axis, BINS - 1, 1)
        padded = torch.cat([low, histograms, high], axis)
        neighbours = padded.narrow(axis, 0, BINS) + padded.narrow(axis, 2, BINS)
        histograms = 0.5 * histograms + 0.25 * neighbours
    return histograms
