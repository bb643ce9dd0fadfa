"""How good a TCL in training is: on pairs that it has not seen, and on train splits with masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.device import Execution
from lexiseg_model.evaluation.run import evaluate
from lexiseg_model.methods.tcl.blend import similarity
from lexiseg_model.methods.tcl.checkpoint import CLIP, LOSSES, restore
from lexiseg_model.methods.tcl.grounder import EPSILON
from lexiseg_model.methods.tcl.import_ import card_over
from lexiseg_model.methods.tcl.segmenter import TclSegmenter
from lexiseg_model.methods.tcl.settings import TclSettings
from lexiseg_model.methods.tcl.training.learned import flat, noise_of
from lexiseg_model.methods.tcl.training.losses import masked_mean
from lexiseg_model.training.pairs import PairBatch
from lexiseg_model.training.retrieval import own_rank, recall

if TYPE_CHECKING:
    from lexiseg_model.methods.tcl.training.trainer import TclTrainer

TOGETHER = 32  # held-out pairs of one pass; what is left at the end is measured in a smaller one
TEST_BY_TRAINING = 2  # sides of a window in answering and of a crop in training: TCL's 448 and 224


def held_out_figures(trainer: TclTrainer, pairs: PairBatch) -> dict[str, float]:
    """The loss of held-out pairs in batches, that part of it that captions decide, rank and recall of captions.

    A photograph finds a caption by what it shows under the caption's mask.
    """
    parts: list[tuple[float, float]] = []
    rows: list[Tensor] = []
    all_texts = F.normalize(trainer.texts(pairs.tokens.to(trainer.device)), dim=1, eps=EPSILON)
    network = trainer.tcl
    for first in range(0, len(pairs.images), TOGETHER):
        few = slice(first, first + TOGETHER)
        some = PairBatch(pairs.images[few], pairs.tokens[few], (), pairs.positions[few])
        losses = trainer.losses(some, noise_of(0, some.positions, some.images))
        parts.append((losses.total.item(), (losses.image_contrast + losses.feature_contrast).item()))
        embedding = network.grounder(*network.tokens(some.images.to(trainer.device))).float()
        for each in embedding:  # one by one: masks are as many as all captions
            masks = torch.sigmoid(network.sim2mask(similarity(each[None], all_texts)))
            shown = F.normalize(masked_mean(each[None], masks)[0], dim=1, eps=EPSILON)  # [N, D]
            rows.append((shown * all_texts).sum(1))
    total, contrast = (sum(part) / len(parts) for part in zip(*parts, strict=True))
    likeness = torch.stack(rows)
    told = {"held_out_loss": total, "held_out_contrast": contrast, "own_rank": own_rank(likeness)}
    return told | recall(likeness)


def selection_miou(trainer: TclTrainer) -> float:
    """mIoU in percent on the recipe's train splits, the mean over sets.

    Raises:
        DatasetError: a set is not there.
    """
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
