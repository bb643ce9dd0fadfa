"""Fuse texts and examples of classes in a linear head fitted to each image, as in Retrieve and Segment (CVPR 2026).

Unlike in the paper, the head starts at zero, so results are deterministic, and classes without training rows are left
out.
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

N_NEAREST = 4  # retrieved examples of each cell
SHARES = (0.9, 0.8, 0.6, 0.4, 0.2, 0.0)  # weight of the visual vector in a mixture with a text
IMAGE_SCALE = 10.0  # of the cosines of texts with the whole image, for the class weights
TEXT_SCALE = 100.0  # of the cosines of soft labels
MIXED, PSEUDO = 1.5, 0.2  # loss weights of mixtures and pseudo-examples; examples have 1
STEPS, RATE, DECAY = 700, 0.002, 5e-4  # of AdamW
ABSENT_LOGIT = -1e3  # of a class without training rows


def bank_for_image(features: Features, bank: TextBank, cells: Callable[[], Tensor], scale: float) -> TextBank:
    """The bank that scores an image: `bank`, or `fuse` of it where classes have both texts and examples.

    The fused bank of the last image is kept. `cells` returns unit vectors [N, D]; with N = 0 nothing is fused.
    """
    if bank.support is None:
        return bank
    cached: tuple[weakref.ref[Derived], TextBank] | None = bank.derived.get("fused")
    if cached is not None and cached[0]() is features.derived:
        return cached[1]
    vectors = cells()
    fused = fuse(vectors, bank.support, bank.n_classes, scale) if len(vectors) else bank
    bank.derived["fused"] = (weakref.ref(features.derived), fused)
    return fused


class Rows(NamedTuple):
    """Training rows of the head: unit `vectors` [M, D], `labels` [M, K] that sum to 1, loss `weight` [M]."""

    vectors: Tensor
    labels: Tensor
    weight: Tensor


def fuse(cells: Tensor, support: Support, n_classes: int, scale: float) -> TextBank:
    """A bank of one vector for each of K classes, background words included, fitted to unit vectors [N, D] of cells."""
    rows = training_rows(cells, support, n_classes)
    trained = rows.labels.amax(0) > 0  # [K]
    weight, bias = fit(Rows(rows.vectors, rows.labels[:, trained], rows.weight))
    vectors = cells.new_zeros(n_classes, cells.shape[1])
    levels = cells.new_full((n_classes,), ABSENT_LOGIT)
    vectors[trained], levels[trained] = weight / scale, bias
    return TextBank(vectors, np.arange(n_classes), n_classes, has_examples=True, levels=levels)


def training_rows(cells: Tensor, support: Support, n_classes: int) -> Rows:
    """Retrieved examples, mixtures and pseudo-examples for cells [N, D], in this order."""
    examples, texts = support.examples, support.texts
    by_class = F.one_hot(support.text_owner, n_classes).float()  # [T, K]
    retrieved = torch.unique((cells @ examples.T).topk(min(N_NEAREST, len(examples)), 1).indices)
    owner = support.example_owner[retrieved]
    means = _means(examples, support.example_owner, n_classes)

    has_examples = torch.isin(support.text_owner, owner)  # [T]
    mixed = _mixtures(means[support.text_owner[has_examples]], texts[has_examples])
    mixed_owner = support.text_owner[has_examples].repeat(len(SHARES))

    best = (cells @ texts.T).argmax(1)
    unsupported = torch.unique(best)
    unsupported = unsupported[~torch.isin(support.text_owner[unsupported], support.example_owner)]
    pseudo = _mixtures(_means(cells, best, len(texts))[unsupported], texts[unsupported])
    soft = (TEXT_SCALE * pseudo @ texts.T).softmax(1) @ by_class  # [M, T] x [T, K]
    hard = F.one_hot(torch.cat([owner, mixed_owner]), n_classes).float()
    possible = torch.unique(torch.cat([owner, mixed_owner, soft.argmax(1)]))
    is_possible = torch.zeros(n_classes, device=cells.device).index_fill(0, possible, 1.0)
    soft = soft * is_possible / (soft @ is_possible)[:, None]
    labels = torch.cat([hard, soft])

    class_weight = _class_weights(cells, support, by_class)[labels.argmax(1)]
    beta = torch.tensor([1.0, MIXED, PSEUDO], device=cells.device)
    sizes = torch.tensor([len(owner), len(mixed), len(pseudo)], device=cells.device)
    weight = class_weight / class_weight.sum() * beta.repeat_interleave(sizes)
    return Rows(torch.cat([examples[retrieved], mixed, pseudo]), labels, weight)


def fit(rows: Rows) -> tuple[Tensor, Tensor]:
    """Train a linear head on the rows by cross-entropy; return weight [K, D] and bias [K]."""
    inputs = F.pad(rows.vectors, (0, 1), value=1.0)  # [M, D + 1]
    share = (rows.weight / len(inputs))[:, None]
    head = torch.nn.Parameter(inputs.new_zeros(rows.labels.shape[1], inputs.shape[1]), requires_grad=False)
    optimiser = torch.optim.AdamW([head], lr=RATE, weight_decay=DECAY)
    for _ in range(STEPS):
        # The gradient of both cross-entropy and Kullback-Leibler divergence.
        head.grad = ((inputs @ head.T).softmax(1) - rows.labels).mul_(share).T @ inputs
        optimiser.step()
    return head[:, :-1], head[:, -1]


def _class_weights(cells: Tensor, support: Support, by_class: Tensor) -> Tensor:
    """Weights [K] of the classes: probability in the image by their texts; equal where a class has no text."""
    n_classes = by_class.shape[1]
    if not bool(by_class.any(0).all()):
        return cells.new_full((n_classes,), 1 / n_classes)
    image = F.normalize(cells.mean(0), dim=0)
    return (IMAGE_SCALE * support.texts @ image).softmax(0) @ by_class


def _means(vectors: Tensor, owner: Tensor, n: int) -> Tensor:
    """Unit means [n, D] of vectors [M, D] by owner [M]; zero for owners without vectors."""
    return F.normalize(vectors.new_zeros(n, vectors.shape[1]).index_add(0, owner, vectors), dim=1)


def _mixtures(visual: Tensor, texts: Tensor) -> Tensor:
    """Unit vectors [6 M, D]: mixtures of visual [M, D] and texts [M, D], share by share."""
    return torch.cat([F.normalize(share * visual + (1 - share) * texts, dim=1) for share in SHARES])
