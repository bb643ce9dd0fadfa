"""From disjoint pieces of a picture to segments: labels, scores, thresholds, ids."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.tasks.options import Options
from lexiseg_model.types import LabelMap, Rle, Segment, Segmentation, Task, Vocabulary


class Pieces(NamedTuple):
    """What may become a segment.

    `labels` [H, W] index of each pixel's piece, `len(owner)` or more for nobody; `owner` [N] the class of each piece;
    `votes` [N] or longer, the sum over a piece's pixels of their probability; `probability` [H, W] of each pixel's
    winner, when asked for; `rles` of the pieces, where they are known.
    """

    labels: LabelMap
    owner: NDArray[np.int64]
    votes: NDArray[np.float64]
    probability: NDArray[np.float32] | None
    rles: list[Rle] | None = None


def segmentation(task: Task, pieces: Pieces, vocabulary: Vocabulary, options: Options) -> Segmentation:
    """The answer: every piece that has pixels and reaches its threshold, in the order of the pieces.

    Its score is the mean of its pixels' probability. `is_thing` is said where things and stuff are told apart.
    """
    segments: list[Segment] = []
    pieces_of: list[int] = []  # of each segment
    n = len(pieces.owner)
    rles = encode_label_map(pieces.labels, n) if pieces.rles is None else pieces.rles
    for piece, (index, rle) in enumerate(zip(pieces.owner.tolist(), rles, strict=True)):
        entry = vocabulary.classes[index]
        score = float(pieces.votes[piece] / rle.area) if rle.area else 0.0
        if not rle.area or score < options.min_score(entry.threshold):
            continue
        is_thing = None if task == "semantic" else entry.thing is not False
        segments.append(Segment(len(segments) + 1, entry.name, index, score, rle, is_thing))
        pieces_of.append(piece)
    size = (pieces.labels.shape[0], pieces.labels.shape[1])
    # In a video its segments are followed from map to map.
    label_map: LabelMap = np.zeros((0, 0), np.uint8)
    if options.keep_label_map or options.steady is not None:
        label_map = _laid_out(pieces.labels, pieces_of)
    return Segmentation(size, task, tuple(segments), label_map, pieces.probability)


def _laid_out(labels: LabelMap, pieces_of: list[int]) -> LabelMap:
    """From pieces to ids of segments, in the smallest type that holds every id; nobody's is 0."""
    ids: LabelMap = np.zeros(np.iinfo(labels.dtype).max + 1, np.uint8 if len(pieces_of) < 256 else np.uint16)
    ids[pieces_of] = np.arange(1, len(pieces_of) + 1)
    return ids[labels]
