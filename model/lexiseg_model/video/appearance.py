"""Embeddings of one object and of its surroundings, from its first frame and a few later ones.

A place is like the object when its embedding is closer to the object's than to the surroundings'.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

FIRST = 128  # vectors of the object that are kept of its first frame; twice as many of its surroundings
LATER = 64  # the same of a later frame
LATER_FRAMES = 4  # kept in addition to the first, which is never forgotten
NEAREST = 3  # vectors in a mean of similarities; a single one may be an outlier
SHARPNESS = 20.0  # from a difference of cosines to a logit
MAX_LOGIT = 6.0
MIN_INSIDE = 0.7  # mask probability from which a cell certainly belongs to the object
MAX_OUTSIDE = 0.2  # mask probability up to which it certainly does not
SCENE_CELLS = 3  # a side, of squares by which whole frames are compared
INSIDE = 0.5  # probability from which a place counts as inside a mask

Window = NDArray[np.bool_]  # [h, w]


class _Look(NamedTuple):
    inside: Tensor  # [n, D] fp16 unit vectors of one frame
    around: Tensor


class Appearance:
    """The bounded memory of one object.

    Of its first frame: unit vectors `places` [D, h, w], the probability `mask` [h, w] of each place, and the places
    `near` the object, from which most of its surroundings are taken.
    """

    def __init__(self, places: Tensor, mask: Tensor, near: Window) -> None:
        inside = mask >= min(MIN_INSIDE, float(mask.max()))
        self._first = _look(places, inside, mask <= MAX_OUTSIDE, near, FIRST)
        self._later: deque[_Look] = deque(maxlen=LATER_FRAMES)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for look in (self._first, *tuple(self._later)) for part in look)

    def likeness(self, places: Tensor, where: Window) -> Tensor:
        """Logits [h, w] in -6..6 of the places of a frame [D, h, w], -6 outside `where`; the first counts as all do."""
        compared = torch.from_numpy(where).to(places.device)
        cells = places.float()[:, compared].T  # [n, D]
        looks = (self._first, *self._later)
        inside, around = [look.inside for look in looks], [look.around for look in looks]
        difference = _nearest(cells, inside) - _nearest(cells, around)
        logits = places.new_full(places.shape[1:], -MAX_LOGIT, dtype=torch.float32)
        logits[compared] = (difference * (SHARPNESS / 2)).clamp(-MAX_LOGIT, MAX_LOGIT)
        return logits

    def completeness(self, places: Tensor, mask: Tensor) -> float:
        """Cosine of how completely a mask [h, w] of probabilities shows the object; 0 for an empty mask.

        For each remembered frame, the mean over the object's vectors of the highest cosine with a place in the mask.
        The result averages the first frame and the best matching frame: objects change as they come nearer.
        """
        inside = places.float()[:, mask >= INSIDE]
        looks = [look.inside.float() for look in (self._first, *self._later) if len(look.inside)]
        if not inside.numel() or not looks:
            return 0.0
        similarities = [float((vectors @ inside).amax(1).mean()) for vectors in looks]
        return (similarities[0] + max(similarities)) / 2

    def learn(self, places: Tensor, mask: Tensor, near: Window, likeness: Tensor) -> None:
        """Learn from a later frame where mask and likeness agree, so that a drifting mask is not learned.

        Surroundings are the places `near`; places that were not compared are taken to be unlike the object.
        """
        around = (mask <= MAX_OUTSIDE) & (likeness < 0) & torch.from_numpy(near).to(mask.device)
        look = _look(places, (mask >= MIN_INSIDE) & (likeness > 0), around, near, LATER)
        if len(look.inside) and len(look.around):
            self._later.append(look)


def scene_of(places: Tensor) -> Tensor:
    """Unit vectors [n, D] of a frame's places [D, h, w], averaged over squares of SCENE_CELLS."""
    squares = F.avg_pool2d(places.float()[None], SCENE_CELLS, ceil_mode=True)[0]
    return F.normalize(squares.flatten(1), dim=0).T


def scene_likeness(one: Tensor, other: Tensor) -> float:
    """How much two frames [n, D], [m, D] show the same: each vector's highest cosine with the other frame's.

    The lower of both means: what comes into a frame is as new as what leaves it.
    """
    cosines = one @ other.T
    return min(float(cosines.amax(0).mean()), float(cosines.amax(1).mean()))


def _look(places: Tensor, inside: Tensor, around: Tensor, near: Window, n: int) -> _Look:
    vectors = F.normalize(places.float(), dim=0).flatten(1).T.half()
    close = torch.from_numpy(near).to(around.device)
    beside = torch.cat([_spread(around & close, 3 * n // 2), _spread(around & ~close, n // 2)])
    return _Look(vectors[_spread(inside, n)], vectors[beside])


def _spread(cells: Tensor, n: int) -> Tensor:
    """Indices of at most n of the chosen cells [h, w] bool, evenly spread in reading order."""
    places = cells.flatten().nonzero()[:, 0]
    if len(places) <= n:
        return places
    return places[torch.linspace(0, len(places) - 1, n, device=places.device).long()]


def _nearest(cells: Tensor, looks: list[Tensor]) -> Tensor:
    """[n] mean cosines with the nearest few vectors [m, D] of the first look and of all, added; -1 without any."""
    cosines = cells @ torch.cat(looks).float().T
    first, of_all = (
        each.topk(min(NEAREST, each.shape[1]), 1).values.mean(1) if each.shape[1] else each.new_full((len(each),), -1.0)
        for each in (cosines[:, : len(looks[0])], cosines)
    )
    return first + of_all
