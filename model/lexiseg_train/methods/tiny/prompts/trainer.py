"""Training of `tiny`'s prompt head: class-agnostic masks for points and boxes, on features of the frozen network."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import (
    COLOUR_MEAN,
    COLOUR_STD,
    MaskAnswers,
    PromptHead,
    channel,
)
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, TinyState, load_tensors
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_train.data.indexed import measurable
from lexiseg_train.methods.tiny.prompts.corrections import (
    draw_corrections,
    first_points,
    found_masks,
    harm_losses,
    point_losses,
    word_vectors,
)
from lexiseg_train.methods.tiny.prompts.draw import CELL_LABELS, MAX_POINTS, Example, PromptCrops, read_samples
from lexiseg_train.methods.tiny.trainings import PromptsRecipe
from lexiseg_train.methods.tiny.widen import widened_head
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run

ENTROPY, DICE, QUALITY = 2.0, 1.0, 1.0  # weights of the losses, as Unpair-Seg
POINTS = 1.0  # weight of the loss of points on the wrong side
HARM = 1.0  # weight of the loss of what a correction makes wrong
ALL_MASKS_WEIGHT = (
    0.05  # weight of the mean over all masks of a point relative to the best one, so that all are trained
)
GUIDE_STRIDE = 2  # pixels of the network's input per pixel of the guide, as `halved` makes it


class PromptLosses(NamedTuple):
    """`total` to be minimised; `overlap`, the mean IoU of the best answers, for the log."""

    total: Tensor
    overlap: Tensor


def prompt_losses(answers: MaskAnswers, targets: Tensor, valid: Tensor) -> PromptLosses:
    """Losses of N prompts for each of B images, by shares of cells, `targets` [B, N, h, w], where `valid` [B, h, w]."""
    logits = answers.masks.float()
    target, valid_cells = targets[:, :, None], valid[:, None, None]
    entropy = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    entropy = (entropy * valid_cells).flatten(3).sum(3) / valid_cells.flatten(3).sum(3).clamp_min(1)
    inside = logits.sigmoid() * valid_cells
    shared = (inside * target).flatten(3).sum(3)
    area = inside.flatten(3).sum(3) + (target * valid_cells).flatten(3).sum(3)
    losses = ENTROPY * entropy + DICE * (1 - (2 * shared + 1) / (area + 1))  # [B, N, M]
    iou = overlaps(logits.detach(), target, valid_cells)
    quality_loss = F.smooth_l1_loss(answers.quality.float().sigmoid(), iou, beta=0.1)
    best = (1 - ALL_MASKS_WEIGHT) * losses.amin(2).mean() + ALL_MASKS_WEIGHT * losses.mean()
    return PromptLosses(best + QUALITY * quality_loss, iou.amax(2).mean())


def overlaps(logits: Tensor, target: Tensor, valid_cells: Tensor) -> Tensor:
    """IoU of masks (logit > 0) with targets (share > 0.5) over valid cells: [..., h, w] -> [...]."""
    predicted, truth, counted = logits > 0, target > 0.5, valid_cells > 0
    intersection = (predicted & truth & counted).flatten(-2).sum(-1)
    union = ((predicted | truth) & counted).flatten(-2).sum(-1)
    return intersection / union.clamp_min(1)


def untrained(recipe: PromptsRecipe) -> PromptHead:
    """Untrained head of the usual width."""
    return PromptHead()


class PromptTrainer(Run[PromptsRecipe, PromptHead, list[Example]]):
    """Trains only the head; the weights file also holds the unchanged network below."""

    file = FILE

    def __init__(self, recipe: PromptsRecipe) -> None:
        measurable(recipe.data, recipe.sets)
        path = BUNDLED if recipe.base_weights == "bundled" else Path(recipe.base_weights)
        self.base = TinyState.from_tensors(read_weights(path, None)).network
        network = load_tensors(TinyNetwork.for_weights(self.base), self.base, path)
        super().__init__(recipe, _initial_head(recipe, network.embedding))
        self.sources = [(source, read_samples(recipe.data, name, source)) for name, source in recipe.sets.items()]
        self.features: TinyNetwork = convert_conv2d_weight_memory_format(network.to(self.device), torch.channels_last)
        tower = load_text_tower()
        self.words = [word_vectors(self.features, tower, recipe.data, name) for name in recipe.sets]

    def _batches(self, phase: LocalPhase) -> PromptCrops:
        return PromptCrops(self.sources, self.recipe, phase)

    def _loss(self, batch: list[Example]) -> Tensor:
        pixels, guide = self._encoded([example.crop for example in batch])
        sampled = [example.clicks for example in batch]
        prompts = Prompts(*(self._stacked([d[index] for d in sampled]) for index in range(len(Prompts._fields))))
        targets = self._stacked([d.targets for d in sampled]) / CELL_LABELS
        valid = self._stacked([d.valid for d in sampled])
        n = self.recipe.single_point_prompts
        points, clear = first_points(prompts, slice(n)), Prompts(*(part[:, n:] for part in prompts))
        by_words = self._masks_by_words(batch, pixels, targets)
        rounds = int(np.random.default_rng([self.recipe.seed, self.step]).integers(1, MAX_POINTS))
        with self.autocast():
            shared = self.network.shared(pixels, guide)
            corrected = draw_corrections(
                self.network, shared, clear, targets[:, n:], valid, self.recipe.corrected, rounds, by_words
            )
            of_points = self.network.click_masks(shared, points)
            of_clear = self.network.corrected_mask(shared, *corrected)
        single = prompt_losses(of_points, targets[:, :n], valid)
        unambiguous = prompt_losses(of_clear, targets[:, n:], valid)
        beside = point_losses(of_clear.masks[:, :, 0], corrected.prompts)
        harm = harm_losses(of_clear.masks[:, :, 0], corrected, targets[:, n:], valid)
        self.note(
            point_iou=single.overlap.item(), box_iou=unambiguous.overlap.item(), beside=beside.item(), harm=harm.item()
        )
        return single.total + unambiguous.total + POINTS * beside + HARM * harm

    def _masks_by_words(self, batch: list[Example], pixels: Tensor, targets: Tensor) -> Tensor:
        """What words leave of the objects that are corrected, [B, n, h, w] bool; empty where a set has no words."""
        first = targets.shape[1] - self.recipe.corrected
        by_words = torch.zeros_like(targets[:, first:], dtype=torch.bool)
        for place, example in enumerate(batch):
            words = self.words[example.source]
            if words is not None and not example.is_whole:
                values = torch.as_tensor(example.clicks.values).to(self.device)
                by_words[place] = found_masks(self.features, pixels[place], words, values, targets[place])[first:]
        return by_words

    @torch.no_grad()
    def _encoded(self, crops: list[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """Pixel embeddings and guides of crops, computed as for served images."""
        pixels = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).float()
        images = normalised(pixels).contiguous(memory_format=torch.channels_last)
        with self.autocast():
            embeddings = self.features(images).pixels
        mean, std = channel(COLOUR_MEAN, self.device), channel(COLOUR_STD, self.device)
        return embeddings, (F.avg_pool2d(pixels, GUIDE_STRIDE).round() - mean) / std

    def _stacked(self, parts: list[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(parts)).to(self.device).float()

    def _weights(self) -> dict[str, Tensor]:
        return TinyState(self.base, self.average).merged()


def _initial_head(recipe: PromptsRecipe, embedding: int) -> PromptHead:
    torch.manual_seed(recipe.seed)
    if recipe.start == "scratch":
        return PromptHead(embedding)
    path = BUNDLED if recipe.start == "bundled" else Path(recipe.start)
    tensors = TinyState.from_tensors(read_weights(path, None)).prompts
    head = load_tensors(PromptHead.for_weights(tensors), tensors, path).requires_grad_(True)
    return widened_head(head, embedding) if embedding > head.embedding else head
