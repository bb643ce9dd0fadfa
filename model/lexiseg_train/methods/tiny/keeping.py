"""A loss that keeps what the starting weights of a run say of words that its photographs have no labels for.

Tuning on a few sets forgets names that these do not contain. Here the network is held to its own earlier answers
(learning without forgetting, Li and Hoiem 2016, https://arxiv.org/abs/1606.09282) on words drawn anew in every step:
names of things, and points between two of them, so that all directions of the text tower count.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tiny.network import ImageFeatures, TinyNetwork
from lexiseg_model.methods.tiny.weights import fold_batch_norms

N_WORDS = 64  # of a step
MIXED = 0.5  # share of them between two words
CELLS = 4  # pixels of the map along each axis, of which the mean is compared
KEPT_PRESENCE = 0.15  # weight of the loss of presence relative to that of pixels


class Keeper:
    """The starting network, frozen, and the words that it is asked for."""

    def __init__(self, start: TinyNetwork, rows: NDArray[np.float32]) -> None:
        """
        Args:
            start: the network at the start of the run; a copy is kept.
            rows: [N, 384] sentence embeddings of words.
        """
        self.network = deepcopy(start).eval().requires_grad_(False)
        fold_batch_norms(self.network.trunk)
        self.rows = torch.from_numpy(rows).to(start.log_scale.device)

    def losses(
        self, network: TinyNetwork, features: ImageFeatures, images: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Scalars: the mean squared difference of presence logits, and the divergence of the pixels' distributions."""
        with torch.no_grad():
            before = self.network(images)
        first, second = (self.rows[torch.from_numpy(random.integers(0, len(self.rows), N_WORDS))] for _ in range(2))
        share = torch.from_numpy(random.random((N_WORDS, 1), np.float32) * (random.random((N_WORDS, 1)) < MIXED))
        rows = F.normalize(torch.lerp(first, second, 0.5 * share.to(first)), dim=1)
        now_bank, old_bank = network.project_texts(rows), self.network.project_texts(rows)
        n = len(images)
        now = network.presence(features.image, features.cells.float(), now_bank.expand(n, -1, -1))
        old = self.network.presence(before.image, before.cells.float(), old_bank.expand(n, -1, -1))
        target = _scores(self.network, before.pixels, old_bank).softmax(1)
        divergence = F.kl_div(_scores(network, features.pixels, now_bank).log_softmax(1), target, reduction="none")
        return F.mse_loss(now, old), divergence.sum(1).mean()


def _scores(network: TinyNetwork, pixels: Tensor, bank: Tensor) -> Tensor:
    """[B, 1 + K, h, w] logits of the background and of K words in cells of CELLS x CELLS of the pixel map."""
    means = F.avg_pool2d(pixels, CELLS)
    logits = network.log_scale.exp() * torch.einsum("kd,bdhw->bkhw", bank, means)
    background = (network.log_scale.exp() * network.nobody).expand_as(logits[:, :1])
    return torch.cat([background, logits], 1)
