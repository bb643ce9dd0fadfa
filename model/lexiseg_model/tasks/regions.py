"""Things as connected regions of a class's pixels, as many as the card's rule believes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.cards import ThingBelief
from lexiseg_model.masks.regions import split
from lexiseg_model.masks.upsample import winners
from lexiseg_model.tasks.options import Query
from lexiseg_model.tasks.pixels import Pieces, calibrate, score_query, segmentation
from lexiseg_model.types import Segmentation, Task, Vocabulary

MIN_INSTANCE = 0.0005  # of the picture; smaller regions are specks of the label map
MIN_SHARE = 1e-6  # keeps the logarithms of a region finite


def connected_regions(task: Task, query: Query) -> Segmentation:
    """Split things into the connected regions of the semantic answer, the largest of each class first; disjoint.

    In the task panoptic each class of stuff is one segment; in the task instance stuff is left out. A class that is not
    known to be stuff is a thing. Specks of things become background, and so do regions that the card's rule finds
    unlikely, so the image may not be covered. In a video all regions stay: a threshold on single frames would flicker.
    """
    scored = score_query(query)
    pieces, rule = _regions(task, query, scored.logits), query.segmenter.card.panoptic.things
    if rule is not None and query.options.steady is None:
        pieces = _without_unlikely(pieces, query, rule)
    if not query.options.keep_probability:
        pieces = pieces._replace(probability=None)
    return segmentation(task, pieces, query, calibrate(query, scored))


def _without_unlikely(pieces: Pieces, query: Query, rule: ThingBelief) -> Pieces:
    n, owner = len(pieces.owner), pieces.owner
    areas = np.bincount(pieces.labels.reshape(-1), minlength=n + 1)[:n]
    presence = query.segmenter.presence(query.features, query.bank).cpu().double().numpy()
    numbers = (presence[owner], pieces.votes[:n] / areas.clip(1), areas / pieces.labels.size)
    belief = thing_probability(thing_weights(rule), *map(torch.from_numpy, numbers)).numpy()
    remaining = np.flatnonzero(~(np.isin(owner, _things(query.vocabulary)) & (belief < rule.least)))
    number = np.full(n + 1, len(remaining), np.uint16)
    number[remaining] = np.arange(len(remaining))
    return Pieces(number[pieces.labels], owner[remaining], pieces.votes[remaining], pieces.probability)


def _regions(task: Task, query: Query, logits: Tensor) -> Pieces:
    """The regions of things, and in the task panoptic each class of stuff."""
    won = winners(logits, query.features.size, keep_probability=True)
    assert won.probability is not None
    things = _things(query.vocabulary)
    every = range(len(query.vocabulary.classes))
    smallest = max(1, int(MIN_INSTANCE * won.labels.size))
    classes = [*every] if task == "panoptic" else things
    regions = split(won.labels, classes, smallest, set(every) - set(things), query.options.check)
    sums = np.bincount(regions.labels.reshape(-1), won.probability.reshape(-1), len(regions.owner) + 1)
    return Pieces(regions.labels, regions.owner, sums.astype(np.float64), won.probability)


def _things(vocabulary: Vocabulary) -> list[int]:
    return [index for index, entry in enumerate(vocabulary.classes) if entry.thing is not False]


def thing_weights(rule: ThingBelief) -> Tensor:
    """The weights [4] float64 of `thing_probability`."""
    return torch.tensor([rule.probability, rule.area, rule.presence, rule.bias], dtype=torch.float64)


def thing_evidence(presence: Tensor, probability: Tensor, area: Tensor) -> Tensor:
    """Logarithms [N, 3] of mean probability, share of the image, and the presence of the class in 0..1."""
    shares = (each.clamp_min(MIN_SHARE).log() for each in (probability, area))
    return torch.stack([*shares, F.logsigmoid(presence)], 1)


def thing_probability(weights: Tensor, presence: Tensor, probability: Tensor, area: Tensor) -> Tensor:
    """Probability [N] that each region is a whole thing of its class; float64."""
    return (thing_evidence(presence, probability, area) @ weights[:3] + weights[3]).sigmoid()
