"""What a prompt looks like to the network: distances, box coordinates, and how alike each cell is to what was marked.

All of it is arithmetic without parameters, at one cell per MAP_STRIDE pixels of the network's input.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MAP_STRIDE = 8  # pixels of the network's input per cell
HEADS = 4  # unit vectors of the grouping embedding in each cell
NEAR = (8.0, 32.0, 96.0)  # pixels at which the trace of a positive point has fallen to 1/e
AWAY = (12.0, 48.0)  # the same of a negative point
SMALLEST_SIDE = 4.0  # pixels; thinner boxes count as this wide
MIDDLE = 0.25  # of a box's side is left out on either side of its middle
RING = 0.25  # of a box's side is looked at on the outside
N_SIMILARITIES = 4 * (HEADS + 1)  # to positive points, negative points, the box's middle and its ring
CHANNELS = len(NEAR) + len(AWAY) + 8 + N_SIMILARITIES
_FLAG = len(NEAR) + len(AWAY) + 6  # whether there is a positive point
_LIKENESS = len(NEAR) + len(AWAY) + 8
# The channels in which a lone positive point says something: traces, flag, likeness by grouping and by pixels.
LONE = [*range(len(NEAR)), _FLAG, *range(_LIKENESS, _LIKENESS + HEADS), _LIKENESS + 4 * HEADS]


class Prompts(NamedTuple):
    """N prompts for each of B images, in pixels of the network's input.

    `points` [B, N, K, 2] are (x, y); `signs` [B, N, K] say 1 on the object, -1 not on it, 0 no point. `boxes`
    [B, N, 4] are (x0, y0, x1, y1), where `has_box` [B, N] is 1.
    """

    points: Tensor
    signs: Tensor
    boxes: Tensor
    has_box: Tensor


def prompt_maps(prompts: Prompts, grouping: Tensor, pixels: Tensor) -> Tensor:
    """Everything that a prompt says about each cell.

    Args:
        prompts: N for each of B images.
        grouping: [B, HEADS * D, h, w], unit vectors of D in each cell.
        pixels: [B, E, h, w], one unit vector in each cell.

    Returns:
        [B, N, CHANNELS, h, w] in -2..2.
    """
    x, y = _centres(grouping)  # [w], [h]
    near = _traces(prompts, 1.0, NEAR, x, y)
    away = _traces(prompts, -1.0, AWAY, x, y)
    inside, sides = _box_maps(prompts, x, y)
    present = _flags(prompts)[..., None, None].expand(-1, -1, -1, *grouping.shape[-2:])
    likeness = _likeness(prompts, grouping, pixels, x, y)
    return torch.cat([near, away, inside, sides, present, likeness], 2)


def lone_maps(prompts: Prompts, grouping: Tensor, pixels: Tensor) -> Tensor:
    """[B, N, len(LONE), h, w]: the channels LONE of `prompt_maps`, where each prompt is one positive point."""
    height, width = grouping.shape[-2:]
    near = _traces(prompts, 1.0, NEAR, *_centres(grouping))
    likeness = []
    for maps, heads in ((grouping, HEADS), (pixels, 1)):
        batch, channels = maps.shape[:2]
        cells = maps.reshape(batch * heads, channels // heads, height * width)
        cosines = _at_points(prompts, cells, height, width, heads)  # [B * heads, N, 1, h * w]
        likeness.append(cosines.view(batch, heads, -1, height, width).transpose(1, 2))
    return torch.cat([near, torch.ones_like(near[:, :, :1]), *likeness], 2)


def _centres(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels across [w] and down [h] of the cells' centres."""
    height, width = maps.shape[-2:]
    steps = torch.arange(max(height, width), device=maps.device, dtype=torch.float32) * MAP_STRIDE + MAP_STRIDE / 2
    return steps[:width], steps[:height]


def _traces(prompts: Prompts, sign: float, scales: tuple[float, ...], x: Tensor, y: Tensor) -> Tensor:
    """exp(-distance / scale) to the nearest point of one sign: [B, N, scales, h, w], 0 without one."""
    counts = prompts.signs == sign
    across = (x - prompts.points[..., 0, None]).square()  # [B, N, K, w]
    down = (y - prompts.points[..., 1, None]).square()  # [B, N, K, h]
    square = across[..., None, :] + down[..., None]  # [B, N, K, h, w]
    square = square.masked_fill(~counts[..., None, None], torch.inf)
    distance = square.amin(2).sqrt()
    return torch.stack([torch.exp(-distance / scale) for scale in scales], 2)


def _box_maps(prompts: Prompts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """[B, N, 1, h, w] whether a cell is inside, and [B, N, 4, h, w] how far from each side, in sides of the box."""
    left, top, right, bottom = prompts.boxes[..., None].unbind(2)  # [B, N, 1]
    width, height = (right - left).clamp_min(SMALLEST_SIDE), (bottom - top).clamp_min(SMALLEST_SIDE)
    across = torch.stack([(x - left) / width, (right - x) / width], 2)[:, :, :, None].expand(-1, -1, -1, y.shape[0], -1)
    down = torch.stack([(y - top) / height, (bottom - y) / height], 2)[..., None].expand(-1, -1, -1, -1, x.shape[0])
    sides = torch.cat([across, down], 2).clamp(-1, 2) * prompts.has_box[..., None, None, None]
    return (sides.amin(2, keepdim=True) > 0).to(sides.dtype), sides


def _flags(prompts: Prompts) -> Tensor:
    """[B, N, 3]: whether there is a box, a positive point, a negative point."""
    positive, negative = ((prompts.signs == sign).any(2).float() for sign in (1, -1))
    return torch.stack([prompts.has_box, positive, negative], 2)


def _likeness(prompts: Prompts, grouping: Tensor, pixels: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """[B, N, N_SIMILARITIES, h, w]: cosines with the vectors at points, in the box's middle and around the box."""
    marks = [(prompts.signs == sign) for sign in (1, -1)]
    areas = _box_weights(prompts, x, y)
    shaped = []
    for maps, heads in ((grouping, HEADS), (pixels, 1)):
        batch, channels, height, width = maps.shape
        n = prompts.signs.shape[1]
        # Heads are images of their own: [B * heads, D, h * w].
        cells = maps.reshape(batch * heads, channels // heads, height * width)
        at_points = _at_points(prompts, cells, height, width, heads)
        answers = [_nearest(at_points, mark.repeat_interleave(heads, 0)[..., None]) for mark in marks]
        for weights in areas:
            of_heads = weights.flatten(2)[:, None].expand(-1, heads, -1, -1)
            spread = of_heads.reshape(batch * heads, n, height * width).to(cells.dtype)
            answers.append(F.normalize(spread @ cells.mT, dim=2) @ cells)
        shaped += [answer.view(batch, heads, n, height, width).transpose(1, 2) for answer in answers]
    return torch.cat(shaped, 2)


def _at_points(prompts: Prompts, cells: Tensor, height: int, width: int, heads: int) -> Tensor:
    """Cosine of every cell with the cell under each point: [B * heads, N, K, h * w]."""
    column = (prompts.points[..., 0] / MAP_STRIDE).long().clamp(0, width - 1)
    row = (prompts.points[..., 1] / MAP_STRIDE).long().clamp(0, height - 1)
    index = (row * width + column).flatten(1).repeat_interleave(heads, 0)  # [B * heads, N * K]
    vectors = cells.gather(2, index[:, None].expand(-1, cells.shape[1], -1))  # [B * heads, D, N * K]
    return (vectors.mT @ cells).view(cells.shape[0], *prompts.signs.shape[1:], height * width)


def _nearest(cosines: Tensor, counts: Tensor) -> Tensor:
    """The largest over the points that count, 0 where none does: [B, N, K, h * w] -> [B, N, h * w]."""
    best = cosines.masked_fill(~counts, -1).amax(2)
    return best * counts.any(2)


def _box_weights(prompts: Prompts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """[B, N, h, w] of the cells in the middle of a box and of those just outside; zeros without one."""
    low, high = prompts.boxes[..., :2], prompts.boxes[..., 2:]
    side = (high - low).clamp_min(2 * MAP_STRIDE)
    middle_of = (low + high) / 2
    has_box = prompts.has_box[..., None, None]

    def within(share: float) -> Tensor:
        reach = side * share  # a box of at least a cell, whatever its size
        across = ((x - middle_of[..., :1]).abs() <= reach[..., :1]).float()
        down = ((y - middle_of[..., 1:]).abs() <= reach[..., 1:]).float()
        return down[..., None] * across[..., None, :] * has_box

    return within(0.5 - MIDDLE), (within(0.5 + RING) - within(0.5)).clamp_min(0)
