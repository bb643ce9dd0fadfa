"""Propose masks of everything in an image from a grid of points, evaluating only the most promising ones.

Fine points are evaluated in windows, each its corner [2] (row, column) in cells of the coarsest map: CELL pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import PromptMasks
from lexiseg_model.masks.nms import suppress
from lexiseg_model.methods.tiny.graphs import SCALES, MaskPredictor
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompt_head import SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import HEADS, MAP_STRIDE, clicks
from lexiseg_model.methods.tiny.settings import ProposalSettings

# Chosen on training photographs with `ProposalSettings`.
SHARPNESS = 16.0  # exponent of the kernel per unit of cosine between points
REACH = 1.5  # standard deviation of the kernel in steps of the grid
PRIOR, PRIOR_WEIGHT = 0.3, 0.1  # of a point's quality; an evaluated point has weight 1 at its place
ALIKE = 0.8  # cosine from which two points are likely on the same object
CROWD = 0.2  # bonus of the expected quality, times the root of the share of similar points that no mask covers

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
FINER = SCALES[0]  # mask pixels per side of a cell
CELL = FINER * STRIDE
STEP = 2  # cells; sides of windows are multiples
MIN_SIDE = 8  # smallest side in cells
NOTHING = -20.0  # logit of pixels outside a window
PER_PASS = 16  # points in one pass; they cannot learn from each other, and smaller passes have more overhead
AGAIN = 4  # points evaluated again in the whole image in one pass
MIN_CELLS = 4  # of a proposal
# Tuned on training photographs together with `ProposalSettings`.
TOUCHES = 2  # pixels along inner window edges above which a mask counts as truncated
NEW = 0.6  # uncovered share of a truncated mask's grid points from which it is evaluated again


class Search:
    """Chooses which grid points to evaluate next; points well inside a kept mask are skipped.

    Expected quality: a kernel regression on evaluated points, plus a bonus for many similar uncovered points.
    """

    def __init__(self, vectors: Floats, settings: ProposalSettings) -> None:
        """Start with all points of the grid; `vectors` [grid * grid, D]: HEADS concatenated unit vectors each."""
        self._settings = settings
        self._cosines: Floats = (vectors @ vectors.T) / np.float32(HEADS)
        self._similar = (self._cosines > ALIKE).astype(np.float32)
        self._row, self._column = np.divmod(np.arange(len(vectors)), settings.grid)
        self._pending = np.ones(len(vectors), bool)
        self.uncovered = np.ones(len(vectors), np.float32)  # 0 for points that a kept mask covers
        self._weights = np.full(len(vectors), PRIOR_WEIGHT, np.float32)
        self._sums = self._weights * np.float32(PRIOR)

    def next_points(self, rank: Indices, n: int, *, is_first: bool) -> Indices:
        """At most n pending points of a rank, the most promising first; in the order of the rank if it `is_first`."""
        pending = rank[self._pending[rank]]
        if is_first:
            return pending[:n]
        crowd = self._similar[pending] @ self.uncovered / np.float32(len(self.uncovered))
        expected = self._sums[pending] / self._weights[pending] + np.float32(CROWD) * np.sqrt(crowd)
        order = np.argsort(-expected, kind="stable")
        best: Indices = pending[order[expected[order] >= self._settings.min_expected]][:n]
        return best

    def record(self, points: Indices, best: Floats, covered: NDArray[np.bool_], skipped: NDArray[np.bool_]) -> None:
        """Record the best quality of evaluated points, and which points kept masks cover or make superfluous."""
        self._pending[points] = False
        square = (self._row[points, None] - self._row) ** 2 + (self._column[points, None] - self._column) ** 2
        kernel = np.exp(SHARPNESS * (self._cosines[points] - 1) - square.astype(np.float32) / (2 * REACH**2))
        for quality, weights in zip(best, kernel, strict=True):  # one by one: sums do not depend on the BLAS
            self._weights += weights
            self._sums += quality * weights
        self._pending &= ~skipped
        self.uncovered[covered] = 0


class Answers(NamedTuple):
    """Masks of n grid `points`: logits [n, M, H, W] at stride 4, quality [n, M] in 0..1; `cut` [n, M]: truncated."""

    points: Indices
    logits: Floats
    quality: Floats
    cut: NDArray[np.bool_]


class Picture:
    """One image: evaluates grid points in it or a `window` of it, within a budget of cells, and collects their good
    masks."""

    def __init__(self, head: MaskPredictor, shared: SharedMaps, settings: ProposalSettings) -> None:
        self._head, self._shared, self._settings = head, shared, settings
        self.cells = (shared.coarse.shape[2], shared.coarse.shape[3])
        halves = [(side + 2 * STEP - 1) // (2 * STEP) * STEP for side in self.cells]
        self.window = min(self.cells[0], max(MIN_SIDE, halves[0])), min(self.cells[1], max(MIN_SIDE, halves[1]))
        self.budget = settings.max_points * self.cells[0] * self.cells[1]
        self._points = grid(settings.grid, shared)
        column, row = (self._points / MAP_STRIDE).long().unbind(1)
        self.search = Search(shared.grouping[0][:, row, column].T.float().cpu().numpy(), settings)
        self._pixels = (self._points / STRIDE).long().flip(1).cpu().numpy().T  # rows, columns of points in a mask
        self._masks: list[Floats] = []  # logits of good masks, in the whole image
        self._quality: list[Floats] = []

    def affordable(self, size: tuple[int, int], limit: int = PER_PASS) -> int:
        """How many points the budget allows in windows of `size` (rows, columns), at most `limit`."""
        return min(limit, self.budget // (size[0] * size[1]))

    def evaluate(self, points: Indices) -> None:
        """Collect the masks of points in the whole image."""
        self.budget -= len(points) * self.cells[0] * self.cells[1]
        answers = self._head.click_masks(self._shared, clicks(self._coordinates(points)[None]))
        logits, quality = _arrays(answers.masks[0], answers.quality[0])
        self._collect(Answers(points, logits, quality, np.zeros(quality.shape, bool)))

    def evaluate_in_windows(self, points: Indices) -> None:
        """Collect the masks of points in windows, and of the whole image if the best is truncated and largely new."""
        answers = self._in_windows(points)
        waiting, remaining = self._truncated(answers), np.ones(len(points), bool)
        uncovered = self.search.uncovered
        while waiting := [each for each in waiting if not each[1].any() or uncovered[each[1]].mean() >= NEW]:
            again = [index for index, _ in waiting[: self.affordable(self.cells, AGAIN)]]
            if not again:
                break
            self.evaluate(points[again])
            waiting, remaining[again] = waiting[AGAIN:], False
        quality, cut = (answers.quality * ~answers.cut)[remaining], answers.cut[remaining]
        self._collect(Answers(points[remaining], answers.logits[remaining], quality, cut))

    def _in_windows(self, points: Indices) -> Answers:
        (rows, columns), places = self.window, self._coordinates(points)
        self.budget -= len(points) * rows * columns
        spans = zip(places.cpu().double().unbind(1), (columns, rows), self.cells[::-1], strict=True)
        left, top = ((place / CELL - side / 2).round().long().clamp(0, whole - side) for place, side, whole in spans)
        corners = torch.stack([top, left], 1)  # [N, 2]
        maps = [
            torch.cat([part[..., y * n : (y + rows) * n, x * n : (x + columns) * n] for y, x in corners.tolist()])
            for part, n in zip(self._shared, SCALES, strict=True)
        ]
        inside = places - corners.flip(1).to(places) * CELL
        answers = self._head.click_masks(SharedMaps(*maps), clicks(inside[:, None]))  # of N images
        masks, size = answers.masks[:, 0].cpu(), (self._shared.fine.shape[2], self._shared.fine.shape[3])
        in_image = masks.new_full((*masks.shape[:2], *size), NOTHING)
        height, width = masks.shape[2:]
        for own, image, (y, x) in zip(masks, in_image, (corners * FINER).tolist(), strict=True):
            image[:, y : y + height, x : x + width] = own
        cut = inner_edge_pixels(masks, corners, size) > TOUCHES
        return Answers(points, *_arrays(in_image, answers.quality[:, 0]), cut.numpy())

    def _coordinates(self, points: Indices) -> Tensor:
        return self._points[torch.from_numpy(points).to(self._points.device)]

    def _collect(self, answers: Answers) -> None:
        point, rank = np.nonzero(answers.quality >= self._settings.quality)
        areas = np.count_nonzero(answers.logits[point, rank] > 0, axis=(1, 2))
        is_large = areas >= MIN_CELLS
        point, rank, areas = point[is_large], rank[is_large], areas[is_large]
        (rows, columns), masks = self._pixels, answers.logits[point, rank]
        explains = areas <= self._settings.explains * np.prod(answers.logits.shape[2:])
        at_points = masks[:, rows, columns]
        covered, skipped = at_points > 0, at_points[explains] > self._settings.inside
        best = answers.quality.max(1)
        self.search.record(answers.points, best, np.any(covered, axis=0), np.any(skipped, axis=0))
        self._masks.append(masks)
        self._quality.append(answers.quality[point, rank])

    def _truncated(self, answers: Answers) -> list[tuple[int, NDArray[np.bool_]]]:
        """Points with a good, truncated best mask, best first, and the grid points [grid ** 2] that it covers."""
        cut_quality = answers.quality * answers.cut
        best, rank = cut_quality.max(1), cut_quality.argmax(1)
        selected = (best >= self._settings.quality) & (best > (answers.quality * ~answers.cut).max(1))
        order = np.argsort(-best, kind="stable")
        points = order[selected[order]]
        at_points = answers.logits[points[:, None], rank[points, None], *self._pixels]
        return list(zip(points.tolist(), at_points > 0, strict=True))

    def best(self) -> PromptMasks:
        """Collected masks after non-maximum suppression, best first: logits [N, h, w] and quality [N]."""
        masks, quality = (torch.from_numpy(np.concatenate(parts)) for parts in (self._masks, self._quality))
        best = suppress(masks > 0, quality, self._settings.rule)
        return PromptMasks(masks[best].half().to(self._points.device), quality[best].to(self._points.device))


def inner_edge_pixels(masks: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Count the pixels [N, M] of masks [N, M, h, w] along edges of their windows that are not edges of the image."""
    inside = masks > 0
    edges = [inside[:, :, 0], inside[:, :, -1], inside[..., 0], inside[..., -1]]
    row, column = (corners * FINER)[:, :, None].unbind(1)
    inner = [row > 0, row + masks.shape[2] < size[0], column > 0, column + masks.shape[3] < size[1]]
    return torch.stack([edge.sum(2) * mask for edge, mask in zip(edges, inner, strict=True)]).sum(0)


def _arrays(masks: Tensor, quality: Tensor) -> tuple[Floats, Floats]:
    return masks.float().cpu().numpy(), quality.float().sigmoid().cpu().numpy()


def propose(head: MaskPredictor, shared: SharedMaps, settings: ProposalSettings) -> PromptMasks:
    """Masks of everything that a grid of points finds in one image, best first: logits [N, h, w] and quality [N].

    A coarse grid is evaluated in the whole image, then finer ones in windows, until none is promising or the budget
    ends.
    """
    picture = Picture(head, shared, settings)
    for index, rank in enumerate(ranks(settings.grid)):
        evaluate, size = picture.evaluate, picture.cells
        if index > 0 and picture.window != picture.cells:
            evaluate, size = picture.evaluate_in_windows, picture.window
        while len(points := picture.search.next_points(rank.numpy(), picture.affordable(size), is_first=index == 0)):
            evaluate(points)
    return picture.best()


def ranks(n: int) -> list[Tensor]:
    """The points of an n x n grid from coarse to fine, row by row within each rank: every rank halves the gaps."""
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    fours, twos = (y % 4 == 0) & (x % 4 == 0), (y % 2 == 0) & (x % 2 == 0)
    between = (y % 4 == 2) & (x % 4 == 2)
    odd = (y % 2 == 1) & (x % 2 == 1)
    members = (between, fours, twos & ~fours & ~between, odd, ~twos & ~odd)
    return [rank for member in members if len(rank := member.flatten().nonzero()[:, 0])]


def grid(n: int, shared: SharedMaps) -> Tensor:
    """Grid points [n * n, 2] (x, y) at the centres of n x n equal parts of the network's input, row by row."""
    height, width = (side * STRIDE for side in shared.fine.shape[-2:])
    steps = (torch.arange(n, device=shared.fine.device) + 0.5) / n
    y, x = torch.meshgrid(steps * height, steps * width, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)
