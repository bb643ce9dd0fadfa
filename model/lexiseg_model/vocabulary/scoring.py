"""Logits of classes and nobody for the cells or regions of an image, refined."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.masks import lposs, pamr
from lexiseg_model.masks.specks import without_specks
from lexiseg_model.segmenter import Regions, RowsOf, Segmenter
from lexiseg_model.types import LongLists, Refinement, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of

LOG_OF_NOTHING = -20.0
MAX_BEHIND = 8.0  # bound of a class's lack of presence, a logarithm
MAX_AT_FULL_SIZE = 2**27  # logits of classes and pixels: half a gigabyte
MARGIN = 1e-3  # logits by which a row that must not win stays behind; more than any rounding
Steady = Callable[[Tensor], Tensor]  # averages the logits of a frame with those of the frames before


def score_vocabulary(
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    rows_of: RowsOf,
    refine: Refinement = "none",
    steady: Steady | None = None,
    specks: bool = False,
) -> Tensor:
    """Logits [K, h, w] of the classes; with a background one more row, for nobody. The highest wins.

    Args:
        segmenter: the model.
        features: of the image.
        vocabulary: at least one class.
        rows_of: gives text rows.
        refine: how the logits follow the colours or regions of the image.
        steady: averages the logits over a video.
        specks: keep specks, because the caller removes them (`outcome`); else their surroundings win there.
    """
    bank = bank_of(segmenter, vocabulary, rows_of)
    competing = segmenter.competing(features, bank, refine)
    scores = competing.classes
    if segmenter.probability_scale != 1.0:
        scores = scores * segmenter.probability_scale
    logits = _with_nobody(segmenter, features, scores, competing.others, vocabulary, refine)
    if steady is not None:
        logits = steady(logits)
    if segmenter.card.long_lists is not None:
        logits = step_back(logits, len(vocabulary.classes), segmenter.card.long_lists)
    if refine == "pamr" and not competing.refined:
        logits = refine_logits(logits, partial(pamr.refine, image=segmenter.guide(features)))
    elif refine == "lposs":
        patches, picture = segmenter.patches(features), segmenter.colours(features)
        logits = refine_logits(logits, partial(lposs.refine, patches=patches, picture=picture))
    elif refine == "regions":
        refined = segmenter.by_regions(features, logits)
        logits = vote(logits, segmenter.regions(features)) if refined is None else refined
    if specks:
        return logits
    # The average must stay as it is for the next frame.
    return without_specks(logits if steady is None else logits.clone(), len(vocabulary.classes), segmenter.specks)


def score_regions(
    segmenter: Segmenter, features: Features, vocabulary: Vocabulary, rows_of: RowsOf, embeddings: Tensor
) -> Tensor:
    """Logits [K, N] of the classes for regions; with a background a last row more, for nobody.

    Args:
        segmenter: a model with masks of its own.
        features: of the image that the regions are in.
        vocabulary: at least one class.
        rows_of: gives text rows.
        embeddings: [N, D], of `Segmenter.propose` or `Segmenter.embed_masks`; N is at least 1.

    Raises:
        TaskError: the method has no masks of its own.
    """
    bank = bank_of(segmenter, vocabulary, rows_of)
    logits = segmenter.region_scores(features, embeddings, bank) * segmenter.probability_scale
    # The rule of nobody sees regions as cells of an image one cell high.
    return _with_nobody(segmenter, features, logits[:, None], None, vocabulary, "none")[:, 0]


def refine_logits(logits: Tensor, refine: Callable[[Tensor], Tensor]) -> Tensor:
    """Refine the probabilities of the rows that win anywhere; other rows could not win after it.

    The other rows share equally what the refined probabilities leave of 1, but never enough to win.

    Args:
        logits: [K, h, w].
        refine: probabilities [k, h, w] -> refined ones [k, H, W], of PAMR or LPOSS.

    Returns:
        Logits [K, H, W], whose softmax are the refined probabilities.
    """
    probability = logits.softmax(0)
    winning = torch.bincount(logits.argmax(0).flatten(), minlength=len(logits)).nonzero()[:, 0]
    refined = refine(probability[winning])
    spread = refined.new_empty(len(logits), *refined.shape[1:])
    kept = refined.clamp_min(math.exp(LOG_OF_NOTHING)).log()
    if len(winning) < len(logits):
        left = (1 - refined.sum(0)) / (len(logits) - len(winning))
        spread[:] = torch.minimum(left.clamp_min(math.exp(LOG_OF_NOTHING)).log(), _too_low_to_win(kept))
    spread[winning] = kept
    return spread


def step_back(logits: Tensor, n_classes: int, rule: LongLists) -> Tensor:
    """Lower the logits of classes that are hardly present: in a long list some class always fits a speck better.

    Nobody keeps its distance to each cell's winner.

    Args:
        logits: [K, h, w] of the classes, and one more row for nobody if there is a background.
        n_classes: K.
        rule: of the model's card.
    """
    strength = rule.strength(n_classes)
    if not strength:
        return logits
    # A quarter of the cells is enough for a mean.
    presence = logits[:, ::2, ::2].softmax(0)[:n_classes].mean((1, 2)).clamp_min(math.exp(LOG_OF_NOTHING)).log()
    behind = (presence.max() - rule.lead - presence).clamp(0, MAX_BEHIND)
    classes = logits[:n_classes] - strength * behind[:, None, None]
    if len(logits) == n_classes:
        return classes
    best, winner = classes.max(0)
    return torch.cat([classes, (logits[n_classes] + best - logits.gather(0, winner[None])[0])[None]])


def vote(logits: Tensor, regions: Regions) -> Tensor:
    """Average probabilities inside regions.

    A cell's probability becomes the mean of its own, of weight 1, and of the mean probabilities of the regions that it
    lies in, weighted by the region's weight and by the share of the cell that belongs to it.

    Args:
        logits: [K, h, w].
        regions: of the image.

    Returns:
        Logits [K, h, w], whose softmax are the averaged probabilities.
    """
    if not len(regions.weight):
        return logits
    own = logits.softmax(0).flatten(1)  # [K, h*w]
    share = regions.share.flatten(1)  # [N, h*w]
    views = (own @ share.T) / share.sum(1).clamp_min(1e-6)  # [K, N]
    votes = (views * regions.weight) @ share  # [K, N] x [N, h*w]
    voted = (own + votes) / (1 + regions.weight @ share)
    return voted.clamp_min(math.exp(LOG_OF_NOTHING)).log().view_as(logits)


def by_most(logits: Tensor, regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Give every region the label of most of its cells, by exchanging logits where another label wins.

    Args:
        logits: [K, h, w].
        regions: [h', w'] of integers, 0 for none.
        size: (H, W) of the image.

    Returns:
        Logits [K, H, W], or [K, h', w'] where that would be more than `MAX_AT_FULL_SIZE` numbers.
    """
    shape = size if len(logits) * math.prod(size) <= MAX_AT_FULL_SIZE else (regions.shape[0], regions.shape[1])
    logits = F.interpolate(logits[None], size=shape, mode="bilinear", align_corners=False)[0]
    regions = F.interpolate(regions[None, None].double(), size=shape, mode="nearest")[0, 0].long().to(logits.device)
    best, winner = logits.max(0)
    wanted = label_of_most(winner, regions, len(logits))
    own = logits.gather(0, wanted[None])
    return logits.scatter_(0, winner[None], own).scatter_(0, wanted[None], best[None])


def label_of_most(labels: Tensor, regions: Tensor, n_labels: int) -> Tensor:
    """Labels [h, w] after each region took the label of most of its cells, the lowest of equal ones."""
    places = (regions * n_labels + labels).flatten()
    counts = torch.bincount(places, minlength=(int(regions.max()) + 1) * n_labels).view(-1, n_labels)
    return torch.where(regions > 0, counts.argmax(1)[regions], labels)


def _too_low_to_win(logits: Tensor) -> Tensor:
    """The highest logits [h, w] of another row that wins nowhere, at the pixels of [K, h, w] or between them.

    Between four pixels some row never falls below its lowest of the four.
    """
    between = -F.max_pool2d(-logits, 2, 1, padding=1)  # [K, h + 1, w + 1], outermost of edge pixels alone
    least: Tensor = -F.max_pool2d(-between.amax(0)[None], 2, 1)[0]
    return least - MARGIN


def _with_nobody(
    segmenter: Segmenter,
    features: Features,
    logits: Tensor,
    others: Tensor | None,
    vocabulary: Vocabulary,
    refine: Refinement,
) -> Tensor:
    """Logits [K, h, w] of classes and background words -> of classes and, with a background, nobody.

    `others` [h, w]: as in `Competing`.
    """
    if vocabulary.background is None:
        return logits
    n_classes = len(vocabulary.classes)
    threshold = vocabulary.background.threshold
    with torch.inference_mode():
        nobody = _nobody_logits(segmenter, features, logits, others, n_classes, threshold, refine)
        if len(logits) == n_classes:
            return torch.cat([logits, nobody[None]])
        return logits if len(logits) == n_classes + 1 else logits[: n_classes + 1]


def _nobody_logits(
    segmenter: Segmenter,
    features: Features,
    logits: Tensor,
    others: Tensor | None,
    n_classes: int,
    threshold: float | None,
    refine: Refinement,
) -> Tensor:
    """[h, w]: the best background word, at least the logit that a class must beat.

    Where there are background words, it overwrites the first.
    """
    rule = segmenter.card.background
    relief = rule.relief(n_classes)
    crowd = logits if others is None else torch.cat([logits, others[None]])
    must_beat = segmenter.nobody_score(crowd, threshold, refine, features)
    if relief:
        must_beat = must_beat + relief * rule.offset
    if len(logits) == n_classes:
        return must_beat.expand(logits.shape[1:])
    nobody = logits[n_classes]
    if len(logits) > n_classes + 1:
        nobody.copy_(logits[n_classes:].amax(0))
    if relief:
        nobody.sub_(relief * rule.margin)
    return torch.maximum(must_beat, nobody, out=nobody)
