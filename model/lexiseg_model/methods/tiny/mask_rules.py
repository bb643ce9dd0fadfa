"""Order the masks of a click, and refine masks of the prompt head by the object's colours and by its box.

Order: the head estimates a mask's quality with errors of 0.1 and more. Of masks of equal estimate the better ones
hardly change their area with the threshold.

Colours (idea of GrabCut, Rother et al. 2004): the logits fill colour histograms inside and outside a mask. The log
ratio is added to the logits, which are then smoothed along the image's edges. Counts are integers, so a mask does not
depend on the other masks in a call.

Box: the head was trained with boxes that are off by a few percent. For an exact box, logits inside are raised and cells
outside are cut off. docs/tiny-ablation.md has the gain of each rule.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.masks.pamr import PamrSettings, refine
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.settings import BoxRule, ClickOrder, OwnColours
from lexiseg_model.resources.device import widest_float

AROUND = 1.0  # threshold offset of SAM's stability score, in logits
EVERY = 2  # areas count every second cell of every second row: a quarter of the time, the same quality
EDGE_SLOPE = 8.0  # logits per cell at the edge of a box; steeper than the edges of masks
MIN_QUALITY = 1e-3  # keeps its logarithm finite
BINS = 12  # of a histogram, along each colour axis
WIDTH = 5.0  # standard deviations of the image's colours from the first bin to the last
COUNT = 256  # histogram count of a cell with probability 1
MAX_LOGIT = 8.0  # the head's logits are clipped to it
MAX_LOG_RATIO = 3.0
MIN_SHARE = 0.2 / BINS**3  # added to each bin's share
SMOOTHING = PamrSettings(iterations=2, dilations=(1, 2))
# Lightness, red minus blue, green minus both: colours spread evenly enough along these axes.
AXES = ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.0, -0.5), (-0.25, 0.5, -0.25))


def worth(masks: Tensor, quality: Tensor, rule: ClickOrder) -> Tensor:
    """Worth [N, M] of masks, the highest for the best, from logits [N, M, h, w] and quality [N, M] in 0..1."""
    sampled = masks[..., ::EVERY, ::EVERY]
    inner, outer = ((sampled > threshold).float().sum((2, 3)) for threshold in (AROUND, -AROUND))
    return quality.float() + rule.stability * inner / outer.clamp_min(1.0)


class Palette(NamedTuple):
    """Colours of an image in h x w cells: normalised `cells` [3, h, w], and the histogram `bins` [h * w] of each."""

    cells: Tensor
    bins: Tensor


def palette(guide: Tensor, size: tuple[int, int]) -> Palette:
    """The palette of normalised colours [3, H, W] at the (h, w) cells of masks."""
    cells = F.interpolate(guide[None].float(), size=size, mode="area")[0]
    return Palette(cells, colour_bins(cells).int())


def colour_bins(cells: Tensor) -> Tensor:
    """The histogram bin [h * w] of each normalised colour [3, h, w]."""
    axes = cells.new_tensor(AXES) @ cells.flatten(1)  # [3, h * w]
    spread = axes.std(dim=1, keepdim=True, correction=0) + 0.01
    bins = ((axes - axes.mean(dim=1, keepdim=True)) / (WIDTH * spread) + 0.5) * BINS
    lightness, warmth, green = bins.long().clamp(0, BINS - 1)
    bin_of: Tensor = (lightness * BINS + warmth) * BINS + green
    return bin_of


def by_own_colours(masks: Tensor, boxes: Tensor, has_box: Tensor, palette: Palette, rule: OwnColours) -> Tensor:
    """Refine masks, logits [N, h, w], by the colours of their objects; the results lie within `rule.bound`.

    Cells outside of `boxes`, [N, 4] or [1, 4] of x0, y0, x1, y1 in pixels of the network's input, never count as the
    object's. Where `has_box`, [N] or [1], is false, the histograms cover the surroundings of the mask.
    """
    counts, around = count_cells(masks, boxes, has_box, rule)
    # Integers of this size sum exactly.
    rows = counts.flatten(1).to(widest_float(counts.device))
    histograms = torch.stack([torch.bincount(palette.bins.long(), row, BINS**3) for row in rows])
    return refine(weigh_colours(masks, histograms, palette.bins, around, rule), palette.cells, SMOOTHING)


def count_cells(masks: Tensor, boxes: Tensor, has_box: Tensor, rule: OwnColours) -> tuple[Tensor, Tensor]:
    """Counts [2 * N, h, w] of cells for histograms, inside and then outside, and where they are taken [N, h, w] bool.

    Around the box or the mask; arguments as in `by_own_colours`.
    """
    size = masks.shape[1], masks.shape[2]
    around = within(torch.where(has_box[:, None], boxes, outer_boxes(masks)), size, rule.ring)
    inside = (masks.clamp(-MAX_LOGIT, MAX_LOGIT).sigmoid() * COUNT).round().int()
    inside = inside * (within(boxes, size) | ~has_box[:, None, None])
    return torch.cat([inside * around, (COUNT - inside) * around]), around


def weigh_colours(masks: Tensor, histograms: Tensor, bins: Tensor, around: Tensor, rule: OwnColours) -> Tensor:
    """Add the log ratio of each cell's colour to masks [N, h, w] `around` them, by histograms [2 * N, BINS ** 3]."""
    ratio = log_ratio(histograms, bins).view(masks.shape)
    weighted = torch.addcmul(masks.clamp(-MAX_LOGIT, MAX_LOGIT), ratio, around, value=rule.weight)
    return weighted.clamp_(-rule.bound, rule.bound)


def outer_boxes(masks: Tensor) -> Tensor:
    """Bounding boxes [N, 4] x0, y0, x1, y1 of masks [N, h, w] in pixels of the input; the whole image if empty."""
    sides = []
    cells = masks > 0
    for axis in (1, 2):
        occupied = cells.any(axis).int()  # [N, w], then [N, h]
        sides.append((occupied.argmax(1), occupied.shape[1] - occupied.flip(1).argmax(1)))
    (left, right), (top, bottom) = sides
    return STRIDE * torch.stack([left, top, right, bottom], 1).float()


def log_ratio(histograms: Tensor, bins: Tensor) -> Tensor:
    """Log ratio [N, h * w] of the shares of each cell's colour `bins` [h * w] inside and outside a mask."""
    n = len(histograms) // 2
    share = histograms.float() / histograms.sum(dim=1, keepdim=True).clamp_min(1).float()
    share = _blur(share.view(-1, BINS, BINS, BINS)).view(-1, BINS**3) + MIN_SHARE
    ratio = (share[:n] / share[n:]).log_().clamp_(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return ratio.index_select(1, bins)


def _blur(histograms: Tensor) -> Tensor:
    """Blur [N, BINS, BINS, BINS] by (1/4, 1/2, 1/4) along each axis, with replicated borders."""
    for axis in (1, 2, 3):
        low, high = histograms.narrow(axis, 0, 1), histograms.narrow(axis, BINS - 1, 1)
        padded = torch.cat([low, histograms, high], axis)
        neighbours = padded.narrow(axis, 0, BINS) + padded.narrow(axis, 2, BINS)
        histograms = 0.5 * histograms + 0.25 * neighbours
    return histograms


def clip_to_box(masks: Tensor, quality: Tensor, box: Tensor, rule: BoxRule) -> Tensor:
    """Cut masks, logits [M, h, w], at their box [4] in pixels of the network's input, and raise their logits inside.

    A cell raises the expected IoU, `quality` [M], if its probability exceeds IoU / (1 + IoU), whose logit is ln(IoU).
    So masks of lower expected quality get more cells.
    """
    low, high = box[:2], box[2:]
    slack = rule.slack * (high - low)
    (left, top), (right, bottom) = (low - slack) / STRIDE, (high + slack) / STRIDE
    y, x = (torch.arange(side, device=masks.device) + 0.5 for side in masks.shape[1:])
    x_distance = torch.minimum(x - left, right - x)
    y_distance = torch.minimum(y - top, bottom - y)
    cells = ((high - low) / STRIDE).prod().clamp_min(1.0)
    more = rule.small / cells - rule.low_quality * quality.clamp_min(MIN_QUALITY).log()
    # A ramp, not a step: after upsampling its zero lies on the edge of the box, within a cell.
    return torch.minimum(masks + more[:, None, None], EDGE_SLOPE * torch.minimum(x_distance, y_distance[:, None]))


def box_holds(points: Tensor, signs: Tensor, box: Tensor, has_box: Tensor) -> Tensor:
    """Whether [] the box [4], if `has_box` [] is 1, holds all positive ones of points [K, 2] with `signs` [K]."""
    inside = ((points >= box[:2]) & (points <= box[2:])).all(1)
    return (inside | (signs <= 0)).all() | (has_box <= 0)


def within(boxes: Tensor, size: tuple[int, int], beyond: float = 0.0) -> Tensor:
    """Which cells of stride 4 have their centres in boxes [N, 4] in pixels of the network's input: [N, h, w] bool.

    A box is enlarged on each side by the share `beyond` of its side, at least one cell unless that is 0.
    """
    low, high = boxes[:, :2] / STRIDE, boxes[:, 2:] / STRIDE
    margin = (beyond * (high - low)).clamp_min(1.0 if beyond else 0.0)
    (left, top), (right, bottom) = (side[:, :, None].unbind(1) for side in (low - margin, high + margin))  # [N, 1]
    y, x = (torch.arange(side, device=boxes.device) + 0.5 for side in size)
    columns, rows = (x > left) & (x < right), (y > top) & (y < bottom)
    return rows[:, :, None] & columns[:, None]
