"""Contrastive loss of images and texts (InfoNCE), with a learned temperature."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.training.gather import rank

INITIAL_TEMPERATURE = 0.07  # CLIP, section 2.5
LARGEST_SCALE = 100.0


class Contrast(nn.Module):
    """Symmetric InfoNCE with a learned temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by, a scalar."""
        return self.log_scale.exp().clamp(max=LARGEST_SCALE)

    def forward(self, by_image: Tensor, by_text: Tensor) -> Tensor:
        """Mean of both directions.

        Args:
            by_image: [B, N] cosines of own images with all captions.
            by_text: [B, N] cosines of own captions with all images.
        """
        n_own = len(by_image)
        own = torch.arange(n_own, device=by_image.device) + rank() * n_own
        return (F.cross_entropy(self.scale * by_image, own) + F.cross_entropy(self.scale * by_text, own)) / 2
