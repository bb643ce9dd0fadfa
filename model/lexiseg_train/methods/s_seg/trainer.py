"""Training of S-Seg: pseudo-masks supervise the masks, captions the embeddings.

Pseudo-masks are k-means clusters of the patch tokens of a self-supervised tower, or of colours, of augmented
images. The paper states DINO ViT-S/8, k-means and K = 8: for the rest see `PseudoMaskSettings`. It measures them by the
most frequent true class of each cluster's pixels (arXiv 2401.12217): an mIoU of 78.8 on VOC, k-means of colours 49.5.

Both losses train the queries and the backbone. Mask embedding and mask features learn from pseudo-masks only. The
background threshold of a published model is the one with the highest mIoU on training splits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.cards import InputSize, ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import WEIGHTS, under
from lexiseg_model.clip.dino import dino_from_file, dino_from_hub
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.text import tokenize
from lexiseg_model.errors import DatasetError, ShapeError
from lexiseg_model.masks.upsample import winners
from lexiseg_model.methods.s_seg.import_ import Options, read
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.indexed import IGNORE, IndexedDataset, measurable, read_dataset
from lexiseg_train.evaluation.counts import count, scores
from lexiseg_train.methods.s_seg.trainings import LossSettings, PseudoMaskSettings, SSegRecipe
from lexiseg_train.training.distributed import gather
from lexiseg_train.training.losses import contrast_loss, info_nce, matched_mask_losses, mean_over_targets
from lexiseg_train.training.model_card import origin_fields, pairs_entries, update_card, with_quality
from lexiseg_train.training.pair_run import PairBatch, PairRun, recall

COLOUR_CELL = 8  # pixels of a cell's side, as a patch of the paper's tower
BATCH = 50  # held-out pairs in one pass
TEST_BY_TRAINING = 2  # ratio of image sides in inference and training: GroupViT's 448 and 224
THRESHOLDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)  # GroupViT's 0.35 and 0.95 among them


@torch.no_grad()
def k_means(points: Tensor, k: int, iterations: int, seed: int) -> Tensor:
    """Cluster each set of points [B, P, C] with k-means++ and Lloyd's iterations: int64 [B, P] in 0..k-1.

    Only sets with fewer than k distinct points keep empty clusters. Raises ShapeError: P is less than k."""
    if points.ndim != 3 or points.shape[1] < k:
        raise ShapeError(f"expected points [B, P, C] with P at least {k}, got {list(points.shape)}")
    with torch.autocast(points.device.type, enabled=False):
        points = points.float()
        centres = _spread(points, k, seed)
        for _ in range(iterations):
            centres = moved(points, centres)
        return squared_distances(points, centres).argmin(2)


def moved(points: Tensor, centres: Tensor) -> Tensor:
    """One iteration of Lloyd: centres [B, k, C] at the means of the nearest of points [B, P, C], empty ones far off."""
    k = centres.shape[1]
    nearest, labels = squared_distances(points, centres).min(2)  # [B, P]
    members = F.one_hot(labels, k).float()
    counts = members.sum(1)  # [B, k]
    means = members.mT @ points / counts.clamp(min=1)[..., None]
    farthest = nearest.topk(k, dim=1).indices  # [B, k], the farthest first
    order = ((counts == 0).cumsum(1) - 1).clamp(min=0)  # rank of an empty cluster among the empty ones
    restarts = points.gather(1, farthest.gather(1, order)[..., None].expand(-1, -1, points.shape[2]))
    return torch.where(counts[..., None] > 0, means, restarts)


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """Squared distances [B, P, k] of points [B, P, C] and centres [B, k, C], not negative."""
    lengths = points.square().sum(2)[:, :, None] + centres.square().sum(2)[:, None, :]
    return (lengths - 2 * points @ centres.mT).clamp(min=0)


def _spread(points: Tensor, k: int, seed: int) -> Tensor:
    """First centres by k-means++ (Arthur and Vassilvitskii, 2007), drawn by squared distances with Gumbel noise."""
    n_points = points.shape[1]
    uniform = torch.rand(k, n_points, generator=torch.Generator().manual_seed(seed))
    tiny = torch.finfo(torch.float32).tiny
    waiting = -torch.log(uniform.clamp(min=tiny))  # exponentially distributed
    noise = -torch.log(waiting.clamp(min=tiny)).to(points.device)
    every = torch.arange(len(points), device=points.device)
    centre = points[:, noise[0].argmax()]  # [B, C]
    centres = [centre]
    gap = squared_distances(points, centre[:, None])[..., 0]  # [B, P], to the nearest centre
    for index in range(1, k):
        centre = points[every, (gap.log() + noise[index]).argmax(1)]
        centres.append(centre)
        gap = torch.minimum(gap, squared_distances(points, centre[:, None])[..., 0])
    return torch.stack(centres, 1)


class PseudoMasks(NamedTuple):
    """K disjoint masks of each image, which together cover it."""

    masks: Tensor  # float32 [B, K, h, w], 0 or 1
    present: Tensor  # bool [B, K]: the mask is not empty


class PseudoMaskMaker(nn.Module):
    def __init__(self, tower: nn.Module, settings: PseudoMaskSettings) -> None:
        """Freeze a tower that maps normalised images [B, 3, H, W] to [B, C, h, w], such as `DinoTower`."""
        super().__init__()
        self.tower = tower.eval().requires_grad_(False)
        self.settings = settings

    @torch.no_grad()
    def forward(self, images: Tensor) -> PseudoMasks:
        """Masks [B, K, h, w] of images [B, 3, H, W] with ImageNet's statistics and multiples of the patch as sides."""
        return divide(self.tower(images), self.settings)


def colour_maker(settings: PseudoMaskSettings, cell: int = COLOUR_CELL) -> PseudoMaskMaker:
    """Maker of masks by k-means of RGB on cells of `cell` pixels; lengths are kept, as they carry brightness."""
    return PseudoMaskMaker(nn.AvgPool2d(cell), settings.model_copy(update={"unit_length": False}))


def mask_maker(settings: PseudoMaskSettings, weights: Path | None = None) -> PseudoMaskMaker:
    """Maker with the settings' tower and weights from a file, or from timm's hub without one; colours need neither."""
    if settings.tower == "colours":
        return colour_maker(settings)
    tower = dino_from_hub(settings.tower) if weights is None else dino_from_file(settings.tower, weights)
    return PseudoMaskMaker(tower, settings)


def divide(maps: Tensor, settings: PseudoMaskSettings) -> PseudoMasks:
    """Cluster the tokens of maps [B, C, h, w] into masks [B, K, h * repeat, w * repeat]."""
    tokens = maps.flatten(2).transpose(1, 2).float()  # [B, h*w, C]
    if settings.unit_length:
        tokens = F.normalize(tokens, dim=2)
    labels = k_means(tokens, settings.k, settings.iterations, settings.seed).view(len(maps), *maps.shape[-2:])
    masks = F.one_hot(labels, settings.k).permute(0, 3, 1, 2).float()  # [B, h, w] -> [B, K, h, w]
    present = masks.flatten(2).any(2)
    if settings.repeat > 1:
        masks = F.interpolate(masks, scale_factor=settings.repeat, mode="nearest")
    return PseudoMasks(masks, present)


def oracle_miou(maker: PseudoMaskMaker, data: IndexedDataset, side: int, advance: Callable[[], object]) -> float:
    """Oracle mIoU in percent over all classes; photographs are resized to `side`, a multiple of the tower's patch."""
    counts = np.zeros((3, len(data.classes)), np.int64)
    for sample in data.samples:
        truth = sample.read_mask()
        square = cv2.resize(sample.read_image(), (side, side), interpolation=cv2.INTER_AREA)
        image = normalise(torch.from_numpy(square).permute(2, 0, 1)[None], "imagenet")
        labels = maker(image).masks[0].argmax(0).numpy().astype(np.uint8)
        clusters = cv2.resize(labels, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        named = np.zeros_like(truth)
        for cluster in np.unique(clusters):
            inside = truth[(clusters == cluster) & (truth != IGNORE)]
            named[clusters == cluster] = np.bincount(inside, minlength=1).argmax()
        counts += count(truth, named, len(data.classes))
        advance()
    return float(scores(counts).miou)


class Inputs(NamedTuple):
    images: Tensor  # [B, 3, H, W], normalised
    tokens: Tensor  # [B, 77], caption of each image
    pseudo: PseudoMasks  # of the images


class Rows(NamedTuple):
    """All that the losses need of a batch of B images."""

    pooled: Tensor  # [B, M, 256], queries before the projector
    texts: Tensor  # [B, text_width], captions before the projector
    mask_losses: Tensor  # [1, L], weighted sum over the batch's masks for each decoder layer
    targets: Tensor  # [1], number of these masks


class SSegLosses(nn.Module):
    """A network and its losses, as one module for training over several processes."""

    def __init__(self, network: SSegNetwork, settings: LossSettings) -> None:
        super().__init__()
        self.network = network
        self.settings = settings

    def rows(self, inputs: Inputs) -> Rows:
        """Rows of one batch, without the projectors: their norms see the whole step."""
        images, tokens, pseudo = inputs
        logits, queries = self.network(images)
        supervised = logits if self.settings.earlier_layers else logits[-1:]
        losses = matched_mask_losses(supervised, pseudo.masks, self.settings.mask_losses, pseudo.present)
        return Rows(
            self.network.pool(queries[-1]),
            self.network.encode_texts(tokens),
            losses.weighted(self.settings.mask_losses)[None],
            losses.targets[None],
        )

    def of_rows(self, rows: Rows) -> dict[str, Tensor]:
        """Weighted losses of all images of a step by name; `rows` are this process's."""
        settings = self.settings
        masks = settings.masks * mean_over_targets(rows.mask_losses.sum(0), rows.targets.sum())
        images, texts = self.network.project_images(rows.pooled), self.network.project_texts(rows.texts)
        both = contrast_loss(self.network.contrast.scale, images @ gather(texts).T, texts @ gather(images).T)
        return {
            "masks": masks[-1],  # of the last decoder layer
            "earlier_masks": settings.earlier_layers * masks[:-1].sum(),
            "contrast": settings.contrast * 2 * both,  # the sum of both directions
        }


class SSegTrainer(PairRun[SSegRecipe, SSegLosses]):
    file = WEIGHTS

    def __init__(self, recipe: SSegRecipe) -> None:
        self.maker = mask_maker(recipe.masks, recipe.tower)
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, SSegLosses(SSegNetwork(recipe.network, recipe.backbone), recipe.loss), tokenize)
        self.maker = self.maker.to(self.device)

    def _inputs(self, batch: PairBatch) -> Inputs:
        return Inputs(batch.images, batch.tokens, self.maker(batch.images.to(self.device, non_blocking=True)))

    def _rows(self, inputs: Inputs) -> Rows:
        images, tokens = (each.to(self.device, non_blocking=True) for each in (inputs.images, inputs.tokens))
        with self.autocast():
            return self.network.rows(Inputs(images, tokens, inputs.pseudo))

    def _loss_of_rows(self, rows: Rows) -> Tensor:
        return self._noted_total(self.network.of_rows(rows))

    def _extra_figures(self) -> dict[str, float]:
        return {"scale": round(self.network.network.contrast.scale.item(), 2)}

    def _validate(self) -> dict[str, float]:
        """Retrieval among N held-out pairs; by chance a loss of at least 2 ln N, recall 1,000 / N."""
        if self.held_out is None:
            return {}
        network, pairs = self.network.network, self.held_out_pairs
        images = [
            network.embed_images(network.last_masks(some.to(self.device)).queries[-1])
            for some in torch.split(pairs.images, BATCH)
        ]
        texts = [network.embed_texts(some.to(self.device)) for some in torch.split(pairs.tokens, BATCH)]
        cosines = torch.cat(images) @ torch.cat(texts).T
        logits = network.contrast.scale * cosines
        return {"held_out_contrast": 2 * info_nce(logits, logits.T).item()} | recall(cosines, (10,))

    def _weights(self) -> dict[str, Tensor]:
        return under("network.", self.average)


def untrained(recipe: SSegRecipe) -> SSegNetwork:
    return SSegNetwork(recipe.network)


def publish(recipe: SSegRecipe, weights: Path) -> ModelCard:
    """Write `card.yaml` next to the weights, with a threshold fitted to `recipe.thresholds` and the mIoU on them."""
    card = read(Options(checkpoint=weights, backbone=recipe.network.backbone)).card
    side = TEST_BY_TRAINING * recipe.phases[-1].crop
    start = "random weights" if recipe.backbone is None else f"a backbone of {recipe.backbone.name}"
    tower = recipe.masks.tower if recipe.tower is None else recipe.tower.name
    changes = origin_fields(recipe, weights, start) | {
        "training_data": [*pairs_entries(recipe), f"pseudo-masks of {tower}"],
        "input": InputSize(short_side=side, long_side=max(2048, side), multiple=32),
        "settings": card.settings | recipe.network.model_dump(mode="json") | {"drop_path": None, "dropout": 0.0},
    }
    card = update_card(card, weights.parent, **changes)
    return _with_threshold(card, recipe, weights.parent) if recipe.thresholds else card


def _with_threshold(card: ModelCard, recipe: SSegRecipe, folder: Path) -> ModelCard:
    segmenter = catalogue.load_folder(folder, recipe.device)
    train = [read_dataset(recipe.data, name, "train") for name in recipe.thresholds]
    if lacking := [data.name for data in train if not data.has_background]:
        raise DatasetError(f"{lacking[0]} has no class {BACKGROUND!r}; no threshold can be chosen on it")
    miou = np.mean([_miou_by_threshold(segmenter, data, recipe.photographs) for data in train], 0)
    best = THRESHOLDS[int(miou.argmax())]
    print(f"threshold {best}: mIoU {miou.max():.2f} % on train splits", flush=True)
    card = update_card(card, folder, settings=card.settings | {"background": best})
    segmenter = catalogue.load_folder(folder, recipe.device)
    return with_quality(card, folder, segmenter, recipe.data, measurable(recipe.data, recipe.thresholds))


def _miou_by_threshold(segmenter: Segmenter, data: IndexedDataset, photographs: int) -> list[float]:
    """mIoU in percent, background included, of evenly spread photographs, which are encoded once."""
    classes = tuple(ClassEntry(name) for name in data.classes[1:])
    value_of = np.append(np.arange(1, len(data.classes)), 0)  # mask value of each row of the scores; last: background
    rows_of = KnownRows(segmenter)
    counts = np.zeros((len(THRESHOLDS), 3, len(data.classes)), np.int64)
    for sample in data.samples[:: max(1, len(data.samples) // photographs)][:photographs]:
        features = segmenter.encode(sample.read_image())
        truth = sample.read_mask()
        for index, threshold in enumerate(THRESHOLDS):
            vocabulary = Vocabulary(classes, Background(threshold=threshold))
            labels = winners(score_vocabulary(segmenter, features, vocabulary, rows_of), features.size).labels
            counts[index] += count(truth, value_of[labels], len(data.classes))
    return [scores(each).miou for each in counts]
