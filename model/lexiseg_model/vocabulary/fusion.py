"""Words and examples of a class together: a linear head for each picture, as in Retrieve and Segment (CVPR 2026).

The head learns from the examples that are nearest to the picture's cells, from mixtures of examples and texts, and, for
classes without examples, from the picture's own cells that their texts win. Two things differ from the paper: the head
starts at zero instead of at random, so an answer is always the same, and classes that none of these rows show are left
out of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.features import Derived, Features
from lexiseg_model.segmenter import Support, TextBank

NEAREST = 4  # examples of each cell that count
SHARES = (0.9, 0.8, 0.6, 0.4, 0.2, 0.0)  # of what is seen in a mixture with a text
PICTURE_SCALE = 10.0  # of the cosines of texts with the whole picture: how much each class counts
TEXT_SCALE = 100.0  # of the cosines that make soft labels
MIXED, PSEUDO = 1.5, 0.2  # weights of the losses beside that of the examples
STEPS, RATE, DECAY = 700, 0.002, 5e-4  # of AdamW
NOWHERE = -1e3  # logit of a class that nothing in the picture or its examples shows


def of_picture(features: Features, bank: TextBank, cells: Callable[[], Tensor], scale: float) -> TextBank:
    """The bank that scores a picture: itself, or `fused` where classes have both words and examples.

    The last picture's is kept with the bank: its scores and its absent labels ask for the same.

    Args:
        features: of the picture.
        bank: of the vocabulary.
        cells: makes the unit vectors [N, D] of the picture's cells or regions; none leave the bank as it is.
        scale: of scores, before they are logits.
    """
    if bank.support is None:
        return bank
    kept: tuple[weakref.ref[Derived], TextBank] | None = bank.derived.get("fused")
    if kept is not None and kept[0]() is features.derived:
        return kept[1]
    seen = cells()
    made = fused(seen, bank.support, bank.n_classes, scale) if len(seen) else bank
    bank.derived["fused"] = (weakref.ref(features.derived), made)
    return made


class Rows(NamedTuple):
    """What the head learns from: unit `vectors` [M, D], `labels` [M, K] that sum to 1, `weight` [M] of each loss."""

    vectors: Tensor
    labels: Tensor
    weight: Tensor


def fused(cells: Tensor, support: Support, n_classes: int, scale: float) -> TextBank:
    """A bank of one vector for each class, fitted to one picture.

    Args:
        cells: unit vectors [N, D] of the picture's cells.
        support: texts and examples of the classes.
        n_classes: K, background words included.
        scale: of scores, before they are logits; the vectors are divided by it.

    Returns:
        `vectors` [K, D] and `levels` [K]: the head and its bias.
    """
    rows = training_rows(cells, support, n_classes)
    shown = rows.labels.amax(0) > 0  # [K]
    weight, bias = fit(Rows(rows.vectors, rows.labels[:, shown], rows.weight))
    vectors = cells.new_zeros(n_classes, cells.shape[1])
    levels = cells.new_full((n_classes,), NOWHERE)
    vectors[shown], levels[shown] = weight / scale, bias
    return TextBank(vectors, np.arange(n_classes), n_classes, has_examples=True, levels=levels)


def training_rows(cells: Tensor, support: Support, n_classes: int) -> Rows:
    """Retrieved examples, mixtures and pseudo-examples of cells [N, D], in this order."""
    examples, texts = support.examples, support.texts
    by_class = F.one_hot(support.text_owner, n_classes).float()  # [T, K]
    retrieved = _distinct((cells @ examples.T).topk(min(NEAREST, len(examples)), 1).indices)
    owner = support.example_owner[retrieved]
    means = _means(examples, support.example_owner, n_classes)

    seen = torch.isin(support.text_owner, owner)  # [T]
    mixed = _mixtures(means[support.text_owner[seen]], texts[seen])
    mixed_owner = support.text_owner[seen].repeat(len(SHARES))

    best = (cells @ texts.T).argmax(1)
    lone = _distinct(best)
    lone = lone[~torch.isin(support.text_owner[lone], support.example_owner)]
    pseudo = _mixtures(_means(cells, best, len(texts))[lone], texts[lone])
    soft = (TEXT_SCALE * pseudo @ texts.T).softmax(1) @ by_class  # [M, T] x [T, K]
    hard = F.one_hot(torch.cat([owner, mixed_owner]), n_classes).float()
    possible = _distinct(torch.cat([owner, mixed_owner, soft.argmax(1)]))
    kept = torch.zeros(n_classes, device=cells.device).index_fill(0, possible, 1.0)
    soft = soft * kept / (soft @ kept)[:, None]
    labels = torch.cat([hard, soft])

    counts = _class_weights(cells, support, by_class)[labels.argmax(1)]
    beta = torch.tensor([1.0, MIXED, PSEUDO], device=cells.device)
    sizes = torch.tensor([len(owner), len(mixed), len(pseudo)], device=cells.device)
    weight = counts / counts.sum() * beta.repeat_interleave(sizes)
    return Rows(torch.cat([examples[retrieved], mixed, pseudo]), labels, weight)


def fit(rows: Rows) -> tuple[Tensor, Tensor]:
    """Weight [K, D] and bias [K] of a linear head that learned the rows by cross-entropy."""
    inputs = F.pad(rows.vectors, (0, 1), value=1.0)  # [M, D + 1]
    share = (rows.weight / len(inputs))[:, None]
    head = torch.nn.Parameter(inputs.new_zeros(rows.labels.shape[1], inputs.shape[1]), requires_grad=False)
    optimiser = torch.optim.AdamW([head], lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        # The gradient of both losses, cross-entropy and Kullback-Leibler.
        head.grad = ((inputs @ head.T).softmax(1) - rows.labels).mul_(share).T @ inputs
        optimiser.step()
    return head[:, :-1], head[:, -1]


def _class_weights(cells: Tensor, support: Support, by_class: Tensor) -> Tensor:
    """[K]: how likely each class is in the picture by its texts; all alike where some class has none."""
    n_classes = by_class.shape[1]
    if not bool(by_class.any(0).all()):
        return cells.new_full((n_classes,), 1 / n_classes)
    picture = F.normalize(cells.mean(0), dim=0)
    return (PICTURE_SCALE * support.texts @ picture).softmax(0) @ by_class


def _means(vectors: Tensor, owner: Tensor, n: int) -> Tensor:
    """[n, D]: unit means of the vectors [M, D] of each owner [M]; zero where it has none."""
    return F.normalize(vectors.new_zeros(n, vectors.shape[1]).index_add(0, owner, vectors), dim=1)


def _distinct(numbers: Tensor) -> Tensor:
    """[M] ascending."""
    distinct: Tensor = torch.unique(numbers)
    return distinct


def _mixtures(seen: Tensor, texts: Tensor) -> Tensor:
    """[6 M, D] of unit vectors: seen [M, D] and texts [M, D] in all shares, one share after the other."""
    return torch.cat([F.normalize(share * seen + (1 - share) * texts, dim=1) for share in SHARES])
