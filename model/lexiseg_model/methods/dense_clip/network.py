"""Image pass of the dense CLIP methods: tiles to unit vectors in the text space.

All methods share the pass up to the last block, which each attention policy replaces. ProxyCLIP adds a second tower.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.clip import vision
from lexiseg_model.clip.dino import DinoTower
from lexiseg_model.clip.images import Padding, normalise
from lexiseg_model.clip.patch_text import ImageTower
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.dense_clip.policies import dense_map
from lexiseg_model.methods.dense_clip.proxyclip import proxy_map
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer


class DenseNetwork(ImageTower):
    """Image tower of the policies; tiles are padded with the mean colour to whole patches of every tower."""

    def __init__(
        self,
        visual: VisionTransformer,
        settings: DenseClipSettings,
        proxy: DinoTower | None = None,
    ) -> None:
        """Build the tower, with `proxy` for the policies proxyclip and trident.

        Raises:
            WeightsError: CLIP's image tower is no plain ViT, or the policy and `proxy` do not belong together.
        """
        super().__init__()
        self.visual = vision.require_plain_vit(visual)
        self.proxy = proxy
        self.settings = settings
        if settings.has_proxy != (proxy is not None):
            raise WeightsError(f"policy {settings.policy}: a proxy tower belongs to proxyclip and trident alone")
        patch = visual.patch_size[0]
        # Both grids must be whole: a common multiple of 16 and 14 pixels is 112.
        self.multiple = patch if proxy is None else math.lcm(patch, proxy.kind.patch)

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Unit vectors [N, D, h, w] of tiles uint8 [N, 3, s, t]."""
        padding = Padding.to_multiple((tiles.shape[2], tiles.shape[3]), self.multiple)
        images = self._typed(padding.add(normalise(tiles, self.settings.normalisation)))
        entering = vision.tokens_before_last_block(self.visual, images, self.settings.positions)
        if self.proxy is not None:
            likeness = self.proxy(self._typed(padding.add(normalise(tiles, "imagenet"))))
            maps = proxy_map(self.visual, entering, likeness, self.settings.beta, self.settings.gamma)
        else:
            maps = dense_map(self.visual, entering, self.settings.policy, self.settings.gaussian_std)
        return (F.normalize(maps.float(), dim=1),)

    def _typed(self, images: Tensor) -> Tensor:
        return images.to(self.visual.conv1.weight.dtype)
