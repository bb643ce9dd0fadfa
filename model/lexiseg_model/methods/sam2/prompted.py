"""Segmenters over a SAM of transformers: one square input, kept maps, and its head for prompts and videos."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.clip.windowed import as_kept
from lexiseg_model.export.exportable import TorchPass
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures, picture_size
from lexiseg_model.methods.sam2.head import LEVELS, PromptHead, SamMemory
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import PromptMasks
from lexiseg_model.types import Prompt


class SquareSettings(StrictModel):
    """Size and normalisation of the network's input."""

    side: int = Field(gt=0, description="side of the network's square input, in pixels")
    mean: tuple[float, float, float] = Field(description="mean of each colour, in 0..1")
    std: tuple[float, float, float] = Field(description="standard deviation of each colour, in 0..1")


class SquareSegmenter(TorchPass):
    """A model on one device with a square input; float32 except in the image pass."""

    kept_maps: tuple[str, ...] = LEVELS  # names of the outputs of the image pass

    def __init__(self, settings: SquareSettings, card: ModelCard, digest: str, execution: Execution) -> None:
        self.card = card
        self.digest = digest
        self._side = settings.side
        self._execution = execution
        colours = torch.tensor([settings.mean, settings.std]).view(2, 1, 3, 1, 1)
        self._mean, self._std = colours.to(execution.device)
        self.buckets = ((settings.side, settings.side),)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """Resize the image to the square, bilinear and smoothed where it shrinks, as SAM's image processors do.

        `max_side` has no effect.
        """
        size = picture_size(rgb)
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None]
        square = F.interpolate(pixels, (self._side, self._side), mode="bilinear", antialias=True)
        return Plan(size, square.numpy())

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        return self._run_torch(tiles, self._execution.device)

    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        dtype = self._execution.dtype
        pixels = (tiles.float() / 255 - self._mean) / self._std
        with torch.autocast(self._execution.device.type, dtype, enabled=dtype != torch.float32):
            maps = self.image_maps(pixels)
        return as_kept(maps, self._execution.precision)

    @abstractmethod
    def image_maps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The maps of `kept_maps` [N, C, h, w], of normalised colours [N, 3, side, side]."""

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        return Features(plan.size, {name: part[0] for name, part in zip(self.kept_maps, tile_features, strict=True)})


class PromptedSegmenter(SquareSegmenter):
    """A model with a SAM's head: masks for clicks, boxes and masks, and objects followed through a video."""

    @property
    @abstractmethod
    def sam_head(self) -> PromptHead:
        """The head for prompts and for the frames of a video."""

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """Three masks for a single click, one for any other prompt."""
        return self.sam_head.prompt(features, prompts)

    prompt_with_negatives = prompt  # a SAM's head was trained with them

    def correct(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """One mask for a prompt with a mask; others as `prompt`."""
        return self.sam_head.prompt(features, prompts)

    def object_memory(self) -> SamMemory:
        """An empty memory for the objects of one video stream."""
        return SamMemory(self.sam_head)
