"""Which regions of things are believed: most of a long list's regions are specks of classes that are not there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.masks.regions import Regions
from lexiseg_model.types import ThingBelief

TINY = 1e-6  # whose logarithm nothing falls below


class Seen(NamedTuple):
    """Regions and what is known of them.

    `votes` [N] or longer, the sum over a region's pixels of their probability; `presence` [K] of the classes.
    """

    regions: Regions
    votes: NDArray[np.float64]
    presence: NDArray[np.float64]


def evidence(seen: Seen) -> NDArray[np.float64]:
    """[N, 3]: logarithms of mean probability, of the share of the picture, and of the presence of the class in 0..1."""
    labels, owner = seen.regions.labels, seen.regions.owner
    n = len(owner)
    areas = np.bincount(labels.reshape(-1), minlength=n + 1)[:n]
    mean = seen.votes[:n] / areas.clip(1)
    there = -np.logaddexp(0, -seen.presence)  # the logarithm of the logistic function: sure is sure
    return np.stack([np.log(mean.clip(TINY)), np.log((areas / labels.size).clip(TINY)), there[owner]], 1)


def belief(seen: Seen, rule: ThingBelief) -> NDArray[np.float64]:
    """[N] in 0..1: how likely each region is a whole thing of its class."""
    logits = evidence(seen) @ np.array([rule.probability, rule.area, rule.presence]) + rule.bias
    believed: NDArray[np.float64] = 1 / (1 + np.exp(-logits))
    return believed


def without(seen: Seen, gone: NDArray[np.bool_]) -> Seen:
    """The regions that are not `gone` [N], in their order; the others' pixels are nobody's."""
    kept = np.flatnonzero(~gone)
    number = np.full(len(gone) + 1, len(kept), np.uint16)
    number[kept] = np.arange(len(kept))
    labels: NDArray[np.uint16] = number[seen.regions.labels]
    return Seen(Regions(labels, seen.regions.owner[kept]), seen.votes[kept], seen.presence)
