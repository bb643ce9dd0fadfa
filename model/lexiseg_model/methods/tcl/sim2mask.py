"""From the likeness of pixel and text to a mask: a learned scale and bias, then a sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SCALE = 10.0  # TCL, section 3.2: where training starts; with the bias a threshold at cosine 0.25
BIAS = -2.5
EPSILON = 1e-6  # of every normalisation in TCL


class Sim2Mask(nn.Module):
    """Similarity in -1..1 -> logit, `scale * similarity + bias`."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(SCALE))
        self.bias = nn.Parameter(torch.tensor(BIAS))

    def forward(self, similarity: Tensor) -> Tensor:
        """[...] cosines -> [...] logits; their sigmoid is the soft mask."""
        return self.scale * similarity + self.bias


def logistic_noise(uniform: Tensor) -> Tensor:
    """Uniform samples inside (0, 1) -> samples of the logistic distribution, the difference of two Gumbel ones."""
    return torch.log(uniform / (1 - uniform))


def hard_mask(logits: Tensor, noise: Tensor) -> Tensor:
    """Binary masks by chance, through which gradients flow as if they were soft (Gumbel-sigmoid, temperature 1).

    Args:
        logits: any shape.
        noise: same shape, of `logistic_noise`.

    Returns:
        0 or 1 by value; the gradient is that of sigmoid(logits + noise).
    """
    soft = torch.sigmoid(logits + noise)
    hard = (soft > 0.5).to(soft.dtype)
    return hard - soft.detach() + soft
