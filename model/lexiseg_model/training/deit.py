"""DeiT's augmentation by timm, drawn from an explicit generator: the training views of image-text methods.

A random window of 8 to 100 % of the photograph, a mirror, RandAugment and a rectangle of noise (Touvron et al., 2021,
table 9). TCL and GroupViT, whose pipeline S-Seg follows, use it with timm's defaults.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lexiseg_model.clip.images import STATISTICS, Normalisation
from lexiseg_model.training.recipe import DeitSettings
from lexiseg_model.training.stream import seeded


class DeitViews:
    """Turns photographs into square views of one size."""

    def __init__(self, settings: DeitSettings, size: int, normalisation: Normalisation) -> None:
        from timm.data.transforms_factory import transforms_imagenet_train  # takes seconds

        mean, std = STATISTICS[normalisation]
        self._transform: Any = transforms_imagenet_train(
            img_size=size,
            scale=settings.scale,
            ratio=settings.ratio,
            hflip=settings.mirrored,
            color_jitter=0.0,  # timm ignores TCL's 0.4 where there is a policy
            auto_augment=settings.policy,
            interpolation="bilinear",
            mean=tuple(value / 255 for value in mean),
            std=tuple(value / 255 for value in std),
            re_prob=settings.erased,
            re_mode="pixel",
        )

    def __call__(self, image: NDArray[np.uint8], chance: np.random.Generator) -> Tensor:
        """Normalised view float32 [3, size, size] of a photograph [H, W, 3]; deterministic given the generator."""
        with drawn_by(chance):
            view: Tensor = self._transform(Image.fromarray(image))
        return view


def drawn_by(chance: np.random.Generator) -> AbstractContextManager[None]:
    """Seed the three global generators that timm draws from, and restore them after the block."""
    return seeded(*chance.integers(2**32, size=3).tolist())
