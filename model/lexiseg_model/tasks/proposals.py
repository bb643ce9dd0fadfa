"""Tasks of methods with masks of things: each has a class or takes its best one, then they compete for the pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.masks.pamr import refine_masks
from lexiseg_model.masks.panoptic import Merged, merge
from lexiseg_model.segmenter import NamedMasks, RowsOf, Segmenter
from lexiseg_model.tasks.options import Options, check_vocabulary
from lexiseg_model.tasks.pieces import Pieces, segmentation
from lexiseg_model.types import Segmentation, Task, Vocabulary
from lexiseg_model.vocabulary.bank import bank_of
from lexiseg_model.vocabulary.scoring import score_regions


def merged_proposals(
    task: Task, segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf
) -> Segmentation:
    """Proposals merged by the card's rule as in Mask2Former, class by class, the surest of each class first; disjoint.

    Where the task is panoptic, the stuff of one class is one segment; where it is instance, stuff competes but is
    nobody's in the answer: instances are the things of the panoptic answer. A class of which nobody knows whether it
    is a thing counts as one. What no proposal explains is nobody's, whatever the background rule.

    Raises:
        OptionError: the vocabulary is empty, or a threshold is set although every pixel must get a class.
        TaskError: the method has no masks of its own.
    """
    check_vocabulary(vocabulary, options)
    options.check()
    proposals = segmenter.propose(features)
    options.check()
    share, owner = _best_classes(segmenter, features, vocabulary, rows_of, proposals.embeddings)
    return _merged(task, segmenter, features, vocabulary, options, NamedMasks(proposals.masks, share, owner))


def merged_named_masks(
    task: Task, segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf
) -> Segmentation:
    """As `merged_proposals`, of masks that the method finds by the words themselves (`Segmenter.named_masks`).

    Raises:
        OptionError: the vocabulary is empty, or a threshold is set although every pixel must get a class.
    """
    check_vocabulary(vocabulary, options)
    options.check()
    masks = segmenter.named_masks(features, bank_of(segmenter, vocabulary, rows_of))
    options.check()
    return _merged(task, segmenter, features, vocabulary, options, masks)


def _merged(
    task: Task,
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options,
    named: NamedMasks,
) -> Segmentation:
    rule, (masks, share, owner) = segmenter.card.panoptic, named
    competes = ((owner < len(vocabulary.classes)) & (share > rule.score)).nonzero()[:, 0]
    masks, share, owner = masks[competes].float(), share[competes], owner[competes]
    if (options.refine or segmenter.card.refine) == "pamr":
        masks = refine_masks(masks, segmenter.guide(features))
    merged = merge(masks, share, features.size, rule.overlap, options.keep_probability, options.check)
    pieces = _pieces(task, merged, owner.cpu().numpy(), share.double().cpu().numpy(), vocabulary)
    return segmentation(task, pieces, vocabulary, options)


def _best_classes(
    segmenter: Segmenter, features: Features, vocabulary: Vocabulary, rows_of: RowsOf, embeddings: Tensor
) -> tuple[Tensor, Tensor]:
    """Of each proposal, the probability of the best of classes and nobody, and which that is: [N] each."""
    if not len(embeddings):
        return embeddings.new_zeros(0), torch.zeros(0, dtype=torch.int64, device=embeddings.device)
    share, owner = score_regions(segmenter, features, vocabulary, rows_of, embeddings).softmax(0).max(0)
    return share, owner


def _pieces(
    task: Task, merged: Merged, owner: NDArray[np.int64], share: NDArray[np.float64], vocabulary: Vocabulary
) -> Pieces:
    """Things stay apart, the stuff of one class joins; each pixel votes with its proposal's probability."""
    owners: list[int] = []
    votes: list[float] = []
    nobody = len(owner)  # more than any piece's index
    piece_of = np.full(len(owner) + 1, nobody, np.uint16)
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
