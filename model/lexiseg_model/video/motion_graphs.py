"""ONNX graphs for the browser of what `MotionEstimator` computes with OpenCV.

Gray pictures -> Search, once a scale from coarse to fine -> shifts; the pictures and their shifts -> Compare; scores of
two frames and that motion -> Smooth.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from lexiseg_model.export.exportable import Part
from lexiseg_model.video import motion

MAX_SIDE = 4096  # pixels of a picture, cells of scores
MAX_CLASSES = 4096
FLAT = 1e-6  # a patch with a smaller determinant of gradients has no texture to descend by
STEPS = 4  # of a descent; OpenCV takes up to 16, which find hardly better shifts and are four times the graph
REACH = round(4 * motion.NOISE_BLUR)  # pixels, of OpenCV's Gaussian


class Search(nn.Module):
    """One scale of dense inverse search (Kroeger et al., ECCV 2016), without variational refinement.

    Gray pictures [h, w] and the shifts [h, w, 2] (x, y) to start from -> shifts [h, w, 2]: how far away each pixel of
    the first was in the second. Each patch is matched by gradient descent, from its start and from its neighbours'
    results; differences of mean brightness are ignored. A pixel gets the mean of its patches, weighted by their match.
    """

    def __init__(self, patch: int, stride: int) -> None:
        super().__init__()
        self.patch, self.stride = patch, stride

    def forward(self, now: Tensor, before: Tensor, start: Tensor) -> tuple[Tensor]:
        h, w = now.shape
        rows, columns = (self._offsets(side) for side in (h, w))
        y = (rows[:, None, None, None] + torch.arange(self.patch)[:, None]).expand(-1, columns.shape[0], -1, self.patch)
        x = (columns[None, :, None, None] + torch.arange(self.patch)).expand(rows.shape[0], -1, self.patch, -1)
        y, x = y.flatten(2), x.flatten(2)  # [R, C, n] pixels of each patch
        cells = y * w + x
        across, down = (slope.flatten()[cells] for slope in _slopes(now))
        descend = partial(self._descend, before, now.flatten()[cells], across, down, x, y)
        middle = self.patch // 2
        first = descend(start[rows + middle][:, columns + middle])
        shifts, errors = (torch.stack(part) for part in zip(first, *map(descend, _neighbours(first[0])), strict=True))
        best = errors.argmin(0)[None]
        shift = shifts.gather(0, best[..., None].expand(-1, -1, -1, 2))[0]
        moved = _at(before, x + shift[..., :1], y + shift[..., 1:])
        weight = 1 / (moved - now.flatten()[cells]).abs().clamp_min(1)
        parts = torch.stack([weight, *(weight * part[..., None] for part in shift.unbind(-1))])
        sums = parts.new_zeros(3, h * w).scatter_add(1, cells.flatten().expand(3, -1), parts.flatten(1))
        return ((sums[1:] / sums[:1]).T.view(h, w, 2),)

    def _offsets(self, side: int) -> Tensor:
        """First pixels of the patches along a side; the last patch ends with it."""
        count = (side - self.patch + self.stride - 1) // self.stride + 1
        return (torch.arange(count) * self.stride).clamp_max(side - self.patch)

    def _descend(
        self, before: Tensor, patches: Tensor, across: Tensor, down: Tensor, x: Tensor, y: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The best shift [R, C, 2] of Gauss-Newton steps and its squared error [R, C]."""
        across, down = (slope - slope.mean(-1, keepdim=True) for slope in (across, down))
        a, b, c = ((one * other).sum(-1) for one, other in ((across, across), (across, down), (down, down)))
        scale = a * c - b * b
        textured = scale.abs() >= FLAT
        best, least, active = shift, torch.full_like(scale, torch.inf), torch.ones_like(textured)
        for _ in range(STEPS + 1):
            difference = _at(before, x + shift[..., :1], y + shift[..., 1:]) - patches
            difference = difference - difference.mean(-1, keepdim=True)
            error = difference.square().sum(-1)
            active = active & (error < least)
            best, least = torch.where(active[..., None], shift, best), torch.where(active, error, least)
            right, below = (difference * across).sum(-1), (difference * down).sum(-1)
            change = torch.stack([c * right - b * below, a * below - b * right], -1)
            active = active & textured
            shift = shift - change / torch.where(textured, scale, 1.0)[..., None]
        return best, least


class Compare(nn.Module):
    """Small pictures, gray [h, w] and RGB uint8 [h, w, 3], and shifts [h, w, 2] -> `motion.Motion`.

    Returns x and y [h, w] in the earlier picture of what is now at each pixel, the trust [h, w] in that, and 1 in `cut`
    [] if the two show different scenes.
    """

    def __init__(self) -> None:
        super().__init__()
        weights = torch.exp(-torch.arange(-REACH, REACH + 1).square() / (2 * motion.NOISE_BLUR**2))
        self.register_buffer("weights", weights / weights.sum(), persistent=False)
        self.weights: Tensor

    def forward(self, now: Tensor, before: Tensor, colours: Tensor, earlier: Tensor, shifts: Tensor) -> list[Tensor]:
        h, w = now.shape
        x, y = shifts[..., 0] + torch.arange(w), shifts[..., 1] + torch.arange(h)[:, None]
        moved = _sample(before[None], x, y)[0].round()
        error = F.pad((moved - now).abs()[None, None], (REACH, REACH, REACH, REACH), mode="reflect")
        error = F.conv2d(F.conv2d(error, self.weights.view(1, 1, 1, -1)), self.weights.view(1, 1, -1, 1))[0, 0]
        outside = (x < -0.5) | (y < -0.5) | (x > w - 0.5) | (y > h - 0.5)
        trust = torch.exp(-(error / motion.TOLERANCE).square()).masked_fill(outside, 0)
        distance = (_histogram(earlier) - _histogram(colours)).abs().sum() / 2
        cut = (distance > motion.OTHER_COLOURS) & (_likeness(moved, now) < motion.SAME_SHAPES)
        return [x, y, trust, cut.float()]


class Smooth(nn.Module):
    """Scores [K, h, w] averaged with those of the frame before.

    `x` and `y` [h, w]: where in that each cell was; `weight` [h, w] of what was there.
    """

    def forward(self, scores: Tensor, past: Tensor, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor]:
        return (scores + weight * (_sample(past, x, y) - scores),)


def _sample(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear samples [K, a, b] of maps [K, h, w] at places [a, b]; their edges are replicated."""
    h, w = maps.shape[1:]
    grid = torch.stack([2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1], -1)  # of -1..1
    return F.grid_sample(maps[None], grid[None], padding_mode="border", align_corners=True)[0]


def _at(picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear samples [R, C, n] of a picture [h, w]."""
    return _sample(picture[None], x.flatten(0, 1), y.flatten(0, 1)).view(x.shape)


def _neighbours(shifts: Tensor) -> tuple[Tensor, Tensor]:
    """The shifts [R, C, 2] of the patches above and to the left; the first ones have their own."""
    return torch.cat([shifts[:1], shifts[:-1]]), torch.cat([shifts[:, :1], shifts[:, :-1]], 1)


def _slopes(gray: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of brightness to the right and down, [h, w] each."""
    padded = F.pad(gray[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    return (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2


def _histogram(colours: Tensor) -> Tensor:
    """Shares [BINS ** 3] of the colours of a picture [h, w, 3]."""
    red, green, blue = (colours.flatten(0, 1).long() * motion.BINS // 256).unbind(1)
    bins = (red * motion.BINS + green) * motion.BINS + blue
    counts = torch.zeros(motion.BINS**3).scatter_add(0, bins, torch.ones_like(bins).float())
    return counts / counts.sum()


def _likeness(one: Tensor, other: Tensor) -> Tensor:
    """Correlation [] of two gray pictures; two flat ones are alike."""
    a, b = one - one.mean(), other - other.mean()
    scale = (a.square().sum() * b.square().sum()).sqrt()
    return torch.where(scale > 0, (a * b).sum() / scale, 1.0)


def motion_parts() -> list[Part]:
    """The graphs, for export."""
    settings = motion.flow_settings()
    small, size, cells = (
        {index: Dim(name, min=least, max=MAX_SIDE) for index, name in enumerate(("rows", "columns"))}
        for least in (settings["patch"] + 1, motion.MIN_SIDE, 4)  # at least two patches
    )
    search = {"now": small, "before": small, "start": small}
    compare = {"now": size, "before": size, "colours": size, "earlier": size, "shifts": size}
    maps = {0: Dim("classes", min=1, max=MAX_CLASSES), 1: cells[0], 2: cells[1]}
    smooth = {"scores": maps, "past": maps, "x": cells, "y": cells, "weight": cells}
    return [
        Part("search", Search(settings["patch"], settings["stride"]), _pictures, search, ("shifts",)),
        Part("motion", Compare(), _moved, compare, ("x", "y", "trust", "cut")),
        Part("smooth", Smooth(), _scores, smooth, ("average",)),
    ]


def _pictures(rows: int, columns: int) -> list[Tensor]:
    """A texture that moves by a pixel, and no shifts."""
    size = 4 * rows, 4 * columns
    y, x = torch.meshgrid(*map(torch.arange, size), indexing="ij")
    now, before = (128 + 60 * torch.sin((x + step) / 3) + 60 * torch.cos(y / 4) for step in (1, 0))
    return [now, before, torch.zeros(*size, 2)]


def _moved(rows: int, columns: int) -> list[Tensor]:
    now, before, shifts = _pictures(rows, columns)
    colours = [gray[..., None].expand(-1, -1, 3).to(torch.uint8) for gray in (now, before)]
    return [now, before, *colours, shifts + 1]


def _scores(rows: int, columns: int) -> list[Tensor]:
    maps = torch.rand(2, 3, 4 * rows, 4 * columns)
    x, y = 4 * columns * torch.rand_like(maps[0, 0]), 4 * rows * torch.rand_like(maps[0, 0])
    return [*maps, x, y, torch.rand_like(x)]
