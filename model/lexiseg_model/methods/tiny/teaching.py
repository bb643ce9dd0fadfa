"""What `tiny` is taught by, and how its classes are scored then.

A cell's teaching features are the decoder's channels, those of the trunk at stride 16, and 1. A direction's product
with them is taken at each map's own resolution: interpolation and sum change places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.errors import TeachingError
from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.network import COARSE_LEVEL, DECODER
from lexiseg_model.methods.tiny.trunk import WIDTHS
from lexiseg_model.segmenter import LearnedClasses
from lexiseg_model.vocabulary.heads import MAX_CELLS, UNKNOWN, LabelledPicture, Lesson
from lexiseg_model.vocabulary.solving import MAX_TEXT

MAPS = ("decoded", "middle")  # of the features: [128, H/4, W/4] and [120, H/16, W/16]
SIZE = DECODER + WIDTHS[COARSE_LEVEL] + 1
VOTES = 4  # labels across a cell, which is of the class that has the majority of them


def maps_of(features: Features) -> tuple[Tensor, Tensor]:
    """The maps of features that were kept with `teaching`. Raises TeachingError: they were not."""
    decoded, middle = (features.tensors.get(name) for name in MAPS)
    if decoded is None or middle is None:
        raise TeachingError("the picture was encoded without what teaching needs; expected InferenceOptions(teaching)")
    return decoded, middle


def lesson_of(features: Features, labelled: LabelledPicture, text: Tensor, digest: str) -> Lesson:
    """What a picture teaches, by the logits `text` [K, h, w] of its classes relative to the background's.

    Raises:
        TeachingError: the labels have another size than the picture, or the features lack what teaching needs.
    """
    if labelled.labels.shape != features.size:
        raise TeachingError(f"expected labels {list(features.size)}, the picture's, got {list(labelled.labels.shape)}")
    cells = teaching_cells(features)
    of_cells = cell_labels(labelled.labels, (cells.shape[1], cells.shape[2])).ravel()
    places, shares = _sampled(of_cells)
    where = torch.from_numpy(places).to(cells.device)
    return Lesson(
        digest,
        labelled.classes,
        cells.flatten(1)[:, where].T.half().cpu().numpy(),
        of_cells[places].astype(np.int16),
        shares,
        text.flatten(1)[:, where].T.clamp(-100, 100).half().cpu().numpy(),
    )


def cell_labels(labels: NDArray[np.integer[Any]], grid: tuple[int, int]) -> NDArray[np.int16]:
    """The label [h, w] of each cell: of most of its pixels, else UNKNOWN. A label without a cell gets its best one."""
    height, width = grid
    votes = cv2.resize(labels.astype(np.int16), (VOTES * width, VOTES * height), interpolation=cv2.INTER_NEAREST_EXACT)
    blocks = votes.reshape(height, VOTES, width, VOTES)
    of_cells = np.full(grid, UNKNOWN, np.int16)
    small = []
    for label in np.unique(blocks[blocks > UNKNOWN]):
        count = (blocks == label).sum((1, 3))
        won = count > VOTES**2 // 2
        of_cells[won] = label
        if not won.any():
            small.append((label, count.argmax()))
    for label, place in small:
        of_cells.flat[place] = label
    return of_cells


def _sampled(of_cells: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places [n] of up to MAX_CELLS labelled cells, as many of each label as there are, and the share of each."""
    random = np.random.default_rng(0)
    known = np.count_nonzero(of_cells != UNKNOWN)
    places, shares = [], []
    left = MAX_CELLS
    for own, quota in _quotas(of_cells, left):
        taken = own if len(own) <= quota else np.sort(random.choice(own, quota, replace=False))
        places.append(taken)
        shares.append(np.full(len(taken), len(own) / len(taken) / known, np.float32))
    return np.concatenate(places), np.concatenate(shares)


def _quotas(of_cells: NDArray[np.int16], left: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """The places of each label, the rarest first, and how many of them may be taken."""
    by_label = [np.flatnonzero(of_cells == label) for label in np.unique(of_cells[of_cells != UNKNOWN])]
    by_label.sort(key=len)
    for index, own in enumerate(by_label):
        quota = left // (len(by_label) - index)
        yield own, quota
        left -= min(quota, len(own))


def margins(learned: LearnedClasses, scores: Tensor, background: float, products: Tensor) -> Tensor:
    """By how much learned classes exceed the background: [L, h, w] logits.

    Args:
        learned: the classes.
        scores: [K, h, w] by words.
        background: the score that a class must exceed.
        products: [L, h, w] of the cells with the directions.
    """
    rows = torch.from_numpy(learned.classes).to(scores.device)
    by_words = (scores[rows] - background).clamp_(-MAX_TEXT, MAX_TEXT)
    return by_words * learned.text[:, None, None] + products


def with_margins(learned: LearnedClasses, scores: Tensor, background: float, above: Tensor) -> Tensor:
    """The scores [K, h, w] with those of learned classes, by their `margins` [L, h, w]; the others keep their bits.

    The background includes the question's background words: a learned class was taught what is none of it.
    """
    reference = scores.new_full(scores.shape[1:], background)
    if len(scores) > learned.n_listed:
        reference = torch.maximum(reference, scores[learned.n_listed :].amax(0))
    rows = torch.from_numpy(learned.classes).to(scores.device)
    return scores.index_copy(0, rows, above + reference)


def cell_products(features: Features, directions: Tensor) -> Tensor:
    """Products [L, h, w] of directions [L, F] with an image's teaching features."""
    decoded, middle = (part.to(directions) for part in maps_of(features))
    fine = (directions[:, :DECODER] @ decoded.flatten(1)).view(-1, *decoded.shape[1:])
    coarse = (directions[:, DECODER:-1] @ middle.flatten(1)).view(-1, *middle.shape[1:])
    return fine + F.interpolate(coarse[None], size=fine.shape[1:], mode="bilinear")[0] + directions[:, -1:, None]


def teaching_cells(features: Features) -> Tensor:
    """The teaching features [F, h, w] float32 of all cells. Raises TeachingError as `maps_of`."""
    decoded, middle = (part.float() for part in maps_of(features))
    coarse = F.interpolate(middle[None], size=decoded.shape[1:], mode="bilinear")[0]
    return torch.cat([decoded, coarse, torch.ones_like(decoded[:1])])
