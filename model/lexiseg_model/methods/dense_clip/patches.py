"""Segmenters over CLIP's patches, by an attention policy; `PictureSegmenter` for those that look at whole pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.clip import windowed
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.patch_text import ImageTower, PatchTextSegmenter
from lexiseg_model.clip.text import TextTower
from lexiseg_model.errors import ExportError
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures, picture_size
from lexiseg_model.methods.dense_clip.corrclip import CorrClipTower
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.stored import Parts
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import ModelCard


class DenseClipSegmenter(PatchTextSegmenter):
    """CLIP under an attention policy, on one device."""

    settings: DenseClipSettings

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        tower = image_tower(parts, settings)
        texts = TextTower(parts.towers, execution.device)
        super().__init__(tower, texts, settings, card, parts.digest, execution)
        self._proxy = parts.proxy

    @torch.inference_mode()
    def likeness(self, features: Features) -> Tensor | None:
        """Values of DINO's last block where there is a DINO, as LPOSS has them; of the whole canvas at once."""
        dino = self._proxy
        if dino is None:
            return super().likeness(features)

        def values() -> Tensor:
            canvas = features.tensors["guide"].to(self._execution.device).float()
            rows, columns = (max(1, round(side / dino.kind.patch)) * dino.kind.patch for side in canvas.shape[1:])
            images = normalise(windowed.resize(canvas, (rows, columns))[None], "imagenet")
            return F.normalize(dino.values(images.to(self._execution.dtype)).float()[0], dim=0)

        return features.derived.once("values of DINO", values)


class PictureSegmenter(DenseClipSegmenter, ABC):
    """A model that encodes the whole picture with a further network: a tile is a picture in its original size.

    The longer side is limited to the card's. The image pass makes the canvas and its windows.
    """

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        super().__init__(parts, settings, card, execution)
        self.buckets = ((card.input.short_side, card.input.short_side),)

    def image_network(self) -> nn.Module:
        raise ExportError(f"{self.card.name} cannot be written as ONNX: its image pass is more than one network")

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        limits = self.card.input.model_copy(update={"short_side": min(picture_size(rgb))})
        return windowed.plan_windows(rgb, limits, None, None, options)

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        passes = [self._encode_picture(np.ascontiguousarray(tile.transpose(1, 2, 0))) for tile in tiles]
        return tuple(torch.stack(parts) for parts in zip(*passes, strict=True))

    @abstractmethod
    def _encode_picture(self, rgb: NDArray[np.uint8]) -> TileFeatures:
        """Features of a picture [H, W, 3]: `patches` first, `guide` uint8 [3, h, w], the canvas, last."""


def image_tower(parts: Parts, settings: DenseClipSettings) -> ImageTower:
    """Image tower of CLIP under its policy. Raises WeightsError: it is no plain ViT, or does not suit the policy."""
    kind = CorrClipTower if settings.policy == "corrclip" else DenseNetwork
    return kind(parts.towers.visual, settings, parts.proxy)
