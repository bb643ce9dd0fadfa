"""Class logits of an image's cells or regions: scores, background rule, long lists, refinement, specks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.abilities import colours_of, guide_of, regions_of
from lexiseg_model.cards import SpeckRule
from lexiseg_model.catalogue.method import names_missing_library
from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.internal import region_refinement_of
from lexiseg_model.kernel import library
from lexiseg_model.masks import pamr
from lexiseg_model.masks.regions import connect
from lexiseg_model.segmenter import Competing, RowsOf, Segmenter, TextBank, words_of
from lexiseg_model.types import Refinement, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of

MIN_LOG_PROBABILITY = -20.0
MARGIN = 1e-3  # logits by which a row that must not win stays below; exceeds any rounding
Steady = Callable[[Tensor], Tensor]  # averages the logits of a video frame with earlier frames'


class Scored(NamedTuple):
    """Logits as of `score_vocabulary`; `whole_image` [K] as of `Segmenter.whole_image`, where they are made with it."""

    logits: Tensor
    whole_image: Tensor | None


def score_vocabulary(
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    rows_of: RowsOf,
    refine: Refinement = "none",
) -> Tensor:
    """Logits [K, h, w] of classes, and with a background [K + 1, h, w]: the last row is its own. The highest wins."""
    return score(segmenter, features, vocabulary, bank_of(segmenter, vocabulary, rows_of), refine).logits


def score(
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    bank: TextBank,
    refine: Refinement = "none",
    steady: Steady | None = None,
) -> Scored:
    """As `score_vocabulary`, with the bank of the vocabulary; `steady` averages the logits over a video."""
    competing = segmenter.competing(features, bank, refine)
    scores = competing.classes
    if segmenter.probability_scale != 1.0:
        scores = scores * segmenter.probability_scale
    # Over a video logits change, and their own sum is taken.
    total = _everything(scores, competing.others).logsumexp(0) if refine == "regions" and steady is None else None
    logits = _with_background(segmenter, features, scores, competing, vocabulary, refine)
    if steady is not None:
        logits = steady(logits)
    if refine == "pamr" and not competing.refined:
        logits = refine_logits(logits, partial(pamr.refine, image=guide_of(segmenter, features)))
    elif refine == "lposs":
        with names_missing_library("refine lposs", OptionError):
            from lexiseg_model.masks import lposs  # imports scipy, a tenth of the start of a command

        patches, picture = segmenter.likeness(features), colours_of(segmenter, features)
        logits = refine_logits(logits, partial(lposs.refine, patches=patches, picture=picture))
    elif refine == "regions":
        logits = region_refinement_of(segmenter).by_regions(features, logits, total)
    if (rule := segmenter.card.specks) is not None:
        logits = without_specks(logits, len(vocabulary.classes), rule)
    return Scored(logits, competing.whole_image)


def without_specks(logits: Tensor, n_classes: int, rule: SpeckRule) -> Tensor:
    """Logits [K, h, w] in which the class around each speck wins its cells: the two exchange their logits there.

    Rows from `n_classes` on are background. The argument stays as it is.
    """
    numbers = logits.float().contiguous().numpy(force=True)
    if library.ready():
        cleaned, limits = np.empty_like(numbers), (rule.island, rule.most, rule.hole, rule.border)
        library.call("specks", numbers, len(numbers), n_classes, *numbers.shape[1:], *limits, cleaned)
        return torch.from_numpy(cleaned).to(logits)
    winners = numbers.argmax(0)
    components = connect(winners.astype(np.uint16))
    regions = components.painted(np.arange(len(components.areas)))
    largest = np.zeros(len(numbers))
    np.maximum.at(largest, components.classes, components.areas)
    inner = np.zeros(winners.shape, bool)
    inner[1:-1, 1:-1] = True
    is_open = np.bincount(regions[~inner], minlength=len(components.areas)) > 0
    is_class, shares = components.classes < n_classes, components.areas / winners.size
    is_island = is_class & (components.areas < rule.island * largest[components.classes]) & (shares < rule.most)
    specks = is_island | (~is_class & ~is_open & (shares < rule.hole))
    cleaned = numbers.copy()
    for speck in np.flatnonzero(specks):
        cells = regions == speck
        beyond = []  # the winner on the other side of each edge of the speck
        for inside, outside in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            for one, other in ((inside, outside), (outside, inside)):
                beyond.append(winners[other][cells[one] & ~cells[other]])
        around = np.concatenate(beyond)
        counts = np.bincount(around, minlength=1)
        if len(around) and counts.max() >= rule.border * len(around):
            here, there = int(components.classes[speck]), int(counts.argmax())
            cleaned[here][cells], cleaned[there][cells] = numbers[there][cells], numbers[here][cells]
    return torch.from_numpy(cleaned).to(logits)


def score_regions(
    segmenter: Segmenter, features: Features, vocabulary: Vocabulary, bank: TextBank, embeddings: Tensor
) -> Tensor:
    """Class logits [K, N] of regions; with a background [K + 1, N], the last row its own.

    `embeddings` [N, D] are of `Proposing.propose` or `Regions.embed_masks`, N at least 1. Raises TaskError: the method
    does not classify masks.
    """
    logits = regions_of(segmenter).region_scores(features, embeddings, bank) * segmenter.probability_scale
    # For the background rule regions are an image one cell high.
    return _with_background(segmenter, features, logits[:, None], Competing(logits), vocabulary, "none")[:, 0]


def _with_background(
    segmenter: Segmenter,
    features: Features,
    logits: Tensor,
    competing: Competing,
    vocabulary: Vocabulary,
    refine: Refinement,
) -> Tensor:
    """Logits [K, h, w] of classes and background words -> of classes and, where there is one, the background, by
    `others` and `whole_image` of `competing`."""
    if vocabulary.background is None:
        return logits
    n_classes = len(vocabulary.classes)
    threshold = vocabulary.background.threshold
    with torch.inference_mode():
        background = _background_logits(segmenter, features, logits, competing.others, n_classes, threshold, refine)
        rule, presence = segmenter.card.background, competing.whole_image
        if rule.gives_way and presence is not None:
            stuff = torch.tensor([entry.thing is False for entry in vocabulary.classes], device=logits.device)
            background = background - rule.gives_way * gives_way(logits[:n_classes], presence[:n_classes], stuff)
            logits[n_classes : n_classes + 1] = background
        if len(logits) == n_classes:
            return torch.cat([logits, background[None]])
        return logits if len(logits) == n_classes + 1 else logits[: n_classes + 1]


def _everything(logits: Tensor, others: Tensor | None) -> Tensor:
    return logits if others is None else torch.cat([logits, others[None]])


def _background_logits(
    segmenter: Segmenter,
    features: Features,
    logits: Tensor,
    others: Tensor | None,
    n_classes: int,
    threshold: float | None,
    refine: Refinement,
) -> Tensor:
    """The background's logits [h, w]: the best background word, but at least the bound that classes must exceed.

    Overwrites the first background word's row, if there is one.
    """
    rule = segmenter.card.background
    factor = float(relief(*torch.tensor([n_classes, rule.fades_at], dtype=torch.float64)))
    competitors = _everything(logits, others)
    bound = words_of(segmenter).background_score(competitors, threshold, refine, features)
    if factor:
        bound = bound + factor * rule.offset
    if len(logits) == n_classes:
        return bound.expand(logits.shape[1:])
    background = logits[n_classes]
    if len(logits) > n_classes + 1:
        background.copy_(logits[n_classes:].amax(0))
    if factor:
        background.sub_(factor * rule.margin)
    return torch.maximum(bound, background, out=background)


def gives_way(logits: Tensor, presence: Tensor, stuff: Tensor) -> Tensor:
    """Where the background falls [h, w], 0 or 1: the best class is stuff [K] with a `presence` [K] above 0.

    Wide surfaces have no outline that the learned bound could respect. `logits` [K, h, w] of the classes; in tensor
    operations, of which a browser runs a graph.
    """
    # By two maxima: `argmax` over rows takes ten times as long.
    is_there = ((presence > 0) & stuff).view(-1, *[1] * (logits.dim() - 1))
    best_stuff, best_other = (
        (logits + torch.where(rows, 0.0, -torch.inf).to(logits)).amax(0) for rows in (is_there, ~is_there)
    )
    return (best_stuff > best_other).to(logits.dtype)


def relief(n_classes: Tensor, fades_at: Tensor) -> Tensor:
    """The factor [] in 0..1 of a rule's `offset` and `margin`: 1 for one class, 0 from `fades_at` [] classes on.

    In tensor operations: a browser runs a graph of it.
    """
    return (1 - n_classes.log() / fades_at.log()).clamp_min(0)


def refine_logits(logits: Tensor, refine: Callable[[Tensor], Tensor]) -> Tensor:
    """Refine the probabilities of the rows that win some cell; other rows could not win afterwards.

    The other rows share the remaining probability equally, capped so that they do not win. Logits [K, h, w] become [K,
    H, W], as `refine` makes probabilities [k, H, W] of such [k, h, w].
    """
    probability = logits.softmax(0)
    winning = torch.bincount(logits.argmax(0).flatten(), minlength=len(logits)).nonzero()[:, 0]
    refined = refine(probability[winning])
    result = refined.new_empty(len(logits), *refined.shape[1:])
    winning_logits = refined.clamp_min(math.exp(MIN_LOG_PROBABILITY)).log()
    if len(winning) < len(logits):
        rest = (1 - refined.sum(0)) / (len(logits) - len(winning))
        result[:] = torch.minimum(rest.clamp_min(math.exp(MIN_LOG_PROBABILITY)).log(), _losing_logits(winning_logits))
    result[winning] = winning_logits
    return result


def _losing_logits(logits: Tensor) -> Tensor:
    """Logits [h, w] for another row that loses to [K, h, w] at all pixels, also after bilinear interpolation: between
    four pixels a row never falls below its lowest of the four."""
    lowest = -F.max_pool2d(-logits, 2, 1, padding=1)  # [K, h + 1, w + 1], the outermost of edge pixels only
    bound: Tensor = -F.max_pool2d(-lowest.amax(0)[None], 2, 1)[0]
    return bound - MARGIN
