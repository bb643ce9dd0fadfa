"""Encode prompts as input maps of the head: distances, box coordinates, and similarity to the marked cells."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MAP_STRIDE = 8  # pixels of the network's input per cell
HEADS = 4  # unit vectors of the grouping embedding in each cell
NEAR = (8.0, 32.0, 96.0)  # pixels at which the trace of a positive point has fallen to 1/e
AWAY = (12.0, 48.0)  # the same for a negative point
SMALLEST_SIDE = 4.0  # pixels; thinner boxes count as this wide
MIDDLE = 0.25  # margin between a box and its middle, in sides of the box
RING = 0.25  # width of the ring outside a box, in sides of the box
N_SIMILARITIES = 4 * (HEADS + 1)  # to positive points, negative points, the box's middle and its ring
CORRECTED = 2  # channels of the mask that a prompt corrects: probability, and whether there is one
CHANNELS = len(NEAR) + len(AWAY) + 8 + N_SIMILARITIES + CORRECTED
_FLAG = len(NEAR) + len(AWAY) + 6  # whether there is a positive point
_SIMILARITY = len(NEAR) + len(AWAY) + 8
# Channels that a single positive point sets: traces, flag, similarity by grouping and by pixels.
POINT_CHANNELS = [*range(len(NEAR)), _FLAG, *range(_SIMILARITY, _SIMILARITY + HEADS), _SIMILARITY + 4 * HEADS]


class Prompts(NamedTuple):
    """N prompts for each of B images, in pixels of the network's input.

    Points [B, N, K, 2] are (x, y), `signs` [B, N, K] 1 on the object, -1 off it, 0 padding; boxes [B, N, 4] x0, y0, x1,
    y1.
    """

    points: Tensor
    signs: Tensor
    boxes: Tensor
    has_box: Tensor


def clicks(points: Tensor) -> Prompts:
    """Prompts of single positive points [B, N, 2] in B images."""
    no_box = points.new_zeros(*points.shape[:2], 4)
    return Prompts(points[:, :, None], torch.ones_like(points[..., :1]), no_box, no_box[..., 0])


def correction_maps(masks: Tensor) -> Tensor:
    """Encode masks that prompts correct, logits [B, N, 2h, 2w], as maps [B, N, CORRECTED, h, w] in 0..1."""
    probability = F.avg_pool2d(masks.float().sigmoid(), 2)
    return torch.stack([probability, torch.ones_like(probability)], 2)


def prompt_maps(prompts: Prompts, grouping: Tensor, pixels: Tensor, correction: Tensor | None = None) -> Tensor:
    """Encode N prompts for each of B images as maps [B, N, CHANNELS, h, w] in -2..2.

    In each cell `grouping` [B, HEADS * D, h, w] holds unit vectors of D, and `pixels` [B, E, h, w] one.
    """
    x, y = _centres(grouping)  # [w], [h]
    near = _traces(prompts, 1.0, NEAR, x, y)
    away = _traces(prompts, -1.0, AWAY, x, y)
    inside, sides = _box_maps(prompts, x, y)
    signed = ((prompts.signs == sign).any(2).float() for sign in (1, -1))
    flags = torch.stack([prompts.has_box, *signed], 2)  # has a box, a positive point, a negative point
    present = flags[..., None, None].expand(-1, -1, -1, *grouping.shape[-2:])
    similarity = _similarity(prompts, grouping, pixels, x, y)
    if correction is None:
        correction = torch.zeros_like(near[:, :, :CORRECTED])
    return torch.cat([near, away, inside, sides, present, similarity, correction], 2)


def point_maps(prompts: Prompts, grouping: Tensor, pixels: Tensor) -> Tensor:
    """The POINT_CHANNELS of `prompt_maps` for prompts of one positive point: [B, N, C, h, w]."""
    height, width = grouping.shape[-2:]
    near = _traces(prompts, 1.0, NEAR, *_centres(grouping))
    similarity = []
    for maps, heads in ((grouping, HEADS), (pixels, 1)):
        batch, channels = maps.shape[:2]
        cells = maps.reshape(batch * heads, channels // heads, height * width)
        cosines = _at_points(prompts, cells, height, width, heads)  # [B * heads, N, 1, h * w]
        similarity.append(cosines.view(batch, heads, -1, height, width).transpose(1, 2))
    return torch.cat([near, torch.ones_like(near[:, :, :1]), *similarity], 2)


def _centres(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel coordinates x [w] and y [h] of the cells' centres."""
    height, width = maps.shape[-2:]
    steps = torch.arange(max(height, width), device=maps.device, dtype=torch.float32) * MAP_STRIDE + MAP_STRIDE / 2
    return steps[:width], steps[:height]


def _traces(prompts: Prompts, sign: float, scales: tuple[float, ...], x: Tensor, y: Tensor) -> Tensor:
    """exp(-distance / scale) to the nearest point of one sign: [B, N, scales, h, w], 0 without one."""
    has_sign = prompts.signs == sign
    x_square = (x - prompts.points[..., 0, None]).square()  # [B, N, K, w]
    y_square = (y - prompts.points[..., 1, None]).square()  # [B, N, K, h]
    square = x_square[..., None, :] + y_square[..., None]  # [B, N, K, h, w]
    square = square.masked_fill(~has_sign[..., None, None], torch.inf)
    distance = square.amin(2).sqrt()
    return torch.stack([torch.exp(-distance / scale) for scale in scales], 2)


def _box_maps(prompts: Prompts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a cell is inside [B, N, 1, h, w], and its distance to each side [B, N, 4, h, w] in sides of the box."""
    left, top, right, bottom = prompts.boxes[..., None].unbind(2)  # [B, N, 1]
    width, height = (right - left).clamp_min(SMALLEST_SIDE), (bottom - top).clamp_min(SMALLEST_SIDE)
    across = torch.stack([(x - left) / width, (right - x) / width], 2)[:, :, :, None].expand(-1, -1, -1, y.shape[0], -1)
    down = torch.stack([(y - top) / height, (bottom - y) / height], 2)[..., None].expand(-1, -1, -1, -1, x.shape[0])
    sides = torch.cat([across, down], 2).clamp(-1, 2) * prompts.has_box[..., None, None, None]
    return (sides.amin(2, keepdim=True) > 0).to(sides.dtype), sides


def _similarity(prompts: Prompts, grouping: Tensor, pixels: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Cosines [B, N, N_SIMILARITIES, h, w] with the vectors at points, in the box's middle and around the box."""
    has_sign = [(prompts.signs == sign) for sign in (1, -1)]
    areas = _box_weights(prompts, x, y)
    similarities = []
    for maps, heads in ((grouping, HEADS), (pixels, 1)):
        batch, channels, height, width = maps.shape
        n = prompts.signs.shape[1]
        # Heads join the batch: [B * heads, D, h * w].
        cells = maps.reshape(batch * heads, channels // heads, height * width)
        at_points = _at_points(prompts, cells, height, width, heads)
        cosines = [_nearest(at_points, mask.repeat_interleave(heads, 0)[..., None]) for mask in has_sign]
        for weights in areas:
            by_head = weights.flatten(2)[:, None].expand(-1, heads, -1, -1)
            by_head = by_head.reshape(batch * heads, n, height * width).to(cells.dtype)
            cosines.append(F.normalize(by_head @ cells.mT, dim=2) @ cells)
        similarities += [part.view(batch, heads, n, height, width).transpose(1, 2) for part in cosines]
    return torch.cat(similarities, 2)


def _at_points(prompts: Prompts, cells: Tensor, height: int, width: int, heads: int) -> Tensor:
    """Cosine of every cell with the cell under each point: [B * heads, N, K, h * w]."""
    column = (prompts.points[..., 0] / MAP_STRIDE).long().clamp(0, width - 1)
    row = (prompts.points[..., 1] / MAP_STRIDE).long().clamp(0, height - 1)
    index = (row * width + column).flatten(1).repeat_interleave(heads, 0)  # [B * heads, N * K]
    vectors = cells.gather(2, index[:, None].expand(-1, cells.shape[1], -1))  # [B * heads, D, N * K]
    return (vectors.mT @ cells).view(cells.shape[0], *prompts.signs.shape[1:], height * width)


def _nearest(cosines: Tensor, valid: Tensor) -> Tensor:
    """The largest cosine over the valid points, 0 without one: [B, N, K, h * w] -> [B, N, h * w]."""
    best = cosines.masked_fill(~valid, -1).amax(2)
    return best * valid.any(2)


def _box_weights(prompts: Prompts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Masks [B, N, h, w] of the cells in the middle of a box and in the ring around it; zeros without a box."""
    low, high = prompts.boxes[..., :2], prompts.boxes[..., 2:]
    side = (high - low).clamp_min(2 * MAP_STRIDE)  # so that small boxes have a cell
    centre = (low + high) / 2
    has_box = prompts.has_box[..., None, None]

    def within(share: float) -> Tensor:
        reach = side * share
        columns = ((x - centre[..., :1]).abs() <= reach[..., :1]).float()
        rows = ((y - centre[..., 1:]).abs() <= reach[..., 1:]).float()
        return rows[..., None] * columns[..., None, :] * has_box

    return within(0.5 - MIDDLE), (within(0.5 + RING) - within(0.5)).clamp_min(0)
