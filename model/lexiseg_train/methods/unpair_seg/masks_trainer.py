"""Training of stage one: promptable masks over a frozen CLIP, with the last layer's matches for all decoder layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from lexiseg_model.cards import InputSize, ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.towers import clip_from_files, clip_from_hub, configuration
from lexiseg_model.methods.unpair_seg.import_ import Options, read
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.layers.pixel_decoder import PixelFeatures
from lexiseg_model.methods.unpair_seg.layers.prompts import Places, PromptTokens, cell_centres
from lexiseg_model.methods.unpair_seg.layers.trunk import ClipTrunk
from lexiseg_model.methods.unpair_seg.network import PromptableMasks, flat_state
from lexiseg_model.methods.unpair_seg.settings import Sizes
from lexiseg_train.methods.unpair_seg.criterion import drawn_on, match_paired, match_points, prompt_losses
from lexiseg_train.methods.unpair_seg.mask_batches import (
    MaskBatch,
    Masked,
    draw_crop,
    draw_prompts,
    mismatched,
    open_masked,
)
from lexiseg_train.methods.unpair_seg.trainings import MasksRecipe
from lexiseg_train.training.model_card import data_entry, measure_prompts, update_card, write_model
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run
from lexiseg_train.training.stream import Stream

FILE = "stage-one.safetensors"
KINDS = ("grid", "boxes", "several")


def meta_trunk(architecture: str) -> ClipTrunk:
    """Image tower on the meta device, for its sizes."""
    from open_clip import CLIP  # importable only after lexiseg_model.clip

    config = configuration(architecture)
    config["vision_cfg"]["timm_model_pretrained"] = False
    with torch.device("meta"):
        return ClipTrunk(CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"]).visual)


def untrained(recipe: MasksRecipe) -> PromptableMasks:
    """Untrained network of a recipe."""
    return PromptableMasks(sizes_over(meta_trunk(recipe.architecture), recipe))


def sizes_over(trunk: ClipTrunk, recipe: MasksRecipe) -> Sizes:
    """Sizes of the learned part of stage one over an image tower."""
    return Sizes(trunk.channels, **recipe.size.model_dump())


class MaskCrops(Stream[MaskBatch]):
    """Crops of randomly drawn photographs, with prompts."""

    def __init__(self, photographs: Sequence[Masked], recipe: MasksRecipe, phase: LocalPhase) -> None:
        super().__init__()
        self._photographs, self._recipe, self._phase = photographs, recipe, phase
        self.seed = recipe.seed

    def make(self, number: int, random: np.random.Generator) -> MaskBatch:
        recipe, size = self._recipe, self._phase.crop
        indices = random.integers(len(self._photographs), size=self._phase.batch).tolist()
        crops = [draw_crop(self._photographs, index, size, recipe.crops, random) for index in indices]
        return draw_prompts(crops, recipe.prompts, random)


class MasksTrainer(Run[MasksRecipe, PromptableMasks, MaskBatch]):
    """Trains pixel decoder, prompt encoder and mask decoder."""

    file = FILE

    def __init__(self, recipe: MasksRecipe) -> None:
        self.towers = (
            clip_from_files(recipe.architecture, tuple(recipe.clip), quick_gelu=False)
            if recipe.clip
            else clip_from_hub(recipe.architecture, recipe.clip_tag, quick_gelu=False)
        )
        trunk = ClipTrunk(self.towers.visual)
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, PromptableMasks(sizes_over(trunk, recipe)))
        self.trunk = trunk.to(self.device)
        photographs = open_masked(recipe.data, recipe.sets, recipe.split)
        self.photographs = mismatched(photographs) if recipe.mismatched else photographs

    def _batches(self, phase: LocalPhase) -> MaskCrops:
        return MaskCrops(self.photographs, self.recipe, phase)

    def _loss(self, batch: MaskBatch) -> Tensor:
        self.skips.add(batch.skipped)
        images = normalise(batch.images.to(self.device), "clip")
        targets = [objects.to(self.device) for objects in batch.targets]
        kinds = [kind for kind in KINDS if getattr(self.recipe.prompts, kind)]
        with self.autocast():
            features = self.network.features(self.trunk(images).stages)
            losses = {kind: self._prompted(kind, batch, features, targets) for kind in kinds}
        self.note(**{kind: loss.item() for kind, loss in losses.items()})
        return torch.stack(list(losses.values())).sum()

    def _prompted(self, kind: str, batch: MaskBatch, features: PixelFeatures, targets: list[Tensor]) -> Tensor:
        """Loss of one kind of prompts, summed over the decoder's layers, with the matches of the last layer.

        A grid point has four masks, a box or a set of points one, for the object that it was drawn from."""
        encoder, side = self.network.predictor.prompt_encoder, batch.images.shape[-1]
        size = (side, side)
        if kind == "grid":
            points = side * cell_centres(n := self.recipe.prompts.grid, n, self.device).expand(len(targets), -1, -1)
            predictions = self._decode(features, encoder.points(points, features.masks, size))
            matches = match_points(predictions[0].masks, targets, points, self.recipe.matching)
        else:
            if kind == "boxes":
                which, prompt = batch.boxed, encoder.boxes(batch.boxes.to(self.device), features.masks, size)
            else:
                places = Places.of_points(batch.points.to(self.device), batch.positive.to(self.device))
                which, prompt = batch.pointed, encoder.together(places, features.masks, size)
            predictions = self._decode(features, prompt)
            targets = [objects[mine.to(objects.device)] for objects, mine in zip(targets, which, strict=True)]
            matches = match_paired(predictions[0].masks, targets)
        losses = prompt_losses(predictions, targets, matches, drawn_on(self.device), self.recipe.points)
        return torch.stack([each.weighted for each in losses]).sum()

    def _decode(self, features: PixelFeatures, prompt: PromptTokens) -> list[Prediction]:
        """Predictions of every layer, the last layer's first."""
        *earlier, last = self.network.predictor.every_layer(features, prompt)
        return [last, *earlier]

    def _validate(self) -> dict[str, float]:
        """IoU of the served model's masks for boxes and points on the val splits of `judged`."""
        if not self.recipe.judged:
            return {}
        with TemporaryDirectory() as folder:
            weights = Path(folder) / FILE
            self.write_weights(weights)
            quality = publish_masks(self.recipe, weights).prompt_quality
        reached = {f"{name}_box_iou": each.box for name, each in quality.items()}
        return reached | {f"{name}_point_iou": each.point for name, each in quality.items()}

    def _weights(self) -> dict[str, Tensor]:
        return flat_state(self.towers.state, self.average)


def publish_masks(recipe: MasksRecipe, weights: Path) -> ModelCard:
    """Write a model directory next to the file of stage one, with the quality on the sets of `recipe.judged`."""
    imported = read(Options(checkpoint=weights, architecture=recipe.architecture))
    folder, side = weights.parent, recipe.phases[-1].crop
    clip = ", ".join(path.name for path in recipe.clip) or f"{recipe.architecture} ({recipe.clip_tag})"
    masks = [data_entry("masks", recipe.data / name) for name in recipe.sets]
    changes = {
        "training_data": [*masks, f"those of CLIP: {clip}"],
        "input": InputSize(short_side=side, long_side=side, multiple=32),
    }
    card = write_model(imported, folder, recipe, f"random weights over {clip}", changes)
    if recipe.judged:
        segmenter = catalogue.load_folder(folder, recipe.device)
        quality = {name: measure_prompts(segmenter, recipe.data, name, n) for name, n in recipe.judged.items()}
        card = update_card(card, folder, prompt_quality=quality)
    return card
