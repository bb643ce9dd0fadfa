"""`dense-clip` as a Segmenter: CLIP with a replaced last block, under the published background rule."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.catalogue import models
from lexiseg_model.catalogue.weights import image_digest, settings_of
from lexiseg_model.clip import windowed
from lexiseg_model.clip.patch_text import MIN_PROBABILITY, ImageTower, PatchTextSegmenter
from lexiseg_model.clip.text import TextTower
from lexiseg_model.device import Execution
from lexiseg_model.errors import ExportError, WeightsError
from lexiseg_model.features import Features, InferenceOptions, Layout, Plan, TileFeatures, picture_size
from lexiseg_model.methods.dense_clip.corrclip import CorrClipTower, nearest, region_map
from lexiseg_model.methods.dense_clip.network import DenseNetwork, TimmModel, TimmTower
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.stored import Parts, fetch_from_hub, open_parts
from lexiseg_model.methods.dense_clip.trident import aggregated, prompted
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ModelCard, Precision
from lexiseg_model.vocabulary.scoring import MAX_AT_FULL_SIZE, majority_vote


class DenseClipSegmenter(PatchTextSegmenter):
    """CLIP under an attention policy, on one device."""

    settings: DenseClipSettings

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        tower = image_tower(parts, settings)
        texts = TextTower(parts.towers, execution.device)
        super().__init__(tower, texts, settings, card, parts.digest, execution)


class PictureSegmenter(DenseClipSegmenter, ABC):
    """A model that encodes the whole picture with a further network: a tile is a picture in its original size.

    The longer side is limited to the card's. The image pass makes the canvas and its windows.
    """

    windows_in: Precision  # sides of the canvas: exact as in the protocol, fast in whole patches

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        super().__init__(parts, settings, card, execution)
        self.buckets = ((card.input.short_side, card.input.short_side),)

    def image_network(self) -> nn.Module:
        raise ExportError(f"{self.card.name} cannot be written as ONNX: its image pass is more than one network")

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        sides = {"short_side": max(self.card.input.short_side, min(picture_size(rgb)))}
        limits = self.card.input.model_copy(update=sides)
        return windowed.plan_windows(rgb, limits, None, None, options, self.windows_in)

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        passes = [self._encode_picture(np.ascontiguousarray(tile.transpose(1, 2, 0))) for tile in tiles]
        return tuple(torch.stack(parts) for parts in zip(*passes, strict=True))

    def _cut(self, rgb: NDArray[np.uint8]) -> Plan:
        """Windows of the picture's canvas."""
        sides = {"short_side": min(self.card.input.short_side, min(picture_size(rgb)))}
        limits = self.card.input.model_copy(update=sides)
        return windowed.plan_windows(rgb, limits, self._window, self._stride, precision=self.windows_in)

    @abstractmethod
    def _encode_picture(self, rgb: NDArray[np.uint8]) -> TileFeatures:
        """Features of a picture [H, W, 3]: `patches` first, `guide` uint8 [3, h, w], the canvas, last."""


class CorrClipSegmenter(PictureSegmenter):
    """CorrCLIP over the masks of another model.

    `regions` [H, W] of the canvas are kept; each takes the most frequent label of its pixels.
    """

    def __init__(
        self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution, masks_of: Segmenter
    ) -> None:
        mixed = parts._replace(digest=image_digest(card, parts.digest + masks_of.digest))
        super().__init__(mixed, settings, card, execution)
        self.windows_in = execution.precision
        self._masks_of = masks_of

    def _encode_picture(self, rgb: NDArray[np.uint8]) -> TileFeatures:
        plan = self._cut(rgb)
        layout, device = windowed.layout_of(plan), self._execution.device
        regions = nearest(region_map(self._masks_of, rgb), layout.canvas).to(device)
        windows = zip(torch.from_numpy(plan.tiles), windowed.windows_of(regions[None], layout), strict=True)
        patches = torch.cat([self.tower(tile[None].to(device), labels)[0] for tile, labels in windows])
        rounded = windowed.as_kept((patches,), self._execution.precision)
        return *rounded, regions.short(), windowed.canvas_of(plan)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        patches, regions, guide = (part[0] for part in tile_features)
        canvas = (guide.shape[1], guide.shape[2])
        layout = windowed.place_windows(canvas, self._window or max(canvas), self._stride or max(canvas))
        return Features(plan.size, {"patches": patches, "regions": regions, "guide": guide}, layout)

    def by_regions(self, features: Features, logits: Tensor) -> Tensor:
        return majority_vote(logits, features.tensors["regions"].long(), features.size)


class TridentSegmenter(PictureSegmenter):
    """Trident, with one map of patches on SAM's grid."""

    windows_in = "fast"  # windows are spliced patch by patch

    def __init__(self, parts: Parts, settings: DenseClipSettings, card: ModelCard, execution: Execution) -> None:
        if parts.sam is None or parts.proxy is None:
            raise WeightsError(f"{card.name}: policy trident needs DINO's tower and SAM's encoder")
        super().__init__(parts, settings, card, execution)
        self._sam = parts.sam.to(execution.device)
        self._side = parts.proxy.kind.patch

    def _encode_picture(self, rgb: NDArray[np.uint8]) -> TileFeatures:
        plan, device = self._cut(rgb), self._execution.device
        maps = torch.cat([self.tower(tile[None].to(device))[0] for tile in torch.from_numpy(plan.tiles)])
        spliced = windowed.spliced(maps, windowed.layout_of(plan), self._side)
        shares, grid, embedding = self._sam(torch.from_numpy(rgb).permute(2, 0, 1).to(device), self.settings.sam_factor)
        parts = (aggregated(shares, spliced, grid)[None], embedding)
        return *windowed.as_kept(parts, self._execution.precision), windowed.canvas_of(plan)

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        patches, embedding, guide = (part[0] for part in tile_features)
        canvas = (guide.shape[1], guide.shape[2])
        return Features(plan.size, {"patches": patches, "sam": embedding, "guide": guide}, Layout(canvas, canvas))

    @torch.inference_mode()
    def by_regions(self, features: Features, logits: Tensor) -> Tensor:
        at_full_size = len(logits) * math.prod(features.size) <= MAX_AT_FULL_SIZE
        guide = features.tensors["guide"]
        size = features.size if at_full_size else (guide.shape[1], guide.shape[2])
        shares = windowed.resize(logits, size).softmax(0)
        refined = prompted(self._sam, features.tensors["sam"].float(), shares, self.settings.sam_least)
        return refined.clamp_min(MIN_PROBABILITY).log()


def image_tower(parts: Parts, settings: DenseClipSettings) -> ImageTower:
    """Image tower of CLIP under its policy, or of timm without one.

    Raises:
        WeightsError: the tower gives no patches, or does not support the policy.
    """
    visual = parts.towers.visual
    if not isinstance(visual, TimmModel):
        kind = CorrClipTower if settings.policy == "corrclip" else DenseNetwork
        return kind(visual, settings, parts.proxy)
    if settings.policy != "maskclip":
        raise WeightsError(f"{settings.architecture} knows the policy maskclip alone; got {settings.policy}")
    return TimmTower(visual, settings.normalisation)


def load(folder: Path, card: ModelCard, execution: Execution) -> DenseClipSegmenter:
    """Load a model directory, or the hub's weights by the card's settings.

    Raises:
        WeightsError: the weights are missing, damaged, or of another model.
    """
    settings = settings_of(card, DenseClipSettings)
    parts = open_parts(folder, card, settings)
    if settings.policy == "trident":
        return TridentSegmenter(parts, settings, card, execution)
    if settings.policy != "corrclip":
        return DenseClipSegmenter(parts, settings, card, execution)
    beside = None if card.weights_sha256 is None else folder.parent
    masks_of = models.load(
        settings.proposals, models_dir=beside, device=str(execution.device), text_tower=execution.text_tower
    )
    return CorrClipSegmenter(parts, settings, card, execution, masks_of)


def require_weights(card: ModelCard) -> None:
    """Fetch the hub's weights for a card without a weights file.

    Raises:
        WeightsError: they cannot be fetched; the message names the ways to provide them.
    """
    fetch_from_hub(card)
    settings = settings_of(card, DenseClipSettings)
    if settings.policy == "corrclip":
        models.require(settings.proposals)
