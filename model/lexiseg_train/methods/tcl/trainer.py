"""Training of TCL on captioned photographs: losses, validation on pairs and on train splits with masks, publication.

The losses (section 3.3) are two contrastive ones, two area priors, two smoothness terms. B is the number of images with
captions in a batch, N that of a whole step, over all its batches and processes. The network makes rows of a batch, and
the losses are computed from the rows of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.cards import InputSize, ModelCard
from lexiseg_model.clip.scale import LearnedScale
from lexiseg_model.clip.text import end_states
from lexiseg_model.clip.towers import ClipTowers, clip_from_files, fresh_clip, tokenizer
from lexiseg_model.clip.vision import Tokens, require_plain_vit
from lexiseg_model.files.atomic import write_durably
from lexiseg_model.methods.tcl.checkpoint import CLIP, LOSSES, State, prefixes_of, restore, to_official
from lexiseg_model.methods.tcl.import_ import Options, card_over, read
from lexiseg_model.methods.tcl.network import (
    EPSILON,
    PATCH,
    STRIDE,
    TclNetwork,
    TclSettings,
    hard_mask,
    logistic_noise,
    similarity,
)
from lexiseg_model.methods.tcl.segmenter import TclSegmenter
from lexiseg_model.resources.device import Execution
from lexiseg_train.data.indexed import read_dataset
from lexiseg_train.evaluation.run import evaluate
from lexiseg_train.methods.tcl.trainings import LossSettings, TclRecipe
from lexiseg_train.training.distributed import gather, place
from lexiseg_train.training.losses import contrast_loss
from lexiseg_train.training.model_card import pairs_entries, write_model
from lexiseg_train.training.pair_run import PairBatch, PairRun, recall
from lexiseg_train.training.run import total

NOISE = 5  # number of the random stream, distinct from the ones of `lexiseg_train.training.pair_run`
OFFICIAL = "tcl.pth"  # next to the checkpoint: file for `lexiseg models import --method tcl`
BEST_OFFICIAL = "best.pth"  # such a file of the step with the best validation
BATCH = 32  # held-out pairs per pass; the last pass may have fewer
TEST_BY_TRAINING = 2  # ratio of a window in inference and a crop in training: TCL's 448 and 224


class Inputs(NamedTuple):
    """A batch as the losses take it; the first two are frozen CLIP's."""

    tokens: Tokens  # of the images, before the last block
    texts: Tensor  # [B, D] of the captions, of unit length
    images: Tensor  # [B, 3, H, W] on any device, normalised; sides are multiples of the patch
    noise: Tensor  # [B, H/4, W/4], result of `logistic_noise` for the hard masks
    all_texts: Tensor  # [N, D], `texts` of all batches of a step in all processes
    first: int  # number of the batch's first text among them


class Rows(NamedTuple):
    images: Tensor  # [B, D], unit vectors of the images under their own masks
    texts: Tensor  # [B, D], unit vectors of the captions
    cosines: Tensor  # [B, N] of captions and embeddings pooled under their masks
    area: Tensor  # [B], mean of the own caption's mask
    other_area: Tensor  # [B], mean of all other masks, 0 without others
    image_variation: Tensor  # [B], total variation of the embedding map
    mask_variation: Tensor  # [B], that of the masks


class TclLosses(nn.Module):
    def __init__(self, settings: LossSettings) -> None:
        super().__init__()
        self.settings = settings
        self.image_contrast = LearnedScale()
        self.feature_contrast = LearnedScale()

    def of_rows(self, rows: Rows) -> dict[str, Tensor]:
        """Weighted losses of all images of a step by name; `rows` are this process's."""
        weight = self.settings
        all_texts = gather(rows.texts)
        first, n_own = place() * len(rows.texts), len(rows.texts)
        # Own captions over all images.
        by_text = rows.texts @ gather(rows.images).T, gather(rows.cosines)[:, first : first + n_own].T
        # The image under its mask against the captions, TCL_v, and embeddings pooled under masks, TCL_f.
        images = contrast_loss(self.image_contrast.scale, rows.images @ all_texts.T, by_text[0])
        features = contrast_loss(self.feature_contrast.scale, rows.cosines, by_text[1])
        area = area_gap(rows.area, weight.own_share)
        others = area_gap(rows.other_area, weight.other_share) if len(all_texts) > 1 else rows.other_area.sum()
        return {
            "image_contrast": weight.image_contrast * images,
            "feature_contrast": weight.feature_contrast * features,
            "area": weight.area * area,
            "negative_area": weight.negative_area * others,
            "image_variation": weight.image_variation * rows.image_variation.mean(),
            "mask_variation": weight.mask_variation * rows.mask_variation.mean(),
        }


@torch.no_grad()
def inputs_of(network: TclNetwork, images: Tensor, texts: Tensor, noise: Tensor) -> Inputs:
    own = F.normalize(texts, dim=1, eps=EPSILON)
    return Inputs(network.tokens(images), own, images, noise, own, 0)


def joined(inputs: Sequence[Inputs]) -> list[Inputs]:
    """Batches of one step that know the texts of all batches and processes, which are in the order of ranks."""
    all_texts = gather(torch.cat([each.texts for each in inputs]))
    size = len(inputs[0].texts)
    first = place() * len(inputs) * size
    return [each._replace(all_texts=all_texts, first=first + place * size) for place, each in enumerate(inputs)]


def rows_of(network: TclNetwork, inputs: Inputs) -> Rows:
    """Rows of one batch; `network` is in training, its towers frozen."""
    tokens, texts, images, noise, all_texts, first = inputs
    embedding = network.grounder(*tokens)
    logits = network.sim2mask(similarity(embedding, all_texts))  # [B, N, H/4, W/4]
    masks = torch.sigmoid(logits)
    n_images, n_texts = masks.shape[:2]
    number = torch.arange(n_images, device=masks.device)
    own = number, first + number
    areas = masks.mean((2, 3))  # [B, N]
    others = torch.ones_like(areas).index_put(own, areas.new_zeros(()))
    images = images.to(masks.device)
    masked = images * F.interpolate(hard_mask(logits[own], noise)[:, None], size=images.shape[-2:], mode="nearest")
    return Rows(
        images=F.normalize(network.image_embedding(masked), dim=1, eps=EPSILON),
        texts=texts,
        cosines=cosines(embedding, masks, all_texts),
        area=areas[own],
        other_area=(areas * others).sum(1) / max(1, n_texts - 1),
        image_variation=total_variation(embedding),
        mask_variation=total_variation(masks),
    )


def cosines(embedding: Tensor, masks: Tensor, texts: Tensor) -> Tensor:
    """Cosines [B, N] of unit vectors of texts [N, D] and the mean embedding under each text's mask."""
    means = torch.einsum("bdhw,bnhw->bnd", embedding, masks) / (masks.sum((2, 3))[..., None] + EPSILON)
    pooled = F.normalize(means, dim=2, eps=EPSILON)  # [B, N, D]
    return torch.einsum("bnd,nd->bn", pooled, texts)


def area_gap(areas: Tensor, share: float) -> Tensor:
    """Distance between `share` and the mean of the areas [B] of all processes: several learn the same as one."""
    return (gather(areas.mean()[None]).mean() - share).abs()


def total_variation(maps: Tensor) -> Tensor:
    """[B] mean absolute difference of vertical neighbours in [B, C, h, w] plus that of horizontal ones."""
    return maps.diff(dim=2).abs().mean((1, 2, 3)) + maps.diff(dim=3).abs().mean((1, 2, 3))


class Learned(nn.Module):
    """All parameters that training changes. The image tower is no submodule: it is not saved, averaged or counted."""

    def __init__(self, network: TclNetwork, settings: LossSettings) -> None:
        super().__init__()
        self.grounder = network.grounder
        # Not named `sim2mask.bias`: both decay in the authors' training, and names with `bias` do not decay here.
        self.mask_scale, self.mask_offset = network.sim2mask.scale, network.sim2mask.bias
        self.losses = TclLosses(settings)


def untrained(recipe: TclRecipe) -> Learned:
    prefixes_of(recipe.architecture)
    with torch.device("meta"):
        towers = ClipTowers(fresh_clip(recipe.architecture, quick_gelu=True), recipe.architecture, quick_gelu=True)
        return Learned(TclNetwork(require_plain_vit(towers.visual)), recipe.loss)


def noise_of(seed: int, positions: Sequence[int], images: Tensor) -> Tensor:
    """Noise [B, H/4, W/4] of hard masks, determined by seed and position in every process."""
    height, width = (side // STRIDE for side in images.shape[-2:])
    uniform = np.stack(
        [np.random.default_rng([seed, NOISE, position]).random((height, width), np.float32) for position in positions]
    )
    edge = float(np.finfo(np.float32).eps)
    return logistic_noise(torch.from_numpy(uniform.clip(edge, 1 - edge))).to(images.device)


def flat(learned: State) -> State:
    """State of `Learned` under the names of a flat state: `grounder.*`, `sim2mask.*`, `losses.*`."""
    names = {"mask_scale": "sim2mask.scale", "mask_offset": "sim2mask.bias"}
    return {names.get(name, name): value for name, value in learned.items()}


class TclTrainer(PairRun[TclRecipe, Learned]):
    """Trains the grounder, the mask scale and the temperatures; the towers stay frozen."""

    file = "learned.safetensors"

    def __init__(self, recipe: TclRecipe) -> None:
        prefixes_of(recipe.architecture)
        self.towers = clip_from_files(recipe.architecture, [recipe.clip], quick_gelu=True)
        torch.manual_seed(recipe.seed)
        self.tcl = TclNetwork(require_plain_vit(self.towers.visual))
        super().__init__(recipe, Learned(self.tcl, recipe.loss), tokenizer(recipe.architecture))
        self.towers.model.to(self.device)

    def _mode(self) -> None:
        super()._mode()
        # The copy of CLIP's last block has neither gradients nor decay before.
        self.network.grounder.block.requires_grad_(self.step >= self.recipe.grounder_steps)

    def _inputs(self, batch: PairBatch) -> Inputs:
        noise = noise_of(self.recipe.seed, batch.positions, batch.images).to(self.device)
        with self.autocast():
            texts = self.texts(batch.tokens.to(self.device))
            inputs = inputs_of(self.tcl, batch.images.to(self.device), texts, noise)
        return inputs._replace(images=batch.images)

    def _joined(self, inputs: list[Inputs]) -> list[Inputs]:
        return joined(inputs)

    def _rows(self, inputs: Inputs) -> Rows:
        with self.autocast():
            return rows_of(self.tcl, inputs)

    def _loss_of_rows(self, rows: Rows) -> Tensor:
        return self._noted_total(self.network.losses.of_rows(rows))

    @torch.no_grad()
    def texts(self, tokens: Tensor) -> Tensor:
        """Rows [B, D] of the frozen text tower for tokens [B, 77]."""
        model: Any = self.towers.model  # open_clip is untyped
        read = tokens[:, : int(tokens.argmax(1).max()) + 1]  # tokens after the end mark have no influence
        rows: Tensor = end_states(model, read) @ model.text_projection
        return rows

    def _extra_figures(self) -> dict[str, float]:
        return {
            "mask_scale": round(self.network.mask_scale.item(), 3),
            "mask_bias": round(self.network.mask_offset.item(), 3),
            "trained": sum(each.numel() for each in self.network.parameters() if each.requires_grad),
        }

    def _weights(self) -> dict[str, Tensor]:
        """Without temperatures, under the names of the released file."""
        ours = {name: value for name, value in flat(self.average).items() if not name.startswith(LOSSES)}
        return to_official(ours, self.recipe.architecture)

    def _validate(self) -> dict[str, float]:
        figures = held_out_figures(self, self.held_out_pairs) if self.held_out is not None else {}
        if self.recipe.selection:
            figures["miou"] = selection_miou(self)
        return figures

    def write_weights(self, path: Path) -> None:
        super().write_weights(path)
        state = {name: value.float().cpu() for name, value in self._weights().items()}
        official = path.with_name(OFFICIAL if path.name == self.file else f"{path.stem}.pth")
        write_durably(official, lambda fresh: torch.save({"model": state, "step": self.step}, fresh))


def held_out_figures(trainer: TclTrainer, pairs: PairBatch) -> dict[str, float]:
    """Loss of held-out pairs in batches, rank and recall of captions by the mean embedding under the caption's mask."""
    parts: list[tuple[float, float]] = []
    rows: list[Tensor] = []
    all_texts = F.normalize(trainer.texts(pairs.tokens.to(trainer.device)), dim=1, eps=EPSILON)
    network = trainer.tcl
    for first in range(0, len(pairs.images), BATCH):
        few = slice(first, first + BATCH)
        images = pairs.images[few].to(trainer.device)
        noise = noise_of(0, pairs.positions[few], images)
        with trainer.autocast():
            [inputs] = joined([inputs_of(network, images, trainer.texts(pairs.tokens[few].to(trainer.device)), noise)])
            losses = trainer.network.losses.of_rows(rows_of(network, inputs))
        parts.append((total(losses).item(), (losses["image_contrast"] + losses["feature_contrast"]).item()))
        embedding = network.grounder(*network.tokens(images)).float()
        for each in embedding:  # one by one: each has a mask for every caption
            masks = torch.sigmoid(network.sim2mask(similarity(each[None], all_texts)))
            rows.append(cosines(each[None], masks, all_texts)[0])
    loss, contrast = (sum(part) / len(parts) for part in zip(*parts, strict=True))
    return {"held_out_loss": loss, "held_out_contrast": contrast} | recall(torch.stack(rows))


def selection_miou(trainer: TclTrainer) -> float:
    recipe = trainer.recipe
    state = {CLIP + name: value for name, value in trainer.towers.state.items()}
    state |= {name: value for name, value in flat(trainer.average).items() if not name.startswith(LOSSES)}
    side = TEST_BY_TRAINING * recipe.phases[-1].crop
    card = card_over(recipe.architecture)
    settings = TclSettings.model_validate(card.settings | {"window": side, "stride": side // 2})
    card = card.model_copy(update={"input": card.input.model_copy(update={"short_side": side})})
    segmenter = TclSegmenter(
        restore(state, recipe.architecture), settings, card, "in training", Execution(trainer.device, "fast")
    )
    mious = []
    for name in recipe.selection:
        data = read_dataset(recipe.data, name, "train")
        step = max(1, len(data.samples) // recipe.photographs)
        some = replace(data, samples=data.samples[::step][: recipe.photographs])
        mious.append(evaluate(segmenter, some).scores.miou)
    return sum(mious) / len(mious)


def publish(recipe: TclRecipe, weights: Path) -> ModelCard:
    """Write a model directory, CLIP's towers included, through the import of the authors' layout."""
    folder, clip = weights.parent, recipe.clip.name
    checkpoint = folder / (OFFICIAL if recipe.best_by is None else BEST_OFFICIAL)
    imported = read(Options(checkpoint=checkpoint, clip=(recipe.clip,), architecture=recipe.architecture))
    side = TEST_BY_TRAINING * recipe.phases[-1].crop
    start = (
        f"a random grounder over {clip}, {recipe.architecture}, whose last block learned from step "
        f"{recipe.grounder_steps}"
    )
    changes = {
        "training_data": [*pairs_entries(recipe), f"those of CLIP: {clip}"],
        "input": InputSize(short_side=side, long_side=max(2048, side), multiple=PATCH),
        "settings": imported.card.settings | {"window": side, "stride": side // 2},
    }
    return write_model(imported, folder, recipe, start, changes)
