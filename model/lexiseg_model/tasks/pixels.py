"""Pixel tasks of any method: classes compete for every pixel; things are connected regions of a class's pixels.

With a long class list most regions are specks of absent classes. So a card may have a `ThingBelief`: a logistic model
of how likely a region is a whole thing, from its mean probability, area and the presence of its class in the image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.masks.regions import Regions, split, sum_by_region
from lexiseg_model.masks.upsample import winners
from lexiseg_model.tasks import beliefs
from lexiseg_model.tasks.options import Query
from lexiseg_model.tasks.outcome import Calibration, Pieces, outcome, segmentation
from lexiseg_model.types import Segmentation, Task, ThingBelief, Vocabulary
from lexiseg_model.vocabulary.scoring import Scored, score

MIN_INSTANCE = 0.0005  # of the picture; smaller regions are specks of the label map


class RegionVotes(NamedTuple):
    """Regions and their evidence.

    `votes` [N] or longer, the sum over a region's pixels of their probability; `presence` [K], a logit for each class.
    """

    regions: Regions
    votes: NDArray[np.float64]
    presence: NDArray[np.float64]


def semantic(query: Query) -> Segmentation:
    """One segment for each class that owns pixels, in the vocabulary's order; segments are disjoint.

    Without a background they cover the image.

    Raises:
        OptionError: the vocabulary is empty, or a threshold is set although every pixel must get a class.
    """
    n_classes = len(query.vocabulary.classes)
    scored = _scored(query)
    won = outcome(scored.logits, query.features.size, n_classes, query.options.keep_probability)
    pieces = Pieces(won.labels, np.arange(n_classes), won.votes, won.probability, won.rles)
    return segmentation("semantic", pieces, query, _calibration(query, scored))


def connected_regions(task: Task, query: Query) -> Segmentation:
    """Split things into the connected regions of the semantic answer, the largest of each class first; disjoint.

    In the task panoptic each class of stuff is one segment; in the task instance stuff is left out. A class that is not
    known to be stuff is a thing. Specks of things become background, and so do regions that the card's rule finds
    unlikely, so the image may not be covered. In a video all regions stay: a threshold on single frames would flicker.

    Raises:
        OptionError: as `semantic`.
    """
    scored = _scored(query)
    regions, votes, probability = _regions(task, query, scored.logits)
    rule = query.segmenter.card.panoptic.things
    if rule is not None and query.options.steady is None:
        parts = RegionVotes(regions, votes, _presence(query))
        is_thing = np.isin(regions.owner, _things(query.vocabulary))
        regions, votes, _ = without(parts, is_thing & (thing_probability(parts, rule) < rule.least))
    kept = probability if query.options.keep_probability else None
    return segmentation(task, Pieces(regions.labels, regions.owner, votes, kept), query, _calibration(query, scored))


def thing_probability(parts: RegionVotes, rule: ThingBelief) -> NDArray[np.float64]:
    """Probability [N] that each region is a whole thing of its class."""
    labels, owner = parts.regions.labels, parts.regions.owner
    n = len(owner)
    areas = np.bincount(labels.reshape(-1), minlength=n + 1)[:n]
    numbers = (parts.presence[owner], parts.votes[:n] / areas.clip(1), areas / labels.size)
    probability: NDArray[np.float64] = beliefs.thing_probability(
        beliefs.thing_weights(rule), *map(torch.from_numpy, numbers)
    ).numpy()
    return probability


def without(parts: RegionVotes, dropped: NDArray[np.bool_]) -> RegionVotes:
    """The regions that are not dropped [N], in their order; pixels of dropped ones are background."""
    remaining = np.flatnonzero(~dropped)
    number = np.full(len(dropped) + 1, len(remaining), np.uint16)
    number[remaining] = np.arange(len(remaining))
    labels: NDArray[np.uint16] = number[parts.regions.labels]
    return RegionVotes(Regions(labels, parts.regions.owner[remaining]), parts.votes[remaining], parts.presence)


def _regions(task: Task, query: Query, logits: Tensor) -> tuple[Regions, NDArray[np.float64], NDArray[np.float32]]:
    """The regions, the sum of each one's probabilities, and the probability [H, W] of each pixel's winner."""
    won = winners(logits, query.features.size, keep_probability=True)
    assert won.probability is not None
    things = _things(query.vocabulary)
    every = range(len(query.vocabulary.classes))
    smallest = max(1, int(MIN_INSTANCE * won.labels.size))
    wanted = [*every] if task == "panoptic" else things
    regions = split(won.labels, wanted, smallest, set(every) - set(things), query.options.check)
    return regions, sum_by_region(regions, won.probability), won.probability


def _presence(query: Query) -> NDArray[np.float64]:
    """Logits [K] of each class being in the image, without background words."""
    presence: NDArray[np.float64] = query.segmenter.presence(query.features, query.bank).cpu().double().numpy()
    return presence[: len(query.vocabulary.classes)]


def _calibration(query: Query, scored: Scored) -> Calibration | None:
    """The card's rule for scores with the whole-image logits of the classes; None if the card has no rule."""
    segmenter, rule = query.segmenter, query.segmenter.card.score
    if rule is None:
        return None
    whole = segmenter.whole_image(query.features, query.bank) if scored.whole_image is None else scored.whole_image
    presence = whole.cpu().double().numpy()
    return Calibration(rule, presence[: len(query.vocabulary.classes)])


def _things(vocabulary: Vocabulary) -> list[int]:
    return [index for index, entry in enumerate(vocabulary.classes) if entry.thing is not False]


def _scored(query: Query) -> Scored:
    """Logits [K, h, w] of the classes that compete, and with a background its own."""
    query.check_vocabulary()
    return score(query.segmenter, query.features, query.vocabulary, query.bank, query.refine, query.options.steady)
