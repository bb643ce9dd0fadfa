"""Training of `tiny`'s prompt head: class-agnostic masks for points and boxes, on features of the frozen network.

Corrections are trained as SAM's (Kirillov et al., arXiv 2304.02643, appendix A): each round adds a point in the error
of the last mask, its own or someone else's, and that mask is an input. `point_losses` also wants each point on its side
of the outline, `harm_losses` that cells stay right which were right.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.methods.tiny.network import STRIDE, TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import (
    COLOUR_MEAN,
    COLOUR_STD,
    MaskAnswers,
    PromptHead,
    SharedMaps,
    channel,
)
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, TEMPLATE, TinyState, load_tensors
from lexiseg_model.methods.tiny.words.text_tower import MiniLM, load_text_tower
from lexiseg_train.data.indexed import CLASSES, measurable, read_classes
from lexiseg_train.methods.tiny.prompts.draw import (
    CELL_LABELS,
    MAX_POINTS,
    Example,
    PromptBatch,
    PromptCrops,
    read_samples,
)
from lexiseg_train.methods.tiny.trainer import widened_head
from lexiseg_train.methods.tiny.trainings import PromptsRecipe
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run

FOREIGN_MASKS = 0.5  # share of corrections that begin with a mask by someone else, without a first click
WORD_MASKS = 0.8  # share of corrections that begin with what words found, where that is neither right nor elsewhere
USEFUL = (0.1, 0.97)  # IoU of what words found with the object
WIDER = 0.7  # share of these masks that also hold another object; of the others half of the object is missing
WITH_MASK = 0.8  # share of the other corrections that see the mask; else their points have to do
CERTAIN = 6.0  # logit of a mask by someone else
IN_THE_MIDDLE = 0.5  # share of points in the middle of an error; the others lie anywhere in it
SURROUNDINGS = (3, 7, 15, 31)  # sides of the squares with wrong cells that tell the middle of an error
MARGIN = 1.0  # logit that a point should have on its side

Cells = NDArray[np.bool_]
ENTROPY, DICE, QUALITY = 2.0, 1.0, 1.0  # weights of the losses, as Unpair-Seg
POINTS = 1.0  # weight of the loss of points on the wrong side
HARM = 1.0  # weight of the loss of what a correction makes wrong
ALL_MASKS_WEIGHT = (
    0.05  # weight of the mean over all masks of a point relative to the best one, so that all are trained
)
GUIDE_STRIDE = 2  # pixels of the network's input per pixel of the guide, as `halved` makes it


class Corrected(NamedTuple):
    """Prompts with the points of the last rounds, the masks that they correct, logits [B, N, h, w], and 1 in `corrects`
    [B, N] where they do."""

    prompts: Prompts
    masks: Tensor
    corrects: Tensor


@torch.no_grad()
def draw_corrections(
    head: PromptHead,
    shared: SharedMaps,
    prompts: Prompts,
    targets: Tensor,
    valid: Tensor,
    n: int,
    rounds: int,
    by_words: Tensor | None = None,
) -> Corrected:
    """Correct the masks of the last `n` prompts, single points, in some rounds, each of which adds a point.

    Targets [B, N, h, w] are shares of cells, `valid` [B, h, w] is above 0 where cells count; `by_words` [B, n, h, w]
    bool is what words left of the objects, empty where no words were asked."""
    points, signs = prompts.points.clone(), prompts.signs.clone()
    masks, corrects = torch.zeros_like(targets), torch.zeros_like(prompts.has_box)
    if not n:
        return Corrected(prompts, masks, corrects)
    truth, counted = targets[:, -n:] > 0.5, valid > 0
    foreign = torch.rand(truth.shape[:2], device=truth.device) < FOREIGN_MASKS
    others = _masks_by_others(targets, n)
    if by_words is not None:
        overlap = (by_words & truth).sum((2, 3)) / (by_words | truth).sum((2, 3)).clamp_min(1)
        low, high = USEFUL
        useful = (overlap > low) & (overlap < high) & (torch.rand_like(overlap) < WORD_MASKS)
        others = torch.where(useful[..., None, None], torch.where(by_words, CERTAIN, -CERTAIN), others)
    logits = torch.where(foreign[..., None, None], others, _first_masks(head, shared, prompts, n))
    signs[:, -n:, 0] = signs[:, -n:, 0].masked_fill(foreign, 0.0)
    corrects[:, -n:] = (foreign | (torch.rand_like(foreign.float()) < WITH_MASK)).float()
    for number in range(1, rounds + 1):
        points[:, -n:, number], signs[:, -n:, number] = mistakes(logits > 0, truth, counted)
        masks[:, -n:] = logits
        if number < rounds:
            some = Prompts(points[:, -n:], signs[:, -n:], prompts.boxes[:, -n:], prompts.has_box[:, -n:])
            logits = head.corrected_mask(shared, some, logits, corrects[:, -n:]).masks[:, :, 0].float()
    return Corrected(prompts._replace(points=points, signs=signs), masks, corrects)


def _first_masks(head: PromptHead, shared: SharedMaps, prompts: Prompts, n: int) -> Tensor:
    """The likeliest masks of the last `n` prompts by their first point, logits [B, n, h, w]."""
    answers = head.click_masks(shared, first_points(prompts, slice(-n, None)))
    best = answers.quality.argmax(2)[..., None, None, None].expand(-1, -1, 1, *answers.masks.shape[-2:])
    return answers.masks.gather(2, best)[:, :, 0].float()


def _masks_by_others(targets: Tensor, n: int) -> Tensor:
    """Masks of the last `n` objects as a user may send them, logits [B, n, h, w]: too wide, or only a half."""
    truth = targets[:, -n:] > 0.5
    others = targets[:, torch.randperm(targets.shape[1], device=targets.device)[:n]] > 0.5
    y, x = (torch.linspace(-1, 1, side, device=targets.device) for side in targets.shape[-2:])
    area = truth.sum((2, 3), keepdim=True).clamp_min(1)
    middle_x, middle_y = ((truth * axis).sum((2, 3), keepdim=True) / area for axis in (x, y[:, None]))
    angle = 2 * torch.pi * torch.rand_like(middle_x)
    half = (x - middle_x) * angle.cos() + (y[:, None] - middle_y) * angle.sin() > 0
    masks = torch.where(torch.rand_like(middle_x) < WIDER, truth | others, truth & half)
    return torch.where(masks, CERTAIN, -CERTAIN)


def first_points(prompts: Prompts, some: slice) -> Prompts:
    points, signs, boxes, has_box = (part[:, some] for part in prompts)
    return Prompts(points[:, :, :1], signs[:, :, :1], boxes, has_box)


def mistakes(predicted: Tensor, truth: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A point in the larger error of each mask [B, N, h, w]: positive in missing cells, negative in excess cells.

    Points [B, N, 2] are (x, y) in pixels of the crop, signs [B, N] 0 where no cell of `valid` [B, h, w] is wrong."""
    width = predicted.shape[-1]
    lacking, beyond = truth & ~predicted & valid[:, None], predicted & ~truth & valid[:, None]
    too_little = lacking.sum((2, 3)) >= beyond.sum((2, 3))
    wrong = torch.where(too_little[..., None, None], lacking, beyond)
    around = torch.stack([F.avg_pool2d(wrong.float(), side, 1, side // 2) for side in SURROUNDINGS]).sum(0)
    noise = torch.rand(wrong.shape, device=wrong.device)
    in_the_middle = torch.rand(wrong.shape[:2], device=wrong.device)[..., None, None] < IN_THE_MIDDLE
    click = (torch.where(in_the_middle, around + 0.05 * noise, noise) * wrong).flatten(2).argmax(2)
    places = torch.stack([click % width, click // width], -1).float()
    signs = torch.where(too_little, 1.0, -1.0) * wrong.flatten(2).any(2)
    return (places + 0.5) * STRIDE, signs


def point_losses(masks: Tensor, prompts: Prompts) -> Tensor:
    """Mean loss [] of points on the wrong side of the outline of their masks, logits [B, N, h, w], or close to it."""
    height, width = masks.shape[-2:]
    places = 2 * prompts.points / prompts.points.new_tensor([width * STRIDE, height * STRIDE]) - 1  # [B, N, K, 2]
    logits = F.grid_sample(
        masks.float().flatten(0, 1)[:, None],
        places.flatten(0, 1)[:, :, None],
        padding_mode="border",
        align_corners=False,
    ).view(prompts.signs.shape)
    clicks = prompts.signs != 0
    return (F.softplus(MARGIN - prompts.signs * logits) * clicks).sum() / clicks.sum().clamp_min(1)


def harm_losses(masks: Tensor, corrected: Corrected, targets: Tensor, valid: Tensor) -> Tensor:
    """Mean loss [] of cells [B, N, h, w] that the corrected masks had right, over the size of object and mask."""
    truth, before, counted = targets > 0.5, corrected.masks > 0, valid[:, None] > 0
    entropy = F.binary_cross_entropy_with_logits(masks.float(), truth.float(), reduction="none")
    unchanged = (entropy * ((truth == before) & counted)).sum((2, 3))
    size = ((truth | before) & counted).sum((2, 3)).clamp_min(1)
    return (unchanged / size * corrected.corrects).sum() / corrected.corrects.sum().clamp_min(1)


@torch.no_grad()
def word_vectors(network: TinyNetwork, tower: MiniLM, root: Path, name: str) -> Tensor | None:
    """Text vectors [C, D] of the classes of a set, by mask value; None where the set names none."""
    listing = root / name / CLASSES
    if not listing.exists():
        return None
    rows = tower.encode([TEMPLATE.format(word) for word in read_classes(listing)])
    return network.project_texts(torch.from_numpy(rows).to(network.nobody.device))


@torch.no_grad()
def found_masks(network: TinyNetwork, pixels: Tensor, words: Tensor, values: Tensor, targets: Tensor) -> Tensor:
    """What the words of a crop leave of its objects, [N, h, w] bool: parts of each word's cells that touch the object.

    `pixels` are embeddings [D, h, w], `words` [C, D] by mask value, `values` [N] the objects', all asked for together,
    `targets` [N, h, w] the share of each cell that is the object's."""
    distinct, places = torch.unique(values, return_inverse=True)
    cosines, best = torch.einsum("kd,dhw->khw", words[distinct], pixels.float()).max(0)
    won = (best == places[:, None, None]) & (cosines > network.nobody)
    pairs = zip(won.cpu().numpy(), (targets > 0.5).cpu().numpy(), strict=True)
    return torch.from_numpy(np.stack([_touching(mask, truth) for mask, truth in pairs])).to(pixels.device)


def _touching(mask: Cells, truth: Cells) -> Cells:
    """The 4-connected parts of a mask [h, w] that share a cell with the truth [h, w]."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    numbers = np.unique(parts[mask & truth])
    return np.isin(parts, numbers[numbers > 0])


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
    return PromptHead()


class PromptTrainer(Run[PromptsRecipe, PromptHead, PromptBatch]):
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

    def _loss(self, batch: PromptBatch) -> Tensor:
        pixels, guide = self._encoded([example.crop for example in batch.examples])
        sampled = [example.clicks for example in batch.examples]
        prompts = Prompts(*(self._stacked([d[index] for d in sampled]) for index in range(len(Prompts._fields))))
        targets = self._stacked([d.targets for d in sampled]) / CELL_LABELS
        valid = self._stacked([d.valid for d in sampled])
        n = self.recipe.single_point_prompts
        points, clear = first_points(prompts, slice(n)), Prompts(*(part[:, n:] for part in prompts))
        by_words = self._masks_by_words(batch.examples, pixels, targets)
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

    def _masks_by_words(self, examples: list[Example], pixels: Tensor, targets: Tensor) -> Tensor:
        """What words leave of the objects that are corrected, [B, n, h, w] bool; empty where a set has no words."""
        first = targets.shape[1] - self.recipe.corrected
        by_words = torch.zeros_like(targets[:, first:], dtype=torch.bool)
        for place, example in enumerate(examples):
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
