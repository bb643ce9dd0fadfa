"""Training of `tiny`'s prompt head: class-agnostic masks for points and boxes, over a network that stays as it is."""

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
from lexiseg_model.methods.tiny.network import MEAN, STD, STRIDE, TinyNetwork, channel
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.training.prompt_draw import CELL_LABELS, Drawn, PromptCrops, read_samples
from lexiseg_model.methods.tiny.training.recipe import PromptsRecipe
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, TinyState, load_tensors
from lexiseg_model.training.recipe import LocalPhase
from lexiseg_model.training.run import Run

ENTROPY, DICE, QUALITY = 2.0, 1.0, 1.0  # Unpair-Seg's 2 : 1 : 1
OTHERS = 0.05  # of the loss goes to the mean over a point's answers, so that none of them dies


class PromptLosses(NamedTuple):
    """`total` to be minimised; `overlap`, the mean IoU of the best answers, for the log."""

    total: Tensor
    overlap: Tensor


def prompt_losses(answers: MaskAnswers, targets: Tensor, valid: Tensor) -> PromptLosses:
    """Losses of N prompts for each of B images.

    Args:
        answers: masks [B, N, M, h, w] and quality [B, N, M].
        targets: share of each cell that is the object's, [B, N, h, w] in 0..1.
        valid: [B, h, w] of 0 and 1: where masks count.
    """
    logits = answers.masks.float()
    wanted, counts = targets[:, :, None], valid[:, None, None]
    entropy = F.binary_cross_entropy_with_logits(logits, wanted.expand_as(logits), reduction="none")
    entropy = (entropy * counts).flatten(3).sum(3) / counts.flatten(3).sum(3).clamp_min(1)
    inside = logits.sigmoid() * counts
    shared = (inside * wanted).flatten(3).sum(3)
    area = inside.flatten(3).sum(3) + (wanted * counts).flatten(3).sum(3)
    losses = ENTROPY * entropy + DICE * (1 - (2 * shared + 1) / (area + 1))  # [B, N, M]
    reached = overlaps(logits.detach(), wanted, counts)
    off = F.smooth_l1_loss(answers.quality.float().sigmoid(), reached, beta=0.1)
    best = (1 - OTHERS) * losses.amin(2).mean() + OTHERS * losses.mean()
    return PromptLosses(best + QUALITY * off, reached.amax(2).mean())


def overlaps(logits: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    """IoU of masks cut at logit 0 with targets cut at one half, where it counts: [..., h, w] -> [...]."""
    ours, theirs, counted = logits > 0, wanted > 0.5, counts > 0
    both = (ours & theirs & counted).flatten(-2).sum(-1)
    either = ((ours | theirs) & counted).flatten(-2).sum(-1)
    return both / either.clamp_min(1)


GUIDE_STRIDE = 2  # pixels of the network's input per pixel of the guide, as `halve` makes it
Example = tuple[NDArray[np.uint8], Drawn]


class PromptTrainer(Run[PromptsRecipe, PromptHead, list[Example]]):
    """Trains the head alone: the weights that come out hold those of the network below, bit by bit."""

    file = FILE

    def __init__(self, recipe: PromptsRecipe) -> None:
        super().__init__(recipe, _initial_head(recipe))
        self.sources = [(source, read_samples(recipe.data, name, source)) for name, source in recipe.sets.items()]
        path = BUNDLED if recipe.below == "bundled" else Path(recipe.below)
        self.below = TinyState.of(read_weights(path, None)).network
        network = load_tensors(TinyNetwork(), self.below, path).to(self.device)
        self.features: TinyNetwork = convert_conv2d_weight_memory_format(network, torch.channels_last)

    def _batches(self, phase: LocalPhase) -> PromptCrops:
        recipe = self.recipe
        return PromptCrops(
            self.sources, phase.crop, recipe.lone, recipe.sure, recipe.corrected, phase.batch, recipe.seed
        )

    def _loss(self, batch: list[Example]) -> Tensor:
        pixels, guide = self._encoded([crop for crop, _ in batch])
        drawn = [drawn for _, drawn in batch]
        prompts = Prompts(*(self._stacked([d[index] for d in drawn]) for index in range(len(Prompts._fields))))
        targets = self._stacked([d.targets for d in drawn]) / CELL_LABELS
        valid = self._stacked([d.valid for d in drawn])
        n = self.recipe.lone
        lone = Prompts(
            prompts.points[:, :n, :1], prompts.signs[:, :n, :1], prompts.boxes[:, :n], prompts.has_box[:, :n]
        )
        sure = Prompts(*(part[:, n:] for part in prompts))
        with self.autocast():
            shared = self.network.maps(pixels, guide)
            sure = self._corrected(shared, sure, targets[:, n:], valid)
            of_lone, of_sure = self.network.click_masks(shared, lone), self.network.prompt_mask(shared, sure)
        lone_losses = prompt_losses(of_lone, targets[:, :n], valid)
        sure_losses = prompt_losses(of_sure, targets[:, n:], valid)
        self.note(point_iou=lone_losses.overlap.item(), box_iou=sure_losses.overlap.item())
        return lone_losses.total + sure_losses.total

    @torch.no_grad()
    def _corrected(self, shared: SharedMaps, sure: Prompts, targets: Tensor, valid: Tensor) -> Prompts:
        """The last prompts get a second point, where the mask that their first gets is wrong: [B, N, ...] as before."""
        n = self.recipe.corrected
        if not n:
            return sure
        first = Prompts(sure.points[:, -n:, :1], sure.signs[:, -n:, :1], sure.boxes[:, -n:], sure.has_box[:, -n:])
        found = self.network.click_masks(shared, first)
        best = found.quality.argmax(2)[..., None, None, None].expand(-1, -1, 1, *found.masks.shape[-2:])
        ours = found.masks.gather(2, best)[:, :, 0] > 0
        places, signs = mistakes(ours, targets[:, -n:] > 0.5, valid > 0)
        points, all_signs = sure.points.clone(), sure.signs.clone()
        points[:, -n:, 1], all_signs[:, -n:, 1] = places, signs
        return sure._replace(points=points, signs=all_signs)

    @torch.no_grad()
    def _encoded(self, crops: list[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """Embeddings and colours of crops, as they are kept of an image that is served."""
        pixels = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).float()
        mean, std = channel(MEAN, self.device), channel(STD, self.device)
        images = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
        with self.autocast():
            embeddings = self.features(images).pixels
        return embeddings, (F.avg_pool2d(pixels, GUIDE_STRIDE).round() - mean) / std

    def _stacked(self, parts: list[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(parts)).to(self.device).float()

    def _weights(self) -> dict[str, Tensor]:
        return TinyState(self.below, self.average).merged()


def mistakes(ours: Tensor, theirs: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A point in each mask's larger mistake, drawn at random: positive where it lacks, negative where it is too much.

    Args:
        ours: bool [B, N, h, w].
        theirs: bool [B, N, h, w].
        valid: bool [B, h, w].

    Returns:
        Points [B, N, 2] (x, y) in pixels of the crop and signs [B, N]; 0 where nothing is wrong.
    """
    width = ours.shape[-1]
    lacking, beyond = theirs & ~ours & valid[:, None], ours & ~theirs & valid[:, None]
    too_little = lacking.sum((2, 3)) >= beyond.sum((2, 3))
    wrong = torch.where(too_little[..., None, None], lacking, beyond).flatten(2)
    drawn = (torch.rand(wrong.shape, device=wrong.device) * wrong).argmax(2)
    places = torch.stack([drawn % width, drawn // width], -1).float()
    signs = torch.where(too_little, 1.0, -1.0) * wrong.any(2)
    return (places + 0.5) * STRIDE, signs


def _initial_head(recipe: PromptsRecipe) -> PromptHead:
    torch.manual_seed(recipe.seed)
    head = PromptHead()
    if recipe.start == "scratch":
        return head
    path = BUNDLED if recipe.start == "bundled" else Path(recipe.start)
    return load_tensors(head, TinyState.of(read_weights(path, None)).prompts, path).requires_grad_(True)
