"""Training of S-Seg: pseudo-masks supervise the masks, captions the embeddings.

Both losses train the queries and the backbone. Mask embedding and mask features learn from pseudo-masks only. The
background threshold of a published model is the one with the highest mIoU on training splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lexiseg_model.cards import InputSize, ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.clip.text import tokenize
from lexiseg_model.errors import DatasetError
from lexiseg_model.masks.upsample import winners
from lexiseg_model.methods.s_seg.import_ import Options, read
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_train.data.indexed import IndexedDataset, read_dataset
from lexiseg_train.evaluation.counts import count, scores
from lexiseg_train.methods.s_seg.pseudo_masks import PseudoMasks, mask_maker
from lexiseg_train.methods.s_seg.trainings import LossSettings, SSegRecipe
from lexiseg_train.training.distributed import gather
from lexiseg_train.training.losses import LossParts, contrast_loss, info_nce, matched_mask_losses, mean_over_targets
from lexiseg_train.training.model_card import measure_quality, origin_fields, pairs_entries, update_card
from lexiseg_train.training.pair_run import PairRun, recall
from lexiseg_train.training.pairs import PairBatch

BATCH = 50  # held-out pairs in one pass
NETWORK = "network."  # prefix of weight names in `SSegLosses`
TEST_BY_TRAINING = 2  # ratio of image sides in inference and training: GroupViT's 448 and 224
THRESHOLDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)  # GroupViT's 0.35 and 0.95 among them


@dataclass(frozen=True)
class Losses(LossParts):
    """Parts of S-Seg's loss."""

    masks: Tensor  # of the last decoder layer
    earlier_masks: Tensor  # of the layers before it
    contrast: Tensor  # images against captions, in both directions


class Inputs(NamedTuple):
    """A batch."""

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

    def forward(self, images: Tensor, tokens: Tensor, pseudo: PseudoMasks) -> Losses:
        """Losses of one batch in every process; arguments as in `Inputs`."""
        return self.of_rows(self.rows(Inputs(images, tokens, pseudo)))

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

    def of_rows(self, rows: Rows) -> Losses:
        """Losses of all images of a step; `rows` are this process's."""
        settings = self.settings
        masks = settings.masks * mean_over_targets(rows.mask_losses.sum(0), rows.targets.sum())
        images, texts = self.network.project_images(rows.pooled), self.network.project_texts(rows.texts)
        both = contrast_loss(self.network.contrast.scale, images @ gather(texts).T, texts @ gather(images).T)
        return Losses(
            masks=masks[-1],
            earlier_masks=settings.earlier_layers * masks[:-1].sum(),
            contrast=settings.contrast * 2 * both,  # the sum of both directions
        )


class SSegTrainer(PairRun[SSegRecipe, SSegLosses]):
    """Trains the whole network; the tower of the pseudo-masks stays frozen."""

    file = WEIGHTS

    def __init__(self, recipe: SSegRecipe) -> None:
        self.maker = mask_maker(recipe.masks, recipe.tower)
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, SSegLosses(SSegNetwork(recipe.network, recipe.backbone), recipe.loss), tokenize)
        self.maker = self.maker.to(self.device)

    def _inputs(self, batch: PairBatch) -> Inputs:
        self.skips.add(batch.skipped)
        return Inputs(batch.images, batch.tokens, self.maker(batch.images.to(self.device, non_blocking=True)))

    def _rows(self, inputs: Inputs) -> Rows:
        images, tokens = (each.to(self.device, non_blocking=True) for each in (inputs.images, inputs.tokens))
        with self.autocast():
            return self.network.rows(Inputs(images, tokens, inputs.pseudo))

    def _loss_of_rows(self, rows: Rows) -> Tensor:
        losses = self.network.of_rows(rows)
        self.note(**losses.figures)
        return losses.total

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
        return {name.removeprefix(NETWORK): value for name, value in self.average.items()}


def untrained(recipe: SSegRecipe) -> SSegNetwork:
    """Untrained network of a recipe."""
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
    measured = [name for name in recipe.thresholds if (recipe.data / name / "val").is_dir()]
    quality = measure_quality(segmenter, (read_dataset(recipe.data, name, "val") for name in measured))
    return update_card(card, folder, quality=quality)


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
