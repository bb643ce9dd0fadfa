"""Tasks of any method: classes compete for every pixel; things are the connected regions of what they won."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lexiseg_model.masks.regions import split, sum_by_region
from lexiseg_model.masks.upsample import Winners, winners
from lexiseg_model.scoring import score_vocabulary
from lexiseg_model.segmenter import Features, RowsOf, Segmenter
from lexiseg_model.tasks.options import Options, check_vocabulary
from lexiseg_model.tasks.pieces import Pieces, segmentation
from lexiseg_model.types import Segmentation, Task, Vocabulary

SMALLEST_INSTANCE = 0.0005  # of the picture; smaller regions are specks of the label map


def semantic(
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options = Options(),
    rows_of: RowsOf | None = None,
) -> Segmentation:
    """One segment for each class that owns pixels, in the vocabulary's order; disjoint.

    Without a background they cover the image.

    Raises:
        OptionError: the vocabulary is empty, or a threshold is set although every pixel must get a class.
    """
    won = _compete(segmenter, features, vocabulary, options, rows_of)
    pieces = Pieces(won.labels, np.arange(len(vocabulary.classes)), won.votes, won.probability)
    return segmentation("semantic", pieces, vocabulary, options)


def connected_regions(
    task: Task, segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf
) -> Segmentation:
    """Things as the connected regions of the semantic answer, the largest of each class first; disjoint.

    Stuff is one segment each where the task is panoptic, nobody's where it is instance. A class of which nobody knows
    whether it is a thing counts as one. Specks of things are nobody's, so the image may not be covered.

    Raises:
        OptionError: as `semantic`.
    """
    won = _compete(segmenter, features, vocabulary, replace(options, keep_probability=True), rows_of)
    assert won.probability is not None
    stuff = {index for index, entry in enumerate(vocabulary.classes) if entry.thing is False}
    split_classes = [index for index in range(len(vocabulary.classes)) if task == "panoptic" or index not in stuff]
    smallest = max(1, int(SMALLEST_INSTANCE * won.labels.size))
    regions = split(won.labels, split_classes, smallest, stuff, options.check)
    votes = sum_by_region(regions, won.probability)
    probability = won.probability if options.keep_probability else None
    pieces = Pieces(regions.labels, regions.owner, votes, probability)
    return segmentation(task, pieces, vocabulary, options)


def _compete(
    segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf | None
) -> Winners:
    check_vocabulary(vocabulary, options)
    refine = options.refine or segmenter.card.refine
    rows_of = rows_of or segmenter.encode_texts
    logits = score_vocabulary(segmenter, features, vocabulary, rows_of, refine, options.steady)
    return winners(logits, features.size, options.keep_probability)
