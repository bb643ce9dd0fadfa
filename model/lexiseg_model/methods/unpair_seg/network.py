"""Unpair-Seg network: one pass over an image, then any number of prompts and vocabularies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from lexiseg_model.methods.unpair_seg import regions
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import MaskDecoder, Prediction
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelDecoder, PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.prompts import PromptEncoder, PromptTokens
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk, RegionAdapter
from lexiseg_model.methods.unpair_seg.regions import Pool
from lexiseg_model.methods.unpair_seg.settings import PUBLISHED, Sizes


class PromptableMasks(nn.Module):
    """Pixel decoder, prompt encoder and mask decoder over maps at strides 4, 8, 16, 32 of a frozen image tower."""

    def __init__(self, sizes: Sizes = PUBLISHED) -> None:
        """Build decoders; with the published sizes they have 5.79 and 16.19 million parameters."""
        super().__init__()
        self.sizes = sizes
        width, heads = sizes.width, sizes.heads
        self.pixel_decoder = PixelDecoder(
            sizes.channels, width, heads, sizes.encoder_layers, sizes.encoder_feed_forward
        )
        self.predictor = MaskDecoder(
            PromptEncoder(width), width, heads, sizes.decoder_layers, sizes.decoder_feed_forward
        )

    def features(self, maps: Sequence[Tensor]) -> PixelFeatures:
        """Decode image maps [B, channels, h, w] at strides 4, 8, 16, 32."""
        features: PixelFeatures = self.pixel_decoder(maps)
        return features

    def decode(self, features: PixelFeatures, prompt: PromptTokens) -> Prediction:
        """Predict masks for encoded prompts."""
        prediction: Prediction = self.predictor(features, prompt)
        return prediction


class EncodedImages(NamedTuple):
    """Result of the image pass over B images, for any prompt and any vocabulary.

    Attributes:
        features: maps of the pixel decoder.
        dense: [B, C, H/32, W/32] of CLIP.
        adapted: [B, width, H/8, W/8] of stage two's adapter; None without one.
    """

    features: PixelFeatures
    dense: Tensor
    adapted: Tensor | None


class UnpairSegNetwork(nn.Module):
    """Image side of Unpair-Seg: CLIP's trunk, promptable masks, and stage two's adapter if it was trained."""

    def __init__(self, trunk: ClipTrunk, masks: PromptableMasks, adapter: RegionAdapter | None = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.masks = masks
        self.adapter = adapter

    def forward(self, images: Tensor) -> EncodedImages:
        """Encode normalised images [B, 3, H, W] whose sides are multiples of 32."""
        maps = self.trunk(images)
        features = self.masks.features(maps.stages)
        # Stage two trains only the adapter: no gradients for stage one.
        levels = [level.detach() for level in features.levels]
        adapted = None if self.adapter is None else self.adapter(maps.stages, levels)
        return EncodedImages(features, maps.dense, adapted)

    def embed(self, encoded: EncodedImages, masks: Tensor, pool: Pool = regions.pool) -> Tensor:
        """Embed the regions of mask logits [B, Q, h, w] in CLIP's space: [B, Q, D], not normalised.

        This is CLIP's average under each mask by `pool`, plus the adapter's correction if there is one.
        """
        if self.adapter is None or encoded.adapted is None:
            pooled = pool(encoded.dense, masks)
        else:
            pooled = self.adapter.pooled(encoded.adapted, encoded.dense, masks, pool)
        return self.trunk.embed(pooled)
