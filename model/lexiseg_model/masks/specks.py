"""Specks of an answer: small islands of a class, and small holes, which belong to the class around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.cards import SpeckRule
from lexiseg_model.masks.regions import connect


def without_specks(logits: NDArray[np.float32], n_classes: int, rule: SpeckRule) -> NDArray[np.float32]:
    """As `vocabulary.scoring.without_specks`, in numpy."""
    winners = logits.argmax(0)
    components = connect(winners.astype(np.uint16))
    regions = components.painted(np.arange(len(components.areas)))
    largest = np.zeros(len(logits))
    np.maximum.at(largest, components.classes, components.areas)
    inner = np.zeros(winners.shape, bool)
    inner[1:-1, 1:-1] = True
    is_open = np.bincount(regions[~inner], minlength=len(components.areas)) > 0
    is_class, shares = components.classes < n_classes, components.areas / winners.size
    is_island = is_class & (components.areas < rule.island * largest[components.classes]) & (shares < rule.most)
    specks = is_island | (~is_class & ~is_open & (shares < rule.hole))
    cleaned = logits.copy()
    for speck in np.flatnonzero(specks):
        cells = regions == speck
        around = _winners_around(cells, winners)
        counts = np.bincount(around, minlength=1)
        if len(around) and counts.max() >= rule.border * len(around):
            here, there = int(components.classes[speck]), int(counts.argmax())
            cleaned[here][cells], cleaned[there][cells] = logits[there][cells], logits[here][cells]
    return cleaned


def _winners_around(region: NDArray[np.bool_], winners: NDArray[np.intp]) -> NDArray[np.intp]:
    """The winner beyond each side of a region's cells [h, w]."""
    sides = []
    for inside, beyond in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        for one, other in ((inside, beyond), (beyond, inside)):
            sides.append(winners[other][region[one] & ~region[other]])
    return np.concatenate(sides)
