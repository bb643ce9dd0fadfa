"""Stage one from masks to a served model: the first step by a formula of its own, what is trained, what serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from lexiseg_model import catalogue
from lexiseg_model.methods.unpair_seg.checkpoint import CLIP
from lexiseg_model.methods.unpair_seg.layers.mask_decoder import Prediction
from lexiseg_model.methods.unpair_seg.layers.prompts import Places
from lexiseg_model.methods.unpair_seg.layers.trunk import normalised
from lexiseg_model.methods.unpair_seg.training import masks_trainer
from lexiseg_model.methods.unpair_seg.training.asked import MaskBatch, grid
from lexiseg_model.methods.unpair_seg.training.criterion import Draw, at_points, unsure_points
from lexiseg_model.methods.unpair_seg.training.masks_trainer import MasksTrainer
from lexiseg_model.methods.unpair_seg.training.publish import publish_masks
from lexiseg_model.methods.unpair_seg.training.recipe import (
    CropSettings,
    DecoderSize,
    MasksRecipe,
    PointSettings,
    PromptSettings,
)
from lexiseg_model.training.recipe import Phase
from lexiseg_model.types import Prompt
from tests.model.imports import imported
from tests.model.methods.phases import local
from tests.model.methods.unpair_seg import small

SIDE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two squares on grey in each of four photographs, and the towers of a small CLIP."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for part in ("images", "masks"):
            (folder / "squares" / split / part).mkdir(parents=True)
        for index in range(4):
            image, mask = np.full((48, 64, 3), 120, np.uint8), np.zeros((48, 64), np.uint8)
            for value, left in ((1, 4), (2, 36)):
                top = int(random.integers(4, 20))
                image[top : top + 20, left : left + 20] = random.integers(0, 255, 3)
                mask[top : top + 20, left : left + 20] = value
            Image.fromarray(image).save(folder / "squares" / split / "images" / f"{index}.jpg")
            Image.fromarray(mask).save(folder / "squares" / split / "masks" / f"{index}.png")
    (folder / "squares/classes.json").write_text(json.dumps(["background", "left", "right"]))
    towers = {name.removeprefix(CLIP): value for name, value in small.state().items() if name.startswith(CLIP)}
    save_file(towers, folder / "clip.safetensors")
    return folder


def recipe_for(data: Path, out: Path, **changes: object) -> MasksRecipe:
    values = {
        "data": data,
        "out": out,
        "steps": 2,
        "phases": [Phase(after=0, crop=SIDE, global_batch=2)],
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "weight_decay": 0.05,
        "average_decay": 0.0,
        "checkpoint_minutes": 5,
        "workers": 0,
        "device": "cpu",
        "sets": ["squares"],
        "architecture": small.ARCHITECTURE,
        "clip": [data / "clip.safetensors"],
        "size": DecoderSize(
            width=32, heads=4, encoder_layers=1, encoder_feed_forward=32, decoder_layers=2, decoder_feed_forward=32
        ),
        "crops": CropSettings(least=0.01),
        "prompts": PromptSettings(grid=3, boxes=3, several=3, points=3),
        "points": PointSettings(points=40),
    }
    return MasksRecipe.model_validate(values | changes)


def first_batch(trainer: MasksTrainer) -> MaskBatch:
    batches: Iterator[MaskBatch] = iter(trainer._batches(local(trainer.recipe.phases[0])))
    return next(batches)


def test_prompts_are_on_the_objects_that_they_are_for(data: Path, tmp_path: Path) -> None:
    batch = first_batch(MasksTrainer(recipe_for(data, tmp_path)))

    for index, objects in enumerate(batch.targets):
        assert objects.flatten(1).any(1).all()
        for which, (x0, y0, x1, y1) in zip(batch.boxed[index], batch.boxes[index].int().tolist(), strict=True):
            inside = objects[which, y0:y1, x0:x1]
            assert inside.sum() == objects[which].sum()
            assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
        for which, points, positive in zip(
            batch.pointed[index], batch.points[index], batch.positive[index], strict=True
        ):
            x, y = points.long().unbind(-1)
            assert torch.equal(objects[which, y, x] > 0, positive)
            assert positive[0]


def test_the_first_loss_is_that_of_a_plain_formula(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = MasksTrainer(recipe_for(data, tmp_path))
    batch = first_batch(trainer)
    # Points are drawn anew for each layer: the same chance for both.
    monkeypatch.setattr(masks_trainer, "drawn_on", lambda device: same_points())
    network = trainer.network
    with torch.no_grad():
        features = network.features(trainer.trunk(normalised(batch.images)).stages)
        encoder, size = network.prompt_encoder, (SIDE, SIDE)
        points = grid(3, SIDE).expand(2, -1, -1)
        asked = [
            encoder.points(points, features.masks, size),
            encoder.boxes(batch.boxes, features.masks, size),
            encoder.together(Places.of_points(batch.points, batch.positive), features.masks, size),
        ]
        layers = [network.mask_decoder.every_layer(features, prompt) for prompt in asked]
        pairs = [
            grid_pairs(layers[0][-1], batch.targets, points),
            own_pairs(layers[1][-1], batch.targets, batch.boxed),
            own_pairs(layers[2][-1], batch.targets, batch.pointed),
        ]
        expected = sum(plain_losses(*each) for each in zip(layers, pairs, strict=True))

    loss = trainer._loss(batch)

    assert loss.item() == pytest.approx(float(expected), rel=1e-3)


Pair = tuple[int, int, int, Tensor, float]  # image, prompt, mask of the prompt, object [H, W], its soft dice


def same_points() -> Draw:
    return lambda shape: torch.linspace(0.01, 0.99, int(np.prod(shape))).remainder(0.317).mul(3).reshape(shape)


def grid_pairs(last: Prediction, targets: list[Tensor], points: Tensor) -> list[Pair]:
    """Of each point the cheapest way to give its masks objects, forbidden ones at 1e6 more and left out at the end."""
    pairs = []
    for image, objects in enumerate(targets):
        small_masks = F.interpolate(last.masks[image], scale_factor=0.5, mode="bilinear")
        wanted = F.interpolate(objects[None].float(), size=small_masks.shape[-2:])[0]
        for prompt, (x, y) in enumerate(points[image].long().tolist()):
            costs, dices = np.zeros((4, len(wanted)), np.float32), np.zeros((4, len(wanted)))
            for mask in range(4):
                for index, target in enumerate(wanted):
                    entropy, dice = compared(small_masks[prompt, mask], target)
                    far = np.float32(0 if objects[index, y, x] else 1e6)
                    costs[mask, index], dices[mask, index] = np.float32(2 * entropy + dice) + far, dice
            chosen = min(
                permutations(range(4), len(wanted)),
                key=lambda order: sum(float(costs[mask, index]) for index, mask in enumerate(order)),
            )
            for index, mask in enumerate(chosen):
                if objects[index, y, x]:
                    pairs.append((image, prompt, mask, objects[index].float(), 1 - dices[mask, index]))
    return pairs


def own_pairs(last: Prediction, targets: list[Tensor], which: Tensor) -> list[Pair]:
    pairs = []
    for image, objects in enumerate(targets):
        for prompt, index in enumerate(which[image].tolist()):
            logits = last.masks[image, prompt, 0]
            near = F.interpolate(objects[None, None, index].float(), size=logits.shape)[0, 0]
            pairs.append((image, prompt, 0, objects[index].float(), 1 - compared(logits, near)[1]))
    return pairs


def compared(logits: Tensor, target: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and dice loss of one mask with one object."""
    p = logits.sigmoid()
    entropy = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    return entropy.item(), (1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)).item()


def plain_losses(layers: list[Prediction], pairs: list[Pair]) -> float:
    total = 0.0
    for layer in layers:
        logits = torch.stack([layer.masks[image, prompt, mask] for image, prompt, mask, _, _ in pairs])
        points = unsure_points(logits, PointSettings(points=40), same_points())
        predicted, truth = at_points(logits, points), at_points(torch.stack([pair[3] for pair in pairs]), points)
        for row, (image, prompt, mask, _, dice) in enumerate(pairs):
            entropy, dice_loss = compared(predicted[row], truth[row])
            off = abs(layer.quality[image, prompt, mask].sigmoid().item() - dice)
            total += (2 * entropy + dice_loss + (off**2 / 2 if off < 1 else off - 0.5)) / len(pairs)
    return total


def test_the_tower_stays_and_everything_else_learns(data: Path, tmp_path: Path) -> None:
    trainer = MasksTrainer(recipe_for(data, tmp_path))
    tower = {name: value.clone() for name, value in trainer.trunk.state_dict().items()}
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}

    trainer._step(first_batch(trainer))

    assert all(torch.equal(value, tower[name]) for name, value in trainer.trunk.state_dict().items())
    still = {name for name, value in trainer.network.named_parameters() if torch.equal(value, before[name])}
    # Of the heads for masks of a point, those learn that were matched.
    of_points = tuple(f"mask_decoder.{kind}_heads.{head}." for kind in ("mask", "quality") for head in range(1, 5))
    assert {name for name in still if not name.startswith(of_points)} == set()
    assert len(still) < sum(name.startswith(of_points) for name in before)


def test_what_was_trained_imports_under_the_authors_names_and_serves(data: Path, tmp_path: Path) -> None:
    recipe = recipe_for(data, tmp_path / "mine", judged={"squares": 1})
    weights = MasksTrainer(recipe).train()

    assert weights is not None
    assert all(name.startswith(("sem_seg_head.", "backbone.clip_model.")) for name in load_file(weights))
    card = publish_masks(recipe, weights)
    imported("unpair-seg", "theirs", tmp_path, checkpoint=weights, architecture=small.ARCHITECTURE)
    mine, theirs = (catalogue.load(name, models_dir=tmp_path, precision="exact") for name in ("mine", "theirs"))
    plan = mine.plan(np.random.default_rng(1).integers(0, 255, (48, 64, 3)).astype(np.uint8))
    prompt = [Prompt(box=(4.0, 4.0, 30.0, 30.0))]
    masks = [
        each.prompt(each.assemble(plan, each.encode_tiles(plan.tiles)), prompt)[0].masks for each in (mine, theirs)
    ]

    assert card.prompt_quality["squares"].objects == 2
    assert card.input.long_side == SIDE
    assert torch.equal(*masks)
