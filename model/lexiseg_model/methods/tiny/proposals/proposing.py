"""Proposals of one image: a grid of points asks for everything, of which as few are asked as find as much."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.nms import suppress
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompt_head import Answering, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import MAP_STRIDE, Prompts
from lexiseg_model.methods.tiny.proposals import windows
from lexiseg_model.methods.tiny.proposals.search import Floats, Places, Search
from lexiseg_model.methods.tiny.proposals.windows import Windows
from lexiseg_model.methods.tiny.settings import ProposalSettings
from lexiseg_model.segmenter import PromptMasks

PER_PASS = 16  # points asked together: more would not know of each other, fewer cost more around the head than in it
AGAIN = 4  # points asked together in the whole picture, after their windows
MIN_CELLS = 4  # of a proposal

# Chosen on training photographs with `ProposalSettings`.
TOUCHES = 2  # pixels of a mask along inner edges of its window; with more it goes on behind them
NEW = 0.6  # of the points of the grid that such a mask covers, those that nothing covered; with less it is left alone

NOTHING = -20.0  # the logit of pixels outside of a window


class Answers(NamedTuple):
    """Of n `points` of the grid: logits [n, M, h, w] of their windows at stride 4 and quality [n, M] in 0..1."""

    points: Places
    logits: Floats
    quality: Floats
    where: Windows


class Picture:
    """One image that points of a grid are asked about, and what of their masks is good enough so far.

    `left` is what may still be asked: cells that points are answered in, `settings.most` times those of the image at
    first. `cells` are its rows and columns.
    """

    def __init__(self, head: Answering, shared: SharedMaps, settings: ProposalSettings) -> None:
        self._head, self._shared, self._settings = head, shared, settings
        self.cells: tuple[int, int] = (shared.mid.shape[2], shared.mid.shape[3])
        self.left = settings.most * self.cells[0] * self.cells[1]
        self._points = grid(settings.grid, shared)
        column, row = (self._points / MAP_STRIDE).long().unbind(1)
        self.search = Search(shared.grouping[0][:, row, column].T.float().cpu().numpy(), settings)
        self._pixels = (self._points / STRIDE).long().flip(1).cpu().numpy()  # row and column of a mask at each point
        self._shapes: list[NDArray[np.bool_]] = []  # of what is good enough, in the whole picture
        self._quality: list[Floats] = []
        self._masks: list[tuple[Floats, Places]] = []  # of each of them logits of its window, and the corner of that

    def whole(self, points: Places) -> Answers:
        """Of points that are asked in the whole picture."""
        self.left -= len(points) * self.cells[0] * self.cells[1]
        masks, quality = self._head.lone(self._shared, clicks(self._at(points)[None]))
        return _answers(points, masks, quality, Windows(np.zeros((len(points), 2), np.int64), self.cells))

    def near(self, points: Places) -> Answers:
        """Of points that are asked in windows around them."""
        where = windows.around(self._at(points), self.cells)
        self.left -= len(points) * where.size[0] * where.size[1]
        parts = SharedMaps(*(windows.cut(maps, where, self.cells) for maps in self._shared))  # as of N images
        corners = torch.from_numpy(where.corners[:, ::-1] * MAP_STRIDE).to(self._points)
        masks, quality = self._head.lone(parts, clicks((self._at(points) - corners)[:, None]))
        return _answers(points, masks.transpose(0, 1), quality.transpose(0, 1), where)

    def _at(self, points: Places) -> Tensor:
        return self._points[torch.from_numpy(points).to(self._points.device)]

    def keep(self, answers: Answers) -> None:
        """What is good enough; the search learns of all."""
        self.search.answered(answers.points, answers.quality.max(1))
        of_point, of_mask = np.nonzero(answers.quality >= self._settings.quality)
        shapes = answers.logits[of_point, of_mask] > 0
        areas = np.count_nonzero(shapes, axis=(1, 2))
        enough = areas >= MIN_CELLS
        if not enough.any():
            return
        of_point, of_mask, areas, shapes = of_point[enough], of_mask[enough], areas[enough], shapes[enough]
        masks, where = answers.logits[of_point, of_mask], answers.where.of(of_point)
        explains = areas <= self._settings.explains * self.cells[0] * self.cells[1] * windows.FINER**2
        at_points = windows.at(self._pixels, masks, where, NOTHING)
        covered, spared = at_points > 0, at_points[explains] > self._settings.inside
        self.search.shown(np.any(covered, axis=0), np.any(spared, axis=0))
        self._shapes.append(windows.back(shapes, where, self.cells))
        self._quality.append(answers.quality[of_point, of_mask])
        self._masks += zip(masks, where.corners, strict=True)

    def first_of_cut(self, answers: Answers, cut: NDArray[np.bool_]) -> list[tuple[int, NDArray[np.bool_]]]:
        """Which of n points have as their best mask one that is `cut` [n, M], and a good one: the best first; with the
        points of the grid that it covers [grid * grid]."""
        of_cut = answers.quality * cut
        best, which = of_cut.max(1), of_cut.argmax(1)
        wanted = (best >= self._settings.quality) & (best > (answers.quality * ~cut).max(1))
        order = np.argsort(-best, kind="stable")
        places = order[wanted[order]]
        at_points = windows.at(self._pixels, answers.logits[places, which[places]], answers.where.of(places), NOTHING)
        return list(zip(places.tolist(), at_points > 0, strict=True))

    def best(self) -> PromptMasks:
        """Those that none better suppresses: logits [N, h, w] and quality [N], the best first."""
        fine = self._shared.fine
        if not self._masks:
            return PromptMasks(fine.new_zeros(0, *fine.shape[-2:], dtype=torch.float16), self._points.new_zeros(0))
        quality = torch.from_numpy(np.concatenate(self._quality))
        stay = suppress(torch.from_numpy(np.concatenate(self._shapes)), quality, self._settings.rule)
        wholes = [
            windows.back(mask[None], Windows(corner[None], self.cells), self.cells, NOTHING)
            for mask, corner in (self._masks[place] for place in stay.tolist())
        ]
        masks = torch.from_numpy(np.concatenate(wholes)).half()
        return PromptMasks(masks.to(fine.device), quality[stay].to(fine.device))


def _answers(points: Places, masks: Tensor, quality: Tensor, where: Windows) -> Answers:
    """Of what the head answers."""
    return Answers(points, masks[0].float().cpu().numpy(), quality[0].float().sigmoid().cpu().numpy(), where)


def propose(head: Answering, shared: SharedMaps, settings: ProposalSettings) -> PromptMasks:
    """Masks of everything that a grid of points finds in one image, best first: logits [N, h, w] and quality [N].

    A coarse grid is asked in the whole picture, and finer ones fill it up, until none of their points is worth it
    (`Search`) or `settings.most` are answered. What coarse ones left is mostly small: finer ones are asked in a window
    around them, which counts as its share of the picture.
    """
    picture = Picture(head, shared, settings)
    window = windows.size_of(picture.cells)
    for index, rank in enumerate(ranks(settings.grid)):
        ask, size = (_ask_near, window) if index and window != picture.cells else (_ask, picture.cells)
        while len(some := picture.search.next_of(rank.numpy(), _room(picture, size), unseen=index == 0)):
            ask(picture, some)
    return picture.best()


def _room(picture: Picture, size: tuple[int, int], most: int = PER_PASS) -> int:
    """How many points may be asked in so many rows and columns of cells."""
    return min(most, picture.left // (size[0] * size[1]))


def _ask(picture: Picture, some: Places) -> None:
    picture.keep(picture.whole(some))


def _ask_near(picture: Picture, some: Places) -> None:
    """In windows; and in the whole picture those whose best mask goes on behind a window, over much that is new."""
    answers = picture.near(some)
    cut = windows.on_inner_edges(answers.logits, answers.where, picture.cells) > TOUCHES
    waiting, stays = picture.first_of_cut(answers, cut), np.ones(len(some), bool)
    while waiting:
        waiting = [(place, covered) for place, covered in waiting if picture.search.open_share(covered) >= NEW]
        again = [place for place, _ in waiting[: _room(picture, picture.cells, AGAIN)]]
        if not again:
            break
        _ask(picture, some[again])
        waiting, stays[again] = waiting[AGAIN:], False
    if stays.any():
        quality = (answers.quality * ~cut)[stays]
        picture.keep(Answers(some[stays], answers.logits[stays], quality, answers.where.of(np.flatnonzero(stays))))


def clicks(points: Tensor) -> Prompts:
    """Lone points [B, n, 2] of B images."""
    nothing = points.new_zeros(*points.shape[:2], 4)
    return Prompts(points[:, :, None], torch.ones_like(points[..., :1]), nothing, nothing[..., 0])


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
