"""Stage one from masks to a served model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lexiseg_model.abilities import prompts_of
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.images import normalise
from lexiseg_model.methods.unpair_seg.network import CLIP
from lexiseg_model.types import Prompt
from lexiseg_train.methods.unpair_seg.mask_batches import Crop, draw_prompts
from lexiseg_train.methods.unpair_seg.masks_trainer import (
    MasksTrainer,
    drawn_on,
    match_paired,
    prompt_losses,
    publish_masks,
)
from lexiseg_train.methods.unpair_seg.trainings import (
    CropSettings,
    DecoderSize,
    MasksRecipe,
    PointSettings,
    PromptSettings,
)
from lexiseg_train.training.recipe import Phase
from tests.model.imports import imported
from tests.model.methods.unpair_seg import small
from tests.train.data.own.made import save
from tests.train.methods.short_runs import SHORT, first_batch

SIDE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two squares on grey in each of four photographs, and the towers of a small CLIP."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for index in range(4):
            image, mask = np.full((48, 64, 3), 120, np.uint8), np.zeros((48, 64), np.uint8)
            for value, left in ((1, 4), (2, 36)):
                top = int(random.integers(4, 20))
                image[top : top + 20, left : left + 20] = random.integers(0, 255, 3)
                mask[top : top + 20, left : left + 20] = value
            save(folder / "squares" / split, f"{index}", image, mask)
    (folder / "squares/classes.json").write_text(json.dumps(["background", "left", "right"]))
    towers = {name.removeprefix(CLIP): value for name, value in small.state().items() if name.startswith(CLIP)}
    save_file(towers, folder / "clip.safetensors")
    return folder


def recipe_for(data: Path, out: Path, **changes: object) -> MasksRecipe:
    values = SHORT | {
        "data": data,
        "out": out,
        "phases": [Phase(after=0, crop=SIDE, global_batch=2)],
        "learning_rate": 1e-3,
        "sets": ["squares"],
        "architecture": small.ARCHITECTURE,
        "clip": [data / "clip.safetensors"],
        "size": DecoderSize(
            width=32, heads=4, encoder_layers=1, encoder_feed_forward=32, decoder_layers=2, decoder_feed_forward=32
        ),
        "crops": CropSettings(min_share=0.01),
        "prompts": PromptSettings(grid=3, boxes=3, several=3, points=3),
        "points": PointSettings(points=40),
    }
    return MasksRecipe.model_validate(values | changes)


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


def test_half_of_the_further_points_are_off_the_object_and_near_it() -> None:
    mask = np.zeros((1, SIDE, SIDE), bool)
    mask[0, 20:40, 24:40] = True
    crop = Crop(np.zeros((3, SIDE, SIDE), np.uint8), mask)

    batch = draw_prompts([crop], PromptSettings(several=400, points=3), np.random.default_rng(0))

    further = batch.positive[0, :, 1:]
    assert further.float().mean().item() == pytest.approx(0.5, abs=0.05)
    x, y = batch.points[0, :, 1:][~further].unbind(-1)  # a quarter of the box's sides around it
    assert ((x > 24 - 5) & (x < 40 + 5) & (y > 20 - 6) & (y < 40 + 6)).all()


def test_every_prediction_of_the_decoder_has_a_loss_by_the_matches_of_the_last(data: Path, tmp_path: Path) -> None:
    prompts = PromptSettings(grid=0, boxes=3, several=0)
    trainer = MasksTrainer(recipe_for(data, tmp_path, prompts=prompts, precision="float32"))
    batch, predictor = first_batch(trainer), trainer.network.predictor
    features = trainer.network.features(trainer.trunk(normalise(batch.images, "clip")).stages)
    prompt = predictor.prompt_encoder.boxes(batch.boxes, features.masks, (SIDE, SIDE))
    *earlier, last = predictor.every_layer(features, prompt)
    targets = [objects[which] for objects, which in zip(batch.targets, batch.boxed, strict=True)]
    torch.manual_seed(1)
    draw = drawn_on(torch.device("cpu"))
    each = prompt_losses([last, *earlier], targets, match_paired(last.masks, targets), draw, trainer.recipe.points)

    torch.manual_seed(1)
    loss = trainer._loss(batch)

    assert len(each) == trainer.recipe.size.decoder_layers + 1
    torch.testing.assert_close(loss, torch.stack([losses.weighted for losses in each]).sum())


def test_everything_but_the_tower_is_trained(data: Path, tmp_path: Path) -> None:
    trainer = MasksTrainer(recipe_for(data, tmp_path))
    tower = {name: value.clone() for name, value in trainer.trunk.state_dict().items()}
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}

    trainer._step(first_batch(trainer))

    assert all(torch.equal(value, tower[name]) for name, value in trainer.trunk.state_dict().items())
    still = {name for name, value in trainer.network.named_parameters() if torch.equal(value, before[name])}
    # Of the heads for masks of a point, those learn that were matched.
    of_points = tuple(f"predictor.{kind}_embed.{head}." for kind in ("mask", "iou") for head in range(1, 5))
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
        prompts_of(each).prompt(each.assemble(plan, each.encode_tiles(plan.tiles)), prompt)[0].masks
        for each in (mine, theirs)
    ]

    assert card.prompt_quality["squares"].objects == 2
    assert card.input.long_side == SIDE
    assert torch.equal(*masks)
