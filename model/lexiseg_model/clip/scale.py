"""The learned factor of cosines between images and texts."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

INITIAL_TEMPERATURE = 0.07  # CLIP, section 2.5
MAX_SCALE = 100.0


class LearnedScale(nn.Module):
    """A factor of cosines, learned as its logarithm: the inverse of CLIP's temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / INITIAL_TEMPERATURE)))

    @property
    def scale(self) -> Tensor:
        """Factor of the cosines, a scalar."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)
