"""Instance and panoptic tasks of methods with masks: each mask has a class, then masks compete for the pixels.

Overlapping masks are merged into disjoint ones as in Mask2Former (Cheng et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import Detection, NamedMasks, guide_of, proposing
from lexiseg_model.masks.pamr import refine_masks
from lexiseg_model.masks.upsample import contest, cut
from lexiseg_model.tasks.options import Query
from lexiseg_model.tasks.pixels import Pieces, segmentation
from lexiseg_model.types import LabelMap, Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.scoring import score_regions


class Merged(NamedTuple):
    """Disjoint masks."""

    labels: LabelMap  # [H, W] index of the mask that owns a pixel, N for the background
    areas: NDArray[np.int64]  # [N] pixels that each mask owns
    probability: NDArray[np.float32] | None  # [H, W] of each pixel's winner, the background included, if requested


@torch.inference_mode()
def merge(
    masks: Tensor,
    shares: Tensor,
    size: tuple[int, int],
    overlap: float,
    keep_probability: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Merged:
    """Assign each pixel to the mask with the highest share * sigmoid(mask), if that mask covers it (logit >= 0).

    Masks, logits [N, h, w] with class probabilities `shares` [N], are upsampled bilinearly to `size` (H, W); N may be
    0. One that wins less than the share `overlap` of the pixels it covers is dropped. The probability of a pixel is
    share * sigmoid(mask) of its owner, 1 minus it for the background. `check` may raise to cancel.
    """
    n = len(masks)
    labels = np.full(size, n, np.uint16)
    probability = np.ones(size, np.float32) if keep_probability else None
    if not n:
        return Merged(labels, np.zeros(0, np.int64), probability)
    share = shares.cpu().double().log().float().to(masks.device)

    def worth(logits: Tensor, rows: Tensor) -> Tensor:
        return F.logsigmoid(logits) + share[rows]  # in log space, so that tiny values keep their order

    edge = worth(masks.new_zeros(n), torch.arange(n, device=masks.device))  # worth of a pixel on a mask's contour
    won = np.zeros(n, np.int64)
    for strip, best, winner in contest(masks, size, worth):
        check()
        won += winner.flatten().bincount(minlength=n).numpy(force=True)
        labels[strip.rows] = torch.where(best >= edge[winner], winner, n).numpy(force=True)
        if probability is not None:
            probability[strip.rows] = best.exp().numpy(force=True)
    covered = np.zeros(n, np.int64)
    for number, mask in enumerate(masks.cpu().numpy()):
        check()
        covered[number] = np.diff(cut(mask, size)).sum()
    is_kept = (covered > 0) & (won >= overlap * covered)
    labels = np.where(np.append(is_kept, False), np.arange(n + 1), n).astype(np.uint16)[labels]
    if probability is not None:
        np.subtract(1, probability, out=probability, where=labels == n)
    return Merged(labels, np.bincount(labels.reshape(-1), minlength=n + 1)[:n], probability)


def merged_masks(task: Task, query: Query) -> Segmentation:
    """Merge masks by the card's rule, as in Mask2Former; segments are disjoint, by class, the surest first.

    The masks are what the method finds by the words, or else its proposals, each with its best class. In the task
    panoptic the stuff of one class is one segment. In the task instance stuff competes but is left out of the answer.
    """
    query.check_vocabulary()
    query.options.check()
    named = _named_masks(query)
    query.options.check()
    rule = query.segmenter.card.panoptic
    competes = ((named.owner < len(query.vocabulary.classes)) & (named.share > rule.score)).nonzero()[:, 0]
    masks, share, owner = (part[competes] for part in named)
    if query.refine == "pamr":
        masks = refine_masks(masks.float(), guide_of(query.segmenter, query.features))
    keep_probability, check = query.options.keep_probability, query.options.check
    merged = merge(masks.float(), share, query.features.size, rule.overlap, keep_probability, check)
    pieces = _pieces(task, merged, owner.cpu().numpy(), share.cpu().double().numpy(), query.vocabulary)
    return segmentation(task, pieces, query)


def _named_masks(query: Query) -> NamedMasks:
    """Masks with the probability of their best class, the background included, and the index of that class."""
    segmenter, features = query.segmenter, query.features
    if isinstance(segmenter, Detection):
        return segmenter.named_masks(features, query.bank)
    masks, embeddings, _ = proposing(segmenter).propose(features)
    query.options.check()
    if not len(masks):
        nothing = embeddings.new_zeros(0)
        return NamedMasks(masks, nothing, nothing.long())
    logits = score_regions(segmenter, features, query.vocabulary, query.bank, embeddings)
    return NamedMasks(masks, *logits.softmax(0).max(0))


def _pieces(
    task: Task, merged: Merged, owner: NDArray[np.int64], share: NDArray[np.float64], vocabulary: Vocabulary
) -> Pieces:
    """Keep things apart and join the stuff of one class; each pixel votes with the probability of its mask."""
    owners: list[int] = []
    votes: list[float] = []
    background = len(owner)  # more than any piece's index
    piece_of = np.full(len(owner) + 1, background, np.uint16)
    for proposal in np.lexsort((-share, owner)).tolist():
        index = int(owner[proposal])
        is_stuff = vocabulary.classes[index].thing is False
        if is_stuff and task == "instance":
            continue
        if not (is_stuff and owners and owners[-1] == index):
            owners.append(index)
            votes.append(0.0)
        piece_of[proposal] = len(owners) - 1
        votes[-1] += float(share[proposal] * merged.areas[proposal])
    return Pieces(piece_of[merged.labels], np.array(owners, np.int64), np.array(votes), merged.probability)
