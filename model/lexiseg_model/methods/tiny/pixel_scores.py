"""How much cells are like texts: of each class the best text counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.segmenter import TextBank

CLASSES_AT_ONCE = 64  # in one product: synonyms are reduced before the next, so memory does not grow with them


def best_per_class(pixels: Tensor, bank: TextBank, added: Tensor, scale: float) -> Tensor:
    """Each class's best text, scaled cosine and what is `added` [T], of embeddings [96, h, w] to [K, h, w]."""
    best = []
    first = np.searchsorted(bank.owner, np.arange(bank.n_classes + 1))
    for start in range(0, bank.n_classes, CLASSES_AT_ONCE):
        end = min(start + CLASSES_AT_ONCE, bank.n_classes)
        texts = slice(first[start], first[end])
        # [t, 96] x [96, h*w] -> [t, h*w]
        # Added in place: `addmm` would first spread it over a map for each text.
        scores = (bank.vectors[texts] * scale).mm(pixels.flatten(1)).add_(added[texts, None])
        if len(scores) > end - start:
            inside = pairwise(first[start : end + 1] - first[start])
            scores = torch.stack([scores[a:b].amax(0) for a, b in inside])
        best.append(scores.view(end - start, *pixels.shape[1:]))
    return best[0] if len(best) == 1 else torch.cat(best)
