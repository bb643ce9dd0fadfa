"""S-Seg from pairs to a served model: the first step against a plain formula, the export."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.dino import DinoTower, plain_kind
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry
from lexiseg_train.methods.s_seg.trainer import THRESHOLDS, PseudoMasks, SSegTrainer, publish
from lexiseg_train.methods.s_seg.trainings import LossSettings, PseudoMaskSettings, SSegRecipe
from lexiseg_train.training.pair_run import PairBatch
from lexiseg_train.training.recipe import DeitSettings, Phase
from tests.model.imports import imported
from tests.model.methods.s_seg.small import SMALL
from tests.train.data.own.made import save
from tests.train.methods.short_runs import SHORT, first_batch
from tests.train.training.pairs_folder import write_pairs

SETTINGS = SMALL.model_copy(update={"n_queries": 5})
RATE, DECAY, CLIPPED = 1e-3, 0.05, 2.0
WEIGHTS = LossSettings(masks=0.5, contrast=2.0, earlier_layers=0.25)  # all of them are 1 in the recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, masks of three of them, and the weights of a random tower that pseudo-masks come from."""
    folder = tmp_path_factory.mktemp("data")
    images = write_pairs(folder / "captions") / "images"
    for index, path in enumerate(sorted(images.iterdir())[:3]):
        image = np.array(Image.open(path))
        square = (image.max(2) - image.min(2) > 80).astype(np.uint8)
        save(folder / "squares" / ("train" if index else "val"), path.stem, image, square)
    (folder / "squares" / "classes.json").write_text('["background", "square"]')
    torch.manual_seed(5)
    tower = DinoTower(plain_kind(patch=8, side=64, width=64, depth=1))
    save_file(tower.vit.state_dict(), folder / "tower.safetensors")
    return folder


def recipe_for(data: Path, out: Path, **changes: object) -> SSegRecipe:
    values = SHORT | {
        "data": data,
        "out": out,
        "phases": [Phase(after=0, crop=64, global_batch=4)],
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "precision": "float32",
        "network": SETTINGS,
        "tower": data / "tower.safetensors",
        "masks": PseudoMaskSettings(tower="dino", k=3),
        "views": DeitSettings(scale=(0.5, 1.0), policy=None, erased=0.0),
    }
    return SSegRecipe.model_validate(values | changes)


def test_the_first_step_equals_a_plain_formula(data: Path, tmp_path: Path) -> None:
    trainer = SSegTrainer(recipe_for(data, tmp_path, loss=WEIGHTS))
    network = trainer.network.network.train()
    batch = first_batch(trainer)
    loss = plain_loss(trainer, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    before = {name: p.detach().clone() for name, p in network.named_parameters()}

    assert trainer._step(batch) == pytest.approx(loss.item(), rel=1e-4)
    norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients.values()))
    for name in WATCHED:
        gradient = gradients[name] * min(1.0, CLIPPED / norm)
        # AdamW's first step: every weight by the sign of its gradient, and towards zero by the decay.
        decay = DECAY if before[name].ndim > 1 else 0.0
        expected = before[name] * (1 - RATE * decay) - RATE * gradient / (gradient.abs() + 1e-8)
        certain = gradient.abs() > 1e-6
        after = network.get_parameter(name).detach()
        torch.testing.assert_close(after[certain], expected[certain], atol=2e-5, rtol=1e-3)


WATCHED = (
    "sem_seg_head.pixel_decoder.mask_features.weight",
    "sem_seg_head.predictor.transformer.decoder.layers.1.linear2.weight",
    "image_projector.second.bias",
    "text_projector.first.weight",
    "contrast.log_scale",
)


def plain_loss(trainer: SSegTrainer, batch: PairBatch) -> Tensor:
    """Every matching tried, every pair by itself: 20 focal + dice on each layer, and the contrast both ways."""
    network, pseudo = trainer.network.network, trainer.maker(batch.images)
    logits, queries = network(batch.images)
    *earlier, last = [mask_loss(layer, pseudo) for layer in logits]
    masks = last + WEIGHTS.earlier_layers * torch.stack(earlier).sum()
    images = F.normalize(network.image_projector(queries[-1].mean(1)), dim=1)
    texts = F.normalize(network.text_projector(network.text(batch.tokens)), dim=1)
    cosines = images @ texts.T * network.contrast.log_scale.exp()
    own = torch.arange(len(images))
    contrast = F.cross_entropy(cosines, own) + F.cross_entropy(cosines.T, own)
    return WEIGHTS.masks * masks + WEIGHTS.contrast * contrast


def mask_loss(logits: Tensor, pseudo: PseudoMasks) -> Tensor:
    total, count = logits.new_zeros(()), 0
    for predicted, targets, present in zip(logits, *pseudo, strict=True):
        real = targets[present]
        count += len(real)
        near = F.interpolate(real[None], size=predicted.shape[-2:])[0]
        costs = torch.stack([torch.stack([pair_loss(one, other) for other in near]) for one in predicted.detach()])
        chosen = min(
            itertools.permutations(range(len(predicted)), len(real)),
            key=lambda order: sum(costs[query, target].item() for target, query in enumerate(order)),
        )
        sized = F.interpolate(predicted[None], size=real.shape[-2:], mode="bilinear")[0]
        total = (
            total + torch.stack([pair_loss(sized[query], real[target]) for target, query in enumerate(chosen)]).sum()
        )
    return total / count


def pair_loss(logits: Tensor, target: Tensor) -> Tensor:
    p = logits.sigmoid()
    right = torch.where(target > 0, p, 1 - p).clamp(min=1e-12)
    alpha = torch.where(target > 0, 0.25, 0.75)
    focal = (alpha * (1 - right) ** 2 * -right.log()).mean()
    dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    return 20 * focal + dice


def test_trained_weights_are_imported_and_served(data: Path, tmp_path: Path) -> None:
    recipe = recipe_for(data, tmp_path / "mine", thresholds=["squares"], photographs=2)
    trainer = SSegTrainer(recipe)
    weights = trainer.train()

    assert weights is not None
    card = publish(recipe, weights)
    imported("s-seg", "theirs", tmp_path, checkpoint=weights, backbone=recipe.network.backbone)
    mine, theirs = (catalogue.load(name, models_dir=tmp_path, precision="exact") for name in ("mine", "theirs"))
    plan = mine.plan(np.random.default_rng(1).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    classes = (ClassEntry("red square"), ClassEntry("grey"))
    scores = [
        words_of(each).class_scores(
            each.assemble(plan, each.encode_tiles(plan.tiles)), bank_of(words_of(each), classes)
        )
        for each in (mine, theirs)
    ]

    assert (card.name, card.seed, card.settings["backbone"]) == ("mine", recipe.seed, "test_resnet")
    assert card.settings["background"] in THRESHOLDS
    assert card.quality["squares"].images == 1
    assert scores[0].isfinite().all()
    assert torch.equal(scores[0], scores[1])
