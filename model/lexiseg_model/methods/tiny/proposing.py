"""Proposals of one image: a grid of points asks for everything, of which as few are asked as find as much."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.nms import suppress
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompt_head import PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import HEADS, MAP_STRIDE, Prompts
from lexiseg_model.methods.tiny.settings import ProposalSettings
from lexiseg_model.segmenter import PromptMasks

PER_PASS = 16  # points asked together: more would not know of each other, fewer cost more around the head than in it
LEAST_CELLS = 4  # of a proposal

# Chosen on training photographs with `ProposalSettings`.
SHARPNESS = 16.0  # by how much less a point tells of another for each unit of cosine between them
REACH = 1.5  # steps of the grid: the deviation by which it tells less with distance
GUESS, DOUBT = 0.3, 0.1  # what is expected where nothing is known, and how much that weighs beside one point just there
ALIKE = 0.8  # the cosine of points that are likely to be of one thing
CROWD = 0.2  # what is added to the expected quality, times the root of the share of points alike that nothing covers

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


class Search:
    """Which points of a grid are worth asking, by the answers so far.

    A point that lies well inside a mask found before is not asked. The others of a rank go by what is expected of them:
    the mean of what points asked before had for their best mask, those near by and alike first, and something for a
    crowd of others alike that no mask covers yet.
    """

    def __init__(self, vectors: Floats, settings: ProposalSettings) -> None:
        """`vectors` [grid * grid, D]: HEADS unit vectors at each point, beside each other."""
        self._settings = settings
        self._cosines: Floats = (vectors @ vectors.T) / np.float32(HEADS)
        self._alike = (self._cosines > ALIKE).astype(np.float32)
        self._row, self._column = np.divmod(np.arange(len(vectors)), settings.grid)
        self._waits = np.ones(len(vectors), bool)
        self._open = np.ones(len(vectors), np.float32)  # where no mask covers it
        self._weights = np.full(len(vectors), DOUBT, np.float32)
        self._sums = self._weights * np.float32(GUESS)
        self._n_asked = 0

    def next_of(self, rank: Places, *, unseen: bool) -> Places:
        """At most PER_PASS points of a rank, none when it is done; in the order of the rank while all is `unseen`."""
        left = rank[self._waits[rank]]
        n = min(PER_PASS, self._settings.most - self._n_asked)
        if unseen:
            return left[:n]
        crowd = self._alike[left] @ self._open / np.float32(len(self._open))
        hope = self._sums[left] / self._weights[left] + np.float32(CROWD) * np.sqrt(crowd)
        order = np.argsort(-hope, kind="stable")
        best: Places = left[order[hope[order] >= self._settings.hope]][:n]
        return best

    def answered(self, asked: Places, best: Floats) -> None:
        """The quality of the best mask of each of some points."""
        self._n_asked += len(asked)
        self._waits[asked] = False
        square = (self._row[asked, None] - self._row) ** 2 + (self._column[asked, None] - self._column) ** 2
        near = np.exp(SHARPNESS * (self._cosines[asked] - 1) - square.astype(np.float32) / (2 * REACH**2))
        for quality, weights in zip(best, near, strict=True):  # one by one: the same sums whatever multiplies matrices
            self._weights += weights
            self._sums += quality * weights

    def shown(self, covered: NDArray[np.bool_], spared: NDArray[np.bool_]) -> None:
        """The points of the grid that good masks cover, and those that need not be asked any more for them."""
        self._waits &= ~spared
        self._open[covered] = 0


def propose(head: PromptHead, shared: SharedMaps, settings: ProposalSettings) -> PromptMasks:
    """Masks of everything that a grid of points finds in one image, best first: logits [N, h, w] and quality [N].

    A coarse grid goes first and finer ones fill it up, until `settings.most` points were asked or none is worth it
    (`Search`). Never holds more than one pass of masks beside those that are good enough.
    """
    points = grid(settings.grid, shared)
    column, row = (points / MAP_STRIDE).long().unbind(1)
    search = Search(shared.grouping[0][:, row, column].T.float().cpu().numpy(), settings)
    column, row = (points / STRIDE).long().unbind(1)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for index, rank in enumerate(ranks(settings.grid)):
        while len(some := search.next_of(rank.numpy(), unseen=index == 0)):
            logits, of_some = _ask(head, shared, points[torch.from_numpy(some).to(points.device)])
            search.answered(some, of_some.amax(1).cpu().numpy())
            good = of_some >= settings.quality
            if not good.any():
                continue
            good_masks, good_quality = logits[good], of_some[good]
            shapes = good_masks > 0
            cells = shapes.flatten(1).count_nonzero(1)
            enough = cells >= LEAST_CELLS
            at_points = good_masks[:, row, column][enough].cpu().numpy()  # [N, grid * grid]
            explains = (cells[enough] <= settings.explains * logits[0, 0].numel()).cpu().numpy()
            covered, spared = at_points > 0, at_points[explains] > settings.inside
            search.shown(np.any(covered, axis=0), np.any(spared, axis=0))
            found.append((good_masks[enough].half(), shapes[enough], good_quality[enough]))
    if not found:
        return PromptMasks(shared.fine.new_zeros(0, *shared.fine.shape[-2:], dtype=torch.float16), points.new_zeros(0))
    masks, inside, quality = map(torch.cat, zip(*found, strict=True))
    stay = suppress(inside, quality, settings.rule)
    return PromptMasks(masks[stay], quality[stay])


def _ask(head: PromptHead, shared: SharedMaps, points: Tensor) -> tuple[Tensor, Tensor]:
    """Of lone points [n, 2]: logits [n, M, h, w] and quality [n, M] in 0..1."""
    nothing = points.new_zeros(1, len(points), 4)
    prompts = Prompts(points[None, :, None], points.new_ones(1, len(points), 1), nothing, nothing[..., 0])
    masks, quality = head.lone(shared, prompts)
    return masks[0], quality[0].float().sigmoid()


def ranks(n: int) -> list[Tensor]:
    """The points of a grid of n x n as they are asked, row by row in each rank: every rank halves the gaps."""
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    fours, twos = (y % 4 == 0) & (x % 4 == 0), (y % 2 == 0) & (x % 2 == 0)
    between = (y % 4 == 2) & (x % 4 == 2)
    odd = (y % 2 == 1) & (x % 2 == 1)
    members = (between, fours, twos & ~fours & ~between, odd, ~twos & ~odd)
    return [rank for member in members if len(rank := member.flatten().nonzero()[:, 0])]


def grid(n: int, shared: SharedMaps) -> Tensor:
    """[n * n, 2] (x, y) in the middle of equal parts of the network's input, row by row."""
    height, width = (side * STRIDE for side in shared.fine.shape[-2:])
    steps = (torch.arange(n, device=shared.fine.device) + 0.5) / n
    y, x = torch.meshgrid(steps * height, steps * width, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)
