"""Training of stage one: promptable masks over a frozen CLIP, with the last layer's matches for all decoder layers.

Losses are cross-entropy and dice at sampled points, and that of predicted quality. Each grid point is matched
separately: its four masks with the objects at the point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
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
from lexiseg_model.methods.unpair_seg.settings import Compatibility, Sizes
from lexiseg_train.methods.unpair_seg.mask_batches import (
    MaskBatch,
    Masked,
    draw_crop,
    draw_prompts,
    mismatched,
    open_masked,
)
from lexiseg_train.methods.unpair_seg.trainings import MasksRecipe, PointSettings
from lexiseg_train.training.distributed import mean_over_processes
from lexiseg_train.training.losses import assign, dice_costs, dice_losses
from lexiseg_train.training.model_card import data_entry, measure_prompts, update_card, write_model
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run
from lexiseg_train.training.stream import Stream

Draw = Callable[[tuple[int, ...]], Tensor]  # uniform numbers in 0..1 of a shape
FORBIDDEN = 1e6  # cost that the released code adds where a point is not on the object
MASK, DICE, QUALITY = 2.0, 1.0, 1.0  # weights in loss and matching cost, from the released configuration
FILE = "stage-one.safetensors"
KINDS = ("grid", "boxes", "several")


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Sample maps [M, h, w] bilinearly at points [M, n, 2], (x, y) in 0..1: [M, n]."""
    return F.grid_sample(maps[:, None], (2 * points - 1)[:, :, None], align_corners=False)[:, 0, :, 0]


@torch.no_grad()
def unsure_points(logits: Tensor, settings: PointSettings, draw: Draw) -> Tensor:
    """Points [M, points, 2] (x, y) in 0..1 for masks [M, h, w], most where its logits are near 0 (PointRend)."""
    n_unsure = int(settings.importance * settings.points)
    candidates = draw((len(logits), int(settings.oversample * settings.points), 2)).to(logits)
    nearest = at_points(logits, candidates).abs().topk(n_unsure, largest=False, sorted=False).indices
    unsure = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    anywhere = draw((len(logits), settings.points - n_unsure, 2)).to(logits)
    return torch.cat([unsure, anywhere], 1)


def drawn_on(device: torch.device) -> Draw:
    return lambda shape: torch.rand(shape, device=device)


class Matches(NamedTuple):
    image: Tensor  # int64 [M]
    prediction: Tensor  # int64 [M], prompt * masks per prompt + mask
    target: Tensor  # int64 [M]
    dice: Tensor  # [M], soft dice coefficient of each pair, the target of `quality`


@torch.no_grad()
def match_points(masks: Tensor, targets: Sequence[Tensor], points: Tensor, compatibility: Compatibility) -> Matches:
    """Match the masks of points, logits [B, Q, M, h, w], with objects [K, H, W] of each image at the points [B, Q, 2].

    `released`, as in the authors' code, adds 1e6 in float32 to the cost of masks that a point is not on: forbidden
    pairs compete with allowed ones, and costs are rounded to 1/16. Forbidden pairs are removed afterwards in both
    modes."""
    by_image = [
        _match_image(*each, compatibility) for each in zip(masks, targets, points, strict=True)
    ]  # prediction, target and dice of each image
    return _together(by_image)


def _match_image(masks: Tensor, targets: Tensor, points: Tensor, compatibility: Compatibility) -> list[Tensor]:
    costs, dice = point_costs(masks, targets)
    height, width = targets.shape[-2:]
    x, y = points.long().unbind(-1)
    allowed = targets[:, y.clamp(0, height - 1), x.clamp(0, width - 1)].T > 0  # [Q, K]: the point is on the object
    if compatibility == "released":
        hindered = costs + FORBIDDEN * (~allowed).float()[:, None]
        pairs = assign(hindered)
        is_allowed = allowed[pairs.image, pairs.target]
        point, mask, target = (each[is_allowed] for each in pairs)
    else:
        point, mask, target = assign(costs, allowed)
    return [point * masks.shape[1] + mask, target, 1 - dice[point, mask, target]]


@torch.no_grad()
def match_paired(masks: Tensor, targets: Sequence[Tensor]) -> Matches:
    """Match prediction i of [B, Q, 1, h, w] with target i of each image's [Q, H, W], for prompts drawn from objects."""
    by_image = []
    for of_image, objects in zip(masks, targets, strict=True):
        logits, resized = of_image.float().flatten(1), _nearest(objects, of_image.shape[-2:])
        dice = dice_costs(logits[:, None], resized[:, None])[:, 0, 0]
        order = torch.arange(len(objects), device=masks.device)
        by_image.append([order, order, 1 - dice])
    return _together(by_image)


def point_costs(masks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Costs [Q, M, K] of masks, logits [Q, M, h, w], and objects [K, H, W], and their dice part, at half resolution."""
    with torch.autocast(masks.device.type, enabled=False):
        small = F.interpolate(masks.float(), scale_factor=0.5, mode="bilinear", align_corners=False)
        logits, resized = small.flatten(0, 1).flatten(1), _nearest(targets, small.shape[-2:])
        dice = dice_costs(logits[None], resized[None])[0]
        entropy = (F.softplus(-logits) @ resized.T + F.softplus(logits) @ (1 - resized).T) / logits.shape[1]
        costs = MASK * entropy + DICE * dice
    shape = (*masks.shape[:2], len(targets))
    return costs.view(shape), dice.view(shape)


def _nearest(targets: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(targets[:, None].float(), size=list(size), mode="nearest").flatten(1)


def _together(by_image: Sequence[Sequence[Tensor]]) -> Matches:
    image = torch.cat([torch.full_like(each[0], index) for index, each in enumerate(by_image)])
    prediction, target, dice = (torch.cat(parts) for parts in zip(*by_image, strict=True))
    return Matches(image, prediction, target, dice)


class PromptLosses(NamedTuple):
    """Unweighted scalar losses: means over the pairs of all processes."""

    mask: Tensor
    dice: Tensor
    quality: Tensor

    @property
    def weighted(self) -> Tensor:
        return MASK * self.mask + DICE * self.dice + QUALITY * self.quality


def prompt_losses(
    predictions: Sequence[Prediction],
    targets: Sequence[Tensor],
    matches: Matches,
    draw: Draw,
    settings: PointSettings,
) -> list[PromptLosses]:
    """Losses of several layers' predictions, in the order of calls of `draw`, with the matches of the last layer."""
    count = torch.tensor(float(len(matches.image)), device=matches.dice.device)
    n_pairs = mean_over_processes(count).clamp(min=1)
    matched = [objects[matches.target[matches.image == image]] for image, objects in enumerate(targets)]
    return [_losses(each, torch.cat(matched).float(), matches, n_pairs, draw, settings) for each in predictions]


def _losses(
    prediction: Prediction, targets: Tensor, matches: Matches, n_pairs: Tensor, draw: Draw, settings: PointSettings
) -> PromptLosses:
    with torch.autocast(prediction.masks.device.type, enabled=False):
        logits = prediction.masks.flatten(1, 2)[matches.image, matches.prediction].float()  # [M, h, w]
        quality = prediction.quality.flatten(1)[matches.image, matches.prediction].float().sigmoid()
        points = unsure_points(logits, settings, draw)
        predicted, truth = at_points(logits, points), at_points(targets, points)
        entropy = F.binary_cross_entropy_with_logits(predicted, truth, reduction="none").mean(1)
        return PromptLosses(
            entropy.sum() / n_pairs,
            dice_losses(predicted, truth).sum() / n_pairs,
            F.smooth_l1_loss(quality, matches.dice, reduction="sum") / n_pairs,
        )


def meta_trunk(architecture: str) -> ClipTrunk:
    """Image tower on the meta device, for its sizes."""
    from open_clip import CLIP  # importable only after lexiseg_model.clip

    config = configuration(architecture)
    config["vision_cfg"]["timm_model_pretrained"] = False
    with torch.device("meta"):
        return ClipTrunk(CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"]).visual)


def untrained(recipe: MasksRecipe) -> PromptableMasks:
    return PromptableMasks(sizes_over(meta_trunk(recipe.architecture), recipe))


def sizes_over(trunk: ClipTrunk, recipe: MasksRecipe) -> Sizes:
    return Sizes(trunk.channels, **recipe.size.model_dump())


class MaskCrops(Stream[MaskBatch]):
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
        images = normalise(batch.images.to(self.device), "clip")
        targets = [objects.to(self.device) for objects in batch.targets]
        kinds = [kind for kind in KINDS if getattr(self.recipe.prompts, kind)]
        with self.autocast():
            features = self.network.features(self.trunk(images).stages)
            losses = {kind: self._prompted(kind, batch, features, targets) for kind in kinds}
        return self._noted_total(losses)

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
