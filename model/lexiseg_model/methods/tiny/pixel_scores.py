"""Class scores of cells: scaled cosine with the text, plus the text's level and the presence in the whole image.

A class with several texts has the score of its best one.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.features import Features
from lexiseg_model.methods.tiny.network import TinyNetwork, log_presence
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.segmenter import Excluded, TextBank
from lexiseg_model.vocabulary.bank import directions

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


class PixelScores:
    """Scores of one network with its settings. `nobody` is the logit that every class must exceed."""

    def __init__(self, network: TinyNetwork, settings: TinySettings, device: torch.device) -> None:
        self._network = network
        self._settings = settings
        self._device = device
        self._scale = network.log_scale.exp().item()
        self.nobody = self._scale * network.nobody.item()
        self._nobody = torch.tensor(self.nobody, device=device)

    def of_texts(self, features: Features, bank: TextBank) -> Tensor:
        """The presence logit [T] of each text in the whole image."""
        image, cells = (features.tensors[name].to(self._device, torch.float32) for name in ("image", "cells"))
        return self._network.presence(image, cells, directions(bank))

    def of_pixels(self, pixels: Tensor, bank: TextBank, presence: Tensor) -> Tensor:
        """Scores [K, h, w] of embeddings [96, h, w]; `presence` [T] from `of_texts`."""
        on_device = pixels.to(self._device).float()
        scores = best_per_class(on_device, bank, self._added(bank, presence), self._scale)
        for index, excluded in bank.excluded.items():
            scores[index].masked_fill_(is_excluded(on_device.flatten(1), excluded).view(scores.shape[1:]), EXCLUDED)
        return scores

    def of_regions(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        """Scores [K, N] of mean embeddings [N, 96]: the mean score of their cells, if each class has one text."""
        return self.of_pixels(embeddings.T[..., None], bank, self.of_texts(features, bank))[..., 0]

    def presence(self, features: Features, bank: TextBank) -> Tensor:
        """Presence [K]: the logit of each class's most present text plus the log probability of its surest pixels.

        The whole-image head ignores the other classes; pixel probabilities include the competition with them.
        """
        of_texts = self.of_texts(features, bank)
        scores = self.of_pixels(features.tensors["pixels"], bank, of_texts).flatten(1)
        scores -= torch.logaddexp(scores.logsumexp(0), scores.new_tensor(self.nobody))
        n = max(1, round(SUREST * scores.shape[1]))
        surest = scores.topk(n, dim=1, sorted=False).values.logsumexp(1) - math.log(n)
        return bank.best_of_texts(of_texts) + surest

    def nobody_logit(self, threshold: float | None) -> Tensor:
        """The logit [] that a class must exceed; `threshold` in 0..1, a probability, shifts the learned one."""
        if threshold is None:
            return self._nobody
        clipped = min(max(threshold, 1e-6), 1 - 1e-6)
        return self._nobody.new_tensor(self.nobody + math.log(clipped / (1 - clipped)))

    def _added(self, bank: TextBank, presence: Tensor) -> Tensor:
        """The sum [T] of presence bonus and level of each text."""
        added = log_presence(presence).mul_(self._settings.presence)
        return added if bank.levels is None else added.add_(bank.levels)
