"""`tcl` as a Segmenter: sliding windows, TCL's masks for any texts, its refinement and background threshold.

Features: `grounder` [N, D, h/4, w/4] and `clip_embedding` [N, D, h/16, w/16] of each window, padded and not normalised,
and `guide` uint8 [3, H, W], the canvas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors
from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.weights import WEIGHTS, image_digest, read_weights, require_named_weights, settings_of
from lexiseg_model.clip import by_example, windowed
from lexiseg_model.clip.by_example import ExampleLevels
from lexiseg_model.clip.images import Padding, normalise
from lexiseg_model.clip.segmenter import ClipSegmenter
from lexiseg_model.clip.text import TextTower
from lexiseg_model.features import Features
from lexiseg_model.methods.tcl.checkpoint import Restored, restore
from lexiseg_model.methods.tcl.network import (
    EPSILON,
    PATCH,
    STRIDE,
    ImageMaps,
    ImagePass,
    MaskSettings,
    TclSettings,
    finished_masks,
)
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.types import Refinement, Region

EXAMPLE_MASKS = 0.9, 0.1  # mask values of a class by example, on the shown region and on its whole picture


class TclSegmenter(ClipSegmenter):
    """TCL on one device."""

    maps = ("grounder", "clip_embedding")

    def __init__(
        self, restored: Restored, settings: TclSettings, card: ModelCard, digest: str, execution: Execution
    ) -> None:
        tower, windows = TextTower(restored.towers, execution.device), (settings.window, settings.stride)
        super().__init__(card, digest, tower, settings.templates, "mean_of_rows", *windows, execution)
        self._settings = settings
        self._sim2mask = restored.network.sim2mask.to(execution.device)
        self._network = restored.network.to(execution.device)
        # Scale and bias stay in float32: rounding would shift every mask.
        self._network.visual.to(execution.dtype)
        self._network.grounder.to(execution.dtype)
        self.probability_scale = settings.probability_scale

    def image_network(self) -> ImagePass:
        return ImagePass(self._network)

    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        return self.masks(features, bank, MaskSettings(self._settings.kp_weight, pamr=None))

    def refined_scores(self, features: Features, bank: TextBank) -> Tensor:
        return self.masks(features, bank, MaskSettings(self._settings.kp_weight))

    @torch.inference_mode()
    def example_rows(self, features: Features, regions: Sequence[Region]) -> TextRows:
        """Rows [R, 2 D]: the grounder's mean embedding of each region, and that of the picture."""
        layout = windowed.layout_of(features)
        padding = Padding.to_multiple(layout.tile, PATCH)
        quarter = padding.over(STRIDE)
        maps = (quarter.crop(each.float()) for each in F.normalize(features.tensors["grounder"], dim=1, eps=EPSILON))
        return by_example.region_rows(windowed.merge(maps, layout, "fast"), features.size, regions)

    @torch.inference_mode()
    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        # Cosines at which masks have the values `EXAMPLE_MASKS`.
        scale, bias = self._sim2mask.scale.item(), self._sim2mask.bias.item()
        inside, outside = ((math.log(mask / (1 - mask)) - bias) / scale for mask in EXAMPLE_MASKS)
        levels = ExampleLevels(inside=min(max(inside, 0.01), 0.99), outside=min(max(outside, 0.0), 0.98))
        vectors = by_example.vectors(positive, negative, levels, self.card.embedding, self._execution.device)
        return vectors._replace(examples=None)  # no head is fitted, as masks do not compete

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        default = self._settings.background_pamr if refine == "pamr" else self._settings.background
        return logits.new_tensor(self.probability_scale * (default if threshold is None else threshold))

    @torch.inference_mode()
    def masks(self, features: Features, bank: TextBank, settings: MaskSettings) -> Tensor:
        """Soft masks [K, h, w] in 0..1 over the canvas, averaged over windows; vectors may have any length."""
        layout = windowed.layout_of(features)
        padding = Padding.to_multiple(layout.tile, PATCH)
        padded = padding.padded(layout.tile)
        vectors = bank.vectors if bank.has_examples else F.normalize(bank.vectors, dim=1, eps=EPSILON)

        canvas = features.tensors["guide"].to(self._execution.device)

        def of_windows() -> Iterator[Tensor]:
            for index, pixels in enumerate(windowed.windows_of(canvas, layout)):
                maps = ImageMaps(*(features.tensors[name][index : index + 1].float() for name in self.maps))
                image = padding.add(normalise(pixels[None], "imagenet"))
                masks = finished_masks(maps, vectors, self._sim2mask, image, settings)
                # When fast, tiles are whole patches, and masks stay on the grounder's grid.
                if self._execution.precision == "exact":
                    masks = padding.crop(F.interpolate(masks, size=padded, mode="bilinear", align_corners=False))
                yield bank.best_of_texts(masks[0])

        return windowed.merge(of_windows(), layout, self._execution.precision)


require_weights = partial(
    require_named_weights, what="the authors' checkpoint", arguments="--checkpoint tcl.pth --clip ViT-B-16.pt tcl"
)


def load(folder: Path, card: ModelCard, execution: Execution) -> TclSegmenter:
    """Load a model directory (`weights.safetensors` and a card)."""
    require_weights(card)
    settings = settings_of(card, TclSettings)
    restored = restore(read_weights(folder / WEIGHTS, card.weights_sha256), settings.architecture)
    return TclSegmenter(restored, settings, card, image_digest(card, str(card.weights_sha256)), execution)
