"""Tasks of any method: classes compete for every pixel; things are the connected regions of what they won."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.features import Features
from lexiseg_model.masks.regions import Regions, split, sum_by_region
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.tasks.options import Options, check_vocabulary
from lexiseg_model.tasks.outcome import Outcome, outcome
from lexiseg_model.tasks.pieces import Pieces, segmentation
from lexiseg_model.tasks.things import Seen, belief, without
from lexiseg_model.types import Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_model.vocabulary.scoring import score_vocabulary

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
    won = _compete(segmenter, features, vocabulary, options, rows_of, encode=True)
    pieces = Pieces(won.labels, np.arange(len(vocabulary.classes)), won.votes, won.probability, won.rles)
    return segmentation("semantic", pieces, vocabulary, options)


def connected_regions(
    task: Task, segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf
) -> Segmentation:
    """Things as the connected regions of the semantic answer, the largest of each class first; disjoint.

    Stuff is one segment each where the task is panoptic, nobody's where it is instance. A class of which nobody knows
    whether it is a thing counts as one. Specks of things are nobody's, and so are regions that the card's rule does not
    believe; so the image may not be covered. In a video all are answered: belief in single frames would flicker.

    Raises:
        OptionError: as `semantic`.
    """
    regions, votes, probability = _regions(task, segmenter, features, vocabulary, options, rows_of)
    rule = segmenter.card.panoptic.things
    if rule is not None and options.steady is None:
        seen = Seen(regions, votes, _presence(segmenter, features, vocabulary, rows_of))
        is_thing = np.isin(regions.owner, _things(vocabulary))
        regions, votes, _ = without(seen, is_thing & (belief(seen, rule) < rule.least))
    pieces = Pieces(regions.labels, regions.owner, votes, probability if options.keep_probability else None)
    return segmentation(task, pieces, vocabulary, options)


def seen_things(segmenter: Segmenter, features: Features, vocabulary: Vocabulary, rows_of: RowsOf) -> Seen:
    """All regions of things, before any is disbelieved."""
    regions, votes, _ = _regions("instance", segmenter, features, vocabulary, Options(), rows_of)
    return Seen(regions, votes, _presence(segmenter, features, vocabulary, rows_of))


def _regions(
    task: Task, segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf
) -> tuple[Regions, NDArray[np.float64], NDArray[np.float32]]:
    """The regions, the sum of each one's probabilities, and the probability [H, W] of each pixel's winner."""
    won = _compete(segmenter, features, vocabulary, replace(options, keep_probability=True), rows_of, encode=False)
    assert won.probability is not None
    things = _things(vocabulary)
    every = range(len(vocabulary.classes))
    smallest = max(1, int(SMALLEST_INSTANCE * won.labels.size))
    wanted = [*every] if task == "panoptic" else things
    regions = split(won.labels, wanted, smallest, set(every) - set(things), options.check)
    return regions, sum_by_region(regions, won.probability), won.probability


def _presence(segmenter: Segmenter, features: Features, vocabulary: Vocabulary, rows_of: RowsOf) -> NDArray[np.float64]:
    bank = bank_of(segmenter, vocabulary, rows_of)
    presence: NDArray[np.float64] = segmenter.presence(features, bank).double().cpu().numpy()
    return presence[: len(vocabulary.classes)]


def _things(vocabulary: Vocabulary) -> list[int]:
    return [index for index, entry in enumerate(vocabulary.classes) if entry.thing is not False]


def _compete(
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options,
    rows_of: RowsOf | None,
    *,
    encode: bool,
) -> Outcome:
    check_vocabulary(vocabulary, options)
    refine = options.refine or segmenter.card.refine
    rows_of = rows_of or segmenter.encode_texts
    logits = score_vocabulary(segmenter, features, vocabulary, rows_of, refine, options.steady, specks=True)
    if options.steady is not None:  # what was averaged is the beginning of the next frame's average
        logits = logits.clone()
    n_classes = len(vocabulary.classes)
    keep = options.keep_probability
    return outcome(logits, features.size, n_classes, segmenter.specks, keep_probability=keep, encode=encode)
