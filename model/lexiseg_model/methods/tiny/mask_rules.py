"""Rules that improve the masks of the prompt head: the object's own colours, and the box around it.

Colours (the idea of GrabCut, Rother et al. 2004): the logits fill a histogram of the colours inside a mask and one of
those outside. The logarithm of their ratio is added to the logits, which are then smoothed along the image's edges.
Counts are integers, so a mask does not depend on the order or number of masks in a call.

Box: the head was trained with boxes that are off by a few percent. For a box that is meant exactly, cells inside get a
higher logit, and cells outside are cut off. docs/tiny-ablation.md has the gain of each rule.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.masks.pamr import PamrSettings, refine
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.settings import BoxRule, OwnColours

EDGE_SLOPE = 8.0  # logits per cell at the edge of a box; steeper than the edges of masks
MIN_QUALITY = 1e-3  # keeps its logarithm finite
BINS = 12  # of a histogram, along each axis of colour
WIDTH = 5.0  # standard deviations of the picture's colours from the first bin to the last
COUNT = 256  # that a cell adds to a histogram if it is surely inside
MAX_LOGIT = 8.0  # of the head; higher ones are clipped
MAX_LOG_RATIO = 3.0
MIN_SHARE = 0.2 / BINS**3  # of a histogram, for a colour without a cell
MAX_MASKS = 32  # in one pass; their histograms fit into the cache of a core
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
    """Improve masks by the colours of their objects.

    Args:
        masks: logits [N, h, w] at stride 4 of the network's input.
        boxes: [N, 4] x0, y0, x1, y1 in pixels of that input; no cell outside is the object's.
        has_box: [N] bool, whether a mask has a box; the histograms of others are filled around the mask itself.
        palette: of the picture, in h x w cells.
        rule: how much colours weigh.

    Returns:
        Logits [N, h, w] between -`rule.bound` and `rule.bound`.
    """
    if len(masks) <= MAX_MASKS:
        return _of_some(masks, boxes, has_box, palette, rule)
    parts = zip(*(torch.split(part, MAX_MASKS) for part in (masks, boxes, has_box)), strict=True)
    return torch.cat([_of_some(some, of_some, given, palette, rule) for some, of_some, given in parts])


def _of_some(masks: Tensor, boxes: Tensor, has_box: Tensor, palette: Palette, rule: OwnColours) -> Tensor:
    size = masks.shape[1], masks.shape[2]
    around = within(torch.where(has_box[:, None], boxes, outer_boxes(masks)), size, rule.ring)
    masks = masks.clamp(-MAX_LOGIT, MAX_LOGIT)
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
    """[N, h, w]: logarithm of the ratio of each colour's shares inside and outside of a mask.

    Args:
        held, left: integer counts [N, h, w] of each cell inside and outside.
        bins: [h * w] of each cell's colour.
    """
    n = len(held)
    places = bins.long()
    # Whole numbers, far fewer than float64 tells apart.
    counts = torch.cat([held, left]).flatten(1).double()
    histograms = torch.stack([torch.bincount(places, of_mask, BINS**3) for of_mask in counts])  # [2 * N, bins]
    share = histograms.float() / histograms.sum(dim=1, keepdim=True).clamp_min(1).float()
    share = _blurred(share.view(-1, BINS, BINS, BINS)).view(-1, BINS**3) + MIN_SHARE
    ratio = (share[:n] / share[n:]).log_().clamp_(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return ratio.index_select(1, bins).view(held.shape)


def _blurred(histograms: Tensor) -> Tensor:
    """[N, BINS, BINS, BINS]: a quarter of each bin goes to either neighbour, along each axis; none leaves."""
    for axis in (1, 2, 3):
        low, high = histograms.narrow(axis, 0, 1), histograms.narrow(axis, BINS - 1, 1)
        padded = torch.cat([low, histograms, high], axis)
        neighbours = padded.narrow(axis, 0, BINS) + padded.narrow(axis, 2, BINS)
        histograms = 0.5 * histograms + 0.25 * neighbours
    return histograms


def kept_inside(masks: Tensor, quality: Tensor, box: Tensor, rule: BoxRule) -> Tensor:
    """Cut masks at their box and raise their logits inside.

    A cell raises the expected IoU if its probability is above IoU / (1 + IoU), whose logit is ln(IoU). So the lower the
    expected quality of a mask, the more cells it takes.

    Args:
        masks: logits [M, h, w] at stride 4 of the network's input.
        quality: [M] in 0..1, the IoU that each is expected to have.
        box: [4] x0, y0, x1, y1 in pixels of that input.
        rule: what is added inside, and how far a mask may reach beyond the box.
    """
    low, high = box[:2], box[2:]
    slack = rule.slack * (high - low)
    (left, top), (right, bottom) = (low - slack) / STRIDE, (high + slack) / STRIDE
    y, x = (torch.arange(side, device=masks.device) + 0.5 for side in masks.shape[1:])
    across = torch.minimum(x - left, right - x)
    down = torch.minimum(y - top, bottom - y)
    cells = ((high - low) / STRIDE).prod().clamp_min(1.0)
    more = rule.more + rule.small / cells - rule.doubt * quality.clamp_min(MIN_QUALITY).log()
    # A ramp, not a step: at the size of the image its zero then lies on the edge of the box, within a cell.
    return torch.minimum(masks + more[:, None, None], EDGE_SLOPE * torch.minimum(across, down[:, None]))


def within(boxes: Tensor, size: tuple[int, int], beyond: float = 0.0) -> Tensor:
    """[N, h, w] bool: the cells of stride 4 whose centres lie in a box.

    Args:
        boxes: [N, 4] x0, y0, x1, y1 in pixels of the network's input.
        size: (h, w) cells.
        beyond: share of its sides by which a box is enlarged on each side; at least one cell unless 0.
    """
    low, high = boxes[:, :2] / STRIDE, boxes[:, 2:] / STRIDE
    reach = (beyond * (high - low)).clamp_min(1.0 if beyond else 0.0)
    (left, top), (right, bottom) = ((side[:, :, None]).unbind(1) for side in (low - reach, high + reach))  # [N, 1]
    y, x = (torch.arange(side, device=boxes.device) + 0.5 for side in size)
    across, down = (x > left) & (x < right), (y > top) & (y < bottom)
    return down[:, :, None] & across[:, None]
