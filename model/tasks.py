"""The tasks, built once over the Segmenter interface."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError, TaskError
from model.masks.regions import split
from model.masks.rle import encode_label_map
from model.masks.upsample import Winners, winners
from model.scoring import RowsOf, Steady, score_vocabulary
from model.segmenter import Features, Segmenter
from model.types import LabelMap, Prompt, Refinement, Segment, Segmentation, Task, Vocabulary

SMALLEST_INSTANCE = 0.0005  # of the picture; smaller regions are specks of the label map


@dataclass(frozen=True)
class Options:
    """What may be asked beside the vocabulary.

    `threshold` drops segments with a lower score, a class's own goes before it; `refine` None means the card's
    default; `keep_probability` also gives each pixel's confidence; `steady` averages logits over a video; `prompts` are
    those of the task prompt.
    """

    threshold: float = 0.0
    refine: Refinement | None = None
    keep_probability: bool = False
    steady: Steady | None = None
    prompts: tuple[Prompt, ...] = ()


def segment(
    task: Task,
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options = Options(),
    rows_of: RowsOf | None = None,
) -> Segmentation:
    """Runs a task by its name; arguments as those of `semantic`.

    Raises:
        TaskError: the model's card does not name the task.
        OptionError: as the task itself.
    """
    if task not in segmenter.card.tasks or task not in _TASKS:
        raise TaskError(f"{segmenter.card.name} cannot do the task {task!r}; it can: {', '.join(segmenter.card.tasks)}")
    return _TASKS[task](segmenter, features, vocabulary, options, rows_of)


def semantic(
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options = Options(),
    rows_of: RowsOf | None = None,
) -> Segmentation:
    """Every pixel to one class, or to nobody where the vocabulary has a background.

    Args:
        segmenter: the model that made `features`.
        features: of one image.
        vocabulary: at least one class.
        options: threshold, refinement, confidence.
        rows_of: where text rows come from; the segmenter's tower when None.

    Returns:
        Disjoint segments in the vocabulary's order, only of classes that own pixels; without a background they
        cover the image.

    Raises:
        OptionError: the vocabulary is empty, or a threshold is set although every pixel must get a class.
    """
    won = _compete(segmenter, features, vocabulary, options, rows_of)
    pieces = _Pieces(won.labels, np.arange(len(vocabulary.classes)), won.votes)
    return _segmentation("semantic", pieces, won, vocabulary, options.threshold)


def instance(
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options = Options(),
    rows_of: RowsOf | None = None,
) -> Segmentation:
    """Connected regions of the things among the classes; classes known to be stuff own no segments.

    Arguments and errors as those of `semantic`. A class of which nobody knows whether it is a thing counts as one.
    """
    certain = replace(options, keep_probability=True)
    won = _compete(segmenter, features, vocabulary, certain, rows_of)
    assert won.probability is not None
    things = [index for index, entry in enumerate(vocabulary.classes) if entry.thing is not False]
    regions = split(won.labels, things, max(1, int(SMALLEST_INSTANCE * won.labels.size)))
    votes = np.bincount(regions.labels.reshape(-1), won.probability.reshape(-1), len(regions.owner) + 1)
    pieces = _Pieces(regions.labels, regions.owner, votes.astype(np.float64))
    kept = won if options.keep_probability else won._replace(probability=None)
    return _segmentation("instance", pieces, kept, vocabulary, options.threshold)


_TASKS = {"semantic": semantic, "instance": instance}


class _Pieces(NamedTuple):
    """What may become a segment: `labels` [H, W] index of the piece, the class of each, the sum of its probability."""

    labels: LabelMap
    owner: NDArray[np.int64]
    votes: NDArray[np.float64]


def _compete(
    segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf | None
) -> Winners:
    if not vocabulary.classes:
        raise OptionError("the task needs at least one class, none came")
    if vocabulary.background is None and (options.threshold or any(entry.threshold for entry in vocabulary.classes)):
        raise OptionError("a threshold drops segments, but background=false promises a class for every pixel")
    refine = options.refine or segmenter.card.refine
    rows_of = rows_of or segmenter.encode_texts
    logits = score_vocabulary(segmenter, features, vocabulary, rows_of, refine, options.steady)
    return winners(logits, features.size, options.keep_probability)


def _segmentation(task: Task, pieces: _Pieces, won: Winners, vocabulary: Vocabulary, threshold: float) -> Segmentation:
    segments: list[Segment] = []
    segment_of = np.zeros(len(pieces.votes), np.uint16)  # nobody's row stays 0
    rles = encode_label_map(pieces.labels, len(pieces.owner))
    for piece, (index, rle) in enumerate(zip(pieces.owner.tolist(), rles, strict=True)):
        entry = vocabulary.classes[index]
        score = float(pieces.votes[piece] / rle.area) if rle.area else 0.0
        if not rle.area or score < (threshold if entry.threshold is None else entry.threshold):
            continue
        is_thing = True if task == "instance" else None
        segments.append(Segment(len(segments) + 1, entry.name, index, score, rle, is_thing))
        segment_of[piece] = len(segments)
    # The smallest type that holds every id, before the ids are spread over the pixels.
    ids: LabelMap = segment_of.astype(np.uint8) if len(segments) < 256 else segment_of
    size = (pieces.labels.shape[0], pieces.labels.shape[1])
    return Segmentation(size, task, tuple(segments), ids[pieces.labels], won.probability)
