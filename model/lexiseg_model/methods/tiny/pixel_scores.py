"""Class scores of cells: scaled cosine with the text, plus the text's level and the presence in the whole image.

A class with several texts has the score of its best one.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.segmenter import Excluded, TextBank

SUREST = 0.01  # share of the pixels, the most probable ones, whose probabilities enter the presence of a class
EXCLUDED = -50.0  # logit of a cell that a class does not get
CHUNK = 64  # classes in one product, which bounds memory for many synonyms


def best_per_class(pixels: Tensor, bank: TextBank, added: Tensor, scale: float) -> Tensor:
    """Scores [K, h, w] of embeddings [96, h, w]: scaled cosine plus `added` [T], of the best text of each class."""
    best = []
    first = np.searchsorted(bank.owner, np.arange(bank.n_classes + 1))
    for start in range(0, bank.n_classes, CHUNK):
        end = min(start + CHUNK, bank.n_classes)
        texts = slice(first[start], first[end])
        # [t, 96] x [96, h*w] -> [t, h*w]
        # Added in place: `addmm` would first expand it to a map for each text.
        scores = (bank.vectors[texts] * scale).mm(pixels.flatten(1)).add_(added[texts, None])
        if len(scores) > end - start:
            inside = pairwise(first[start : end + 1] - first[start])
            scores = torch.stack([scores[a:b].amax(0) for a, b in inside])
        best.append(scores.view(end - start, *pixels.shape[1:]))
    return best[0] if len(best) == 1 else torch.cat(best)


def is_excluded(pixels: Tensor, excluded: Excluded) -> Tensor:
    """Which of the embeddings [96, n] a class does not get: [n] bool."""
    negative = excluded.negatives @ pixels  # [N, 96] x [96, n]
    is_like = (negative >= excluded.bound[:, None]).any(0)
    return is_like & (negative.amax(0) > (excluded.examples @ pixels).amax(0))


def mask_means(masks: Tensor, pixels: Tensor) -> Tensor:
    """Mean embeddings [N, 96] under masks, logits [N, a, b], of [96, h, w]; an empty mask counts its highest cell."""
    cells = F.interpolate(masks.to(pixels)[:, None], size=pixels.shape[1:], mode="bilinear")[:, 0].flatten(1)
    inside = (cells > 0) | (cells == cells.amax(1, keepdim=True))
    weights = inside / inside.sum(1, keepdim=True)
    return weights @ pixels.flatten(1).T  # [N, h*w] x [h*w, 96]
