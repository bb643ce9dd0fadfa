"""Remove what a negative point shows from a mask that a prompt corrects.

Masks are logits [h, w]; a cell is inside from 0 on. Points are cells [N, 2] (x, y), of `first_cells`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lexiseg_model.masks.parts import parts_around
from lexiseg_model.types import Point

DISC = 0.5  # of the way from a negative point to the outline, or to the nearest positive point
OUTSIDE = -1.0  # highest logit in a disc and next to a negative point
MAX_REMOVED = 0.35  # share of a mask; a negative point on a larger part removes a disc instead
CERTAIN = 6.0  # logit of a cell that is wholly inside a mask, and minus that of one outside; heads are trained so


def first_cells(points: Tensor, cells: tuple[int, int], size: Tensor) -> Tensor:
    """The first of the cells between which the pixel under a point is interpolated; the others are next to it.

    Points [N, 2] (x, y) in pixels of an image of `size` [2] (H, W), which has (h, w) `cells` -> cells [N, 2] (x, y).
    """
    sides, pixels = torch.stack([torch.ones_like(size[0]) * side for side in reversed(cells)]), size.flip(0)
    centre = points.floor().minimum(pixels - 1) + 0.5  # of the pixel under the point
    return (centre * sides / pixels - 0.5).clamp_min(0).minimum(sides - 1).floor()


def cells_of_points(points: Sequence[Point], mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Points of an image of `size` (H, W) as cells [N, 2] of its mask [h, w], on its device."""
    pixels = torch.tensor([(point.x, point.y) for point in points], dtype=torch.float32).view(-1, 2)
    return first_cells(pixels, (mask.shape[0], mask.shape[1]), torch.tensor(size).float()).to(mask.device)


def removed_object(mask: Tensor, shown: Tensor, point: Tensor, positives: Tensor) -> Tensor:
    """Logits [h, w] of what a negative point [2] removes from a mask, given the object that a click there selects.

    That is the part of the object, `shown` [h, w], that is inside of the mask and connected with the point. Where it is
    most of the mask, or holds one of the `positives` [P, 2], a disc around the point is removed instead.
    """
    inside, at_point = mask >= 0, _cells_at(point[None], mask)[0]
    both = inside & (shown >= 0)
    part = parts_around(both, at_point)
    area, whole = part.sum(), inside.sum()
    is_object = (area > 0) & (area <= MAX_REMOVED * whole) & ~(part & _cells_at(positives, mask).any(0)).any()
    disc = inside & (_distances(point[None], mask)[0] < _disc_radius(inside, point, positives))
    own = shown.masked_fill(both & ~part, -CERTAIN)
    removed = torch.where(is_object, own, torch.where(disc, CERTAIN, -CERTAIN))
    return torch.where(at_point, removed.clamp_min(-OUTSIDE), removed)


def without(mask: Tensor, removed: Tensor) -> Tensor:
    """Subtract what is `removed` from a mask; logits [h, w] both."""
    return torch.where(removed >= 0, mask.minimum(-removed), mask)


def _offsets(points: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets (y [N, h, 1], x [N, 1, w]) of the cells of a map [h, w] from points [N, 2]."""
    y, x = (torch.arange(side, device=cells.device) for side in cells.shape)
    return (y - points[:, 1, None])[:, :, None], (x - points[:, 0, None])[:, None]


def _cells_at(points: Tensor, cells: Tensor) -> Tensor:
    """The cells of a map [h, w] between which the pixels under points [N, 2] are interpolated: [N, h, w] bool."""
    y, x = _offsets(points, cells)
    return (y >= 0) & (y < 2) & (x >= 0) & (x < 2)


def _distances(points: Tensor, cells: Tensor) -> Tensor:
    """The distance of each cell of a map [h, w] from points [N, 2]: [N, h, w]."""
    y, x = _offsets(points, cells)
    return (y * y + x * x).sqrt()


def _nearest(distances: Tensor) -> Tensor:
    """The lowest of N distances [N, ...], infinity without one."""
    return torch.cat([torch.full_like(distances[:1].sum(0, keepdim=True), torch.inf), distances]).amin(0)


def _disc_radius(inside: Tensor, point: Tensor, positives: Tensor) -> Tensor:
    """Radius [] of the disc around a point: DISC of the way to a cell outside, the map's edge or a positive point."""
    to_outline = torch.where(inside, torch.inf, _distances(point[None], inside)[0]).flatten().amin(0)
    to_last = torch.stack([torch.ones_like(point[0]) * side for side in reversed(inside.shape)]) - point
    to_edge = torch.cat([point + 1, to_last]).amin(0)
    to_positive = _nearest((positives - point).norm(dim=1))
    return DISC * to_outline.minimum(to_edge).minimum(to_positive)
