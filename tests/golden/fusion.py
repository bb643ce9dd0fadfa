"""Retrieve and Segment (Aravanis et al., CVPR 2026) read off its formulas: loops, float64, torch's AdamW.

The head starts at zero, and holds the classes that its rows show alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHARES = (0.9, 0.8, 0.6, 0.4, 0.2, 0.0)


def unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def softmax(values: Array) -> Array:
    raised = np.exp(values - values.max())
    return np.asarray(raised / raised.sum())


def logits(
    cells: Array, texts: Array, text_owner: Sequence[int], examples: Array, example_owner: Sequence[int], n_classes: int
) -> Array:
    """[N, K] of cells [N, D], minus infinity for classes that are left out; all vectors of unit length."""
    features: list[Array] = []
    labels: list[Array] = []
    betas: list[float] = []

    def learn(feature: Array, label: Array, beta: float) -> None:
        features.append(feature)
        labels.append(label)
        betas.append(beta)

    one = np.eye(n_classes)
    retrieved = sorted({int(r) for cell in cells for r in np.argsort(-(examples @ cell))[:4]})
    for r in retrieved:
        learn(examples[r], one[example_owner[r]], 1.0)

    classes = {example_owner[r] for r in retrieved}
    for share in SHARES:
        for text, owner in zip(texts, text_owner, strict=True):
            if owner in classes:
                seen = unit(sum(e for e, o in zip(examples, example_owner, strict=True) if o == owner))
                learn(unit(share * seen + (1 - share) * text), one[owner], 1.5)

    won = [int(np.argmax(texts @ cell)) for cell in cells]
    for share in SHARES:
        for place in sorted(set(won)):
            if text_owner[place] in example_owner:
                continue
            seen = unit(sum(cell for cell, best in zip(cells, won, strict=True) if best == place))
            feature = unit(share * seen + (1 - share) * texts[place])
            label = np.zeros(n_classes)
            for probability, owner in zip(softmax(100 * texts @ feature), text_owner, strict=True):
                label[owner] += probability
            learn(feature, label, 0.2)

    kept = sorted({int(np.argmax(label)) for label in labels})
    targets = np.array([label[kept] / label[kept].sum() for label in labels])
    if set(text_owner) == set(range(n_classes)):
        of_texts = softmax(10 * texts @ unit(cells.mean(0)))
        likely = [sum(p for p, o in zip(of_texts, text_owner, strict=True) if o == k) for k in range(n_classes)]
    else:
        likely = [1.0] * n_classes
    weights = np.array([likely[kept[int(np.argmax(target))]] for target in targets])
    weights = weights / weights.sum() * betas / len(betas)

    head = descend(np.column_stack([features, np.ones(len(features))]), targets, weights)
    result = np.full((len(cells), n_classes), -math.inf)
    result[:, kept] = cells @ head[:, :-1].T + head[:, -1]
    return result


def descend(inputs: Array, targets: Array, weights: Array) -> Array:
    """700 steps of AdamW on the weighted cross-entropy from zero: [K, D + 1]."""
    rows, aims, shares = map(torch.from_numpy, (inputs, targets, weights))
    head = torch.zeros(targets.shape[1], inputs.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.AdamW([head], lr=0.002, weight_decay=5e-4)
    for _ in range(700):
        optimiser.zero_grad()
        (shares * F.cross_entropy(rows @ head.T, aims, reduction="none")).sum().backward()
        optimiser.step()
    return head.detach().numpy()
