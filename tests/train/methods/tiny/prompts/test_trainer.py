"""Training of the prompt head on a few drawn images."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import DatasetError
from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_model.methods.tiny.prompt_head import MaskAnswers
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState
from lexiseg_train.data.scenes import Objects
from lexiseg_train.methods.tiny.prompts.draw import draw, find_objects
from lexiseg_train.methods.tiny.prompts.trainer import PromptTrainer, overlaps, prompt_losses
from lexiseg_train.methods.tiny.publish import publish_prompts
from lexiseg_train.methods.tiny.trainings import MaskSet, PromptsRecipe
from lexiseg_train.training.model_card import measure_prompts
from tests.train.methods.short_runs import Finished, finished, first_batch, read_as
from tests.train.methods.tiny.shapes import write_shapes

STEPS = 24


def recipe_for(data: Path, out: Path, *more: str) -> PromptsRecipe:
    values = [f"data={data}", f"out={out}", f"steps={STEPS}", "decay_steps=0", "warmup_steps=3", "average_decay=0.9"]
    values += ["sets={shapes: {share: 1.0, background_value: 0}}", "phases=[{after: 0.0, crop: 64, global_batch: 4}]"]
    values += ["start=scratch", "corrected=1", "single_point_prompts=3", "unambiguous_prompts=2"]
    values += ["workers=0", "device=cpu", "precision=float32"]
    return read_as(PromptsRecipe, "tiny-prompts", [*values, *more])


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_shapes(tmp_path_factory.mktemp("data"))
    return write_shapes(data, count=4, split="val")


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished[PromptsRecipe]]:
    done = finished(PromptTrainer(recipe_for(shapes, tmp_path_factory.mktemp("run") / "mine")))
    yield done
    shutil.rmtree(done.recipe.out)


@pytest.fixture(scope="module")
def card(run: Finished[PromptsRecipe]) -> ModelCard:
    return publish_prompts(run.recipe, run.weights)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [("classes.json", b'["background", "red', "is not JSON"), ("val/masks/001.png", None, "has no mask; expected")],
)
def test_what_is_measured_at_the_end_is_there_at_the_start(
    tmp_path: Path, file: str, content: bytes | None, says: str
) -> None:
    data = write_shapes(write_shapes(tmp_path, count=2), count=2, split="val")
    path = data / "shapes" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DatasetError, match=says):
        PromptTrainer(recipe_for(data, tmp_path / "mine"))


def test_samples_that_cannot_be_read_are_listed(shapes: Path, tmp_path: Path) -> None:
    root = shutil.copytree(shapes, tmp_path / "data")
    broken = sorted((root / "shapes/train/masks").iterdir())[2:]
    for mask in broken:
        mask.write_bytes(b"no picture")
    trainer = PromptTrainer(recipe_for(root, tmp_path / "run"))

    trainer._step(first_batch(trainer))

    lines = [json.loads(line) for line in (tmp_path / "run/skipped.jsonl").read_text().splitlines()]
    assert lines
    assert all(line["reason"].startswith("cannot be read as an image") for line in lines)
    assert {line["name"] for line in lines} <= {*map(str, broken)}


def test_training_lowers_the_loss(run: Finished[PromptsRecipe]) -> None:
    assert len(run.losses) == STEPS
    assert np.mean(run.losses[-4:]) < 0.8 * np.mean(run.losses[:2])


def test_prompt_training_does_not_change_the_network(run: Finished[PromptsRecipe]) -> None:
    before, after = (TinyState.from_tensors(load_file(path)).network for path in (BUNDLED, run.weights))

    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_card_names_the_task_the_weights_and_the_quality(run: Finished[PromptsRecipe], card: ModelCard) -> None:
    assert "prompt" in card.tasks
    assert card.name == "mine"
    assert card.weights_sha256 == hashlib.sha256(run.weights.read_bytes()).hexdigest()
    seen = f"masks of shapes ({run.recipe.data / 'shapes'}); its terms are not stated"
    assert seen in card.training_data
    reached = card.prompt_quality["shapes"]
    assert reached.objects > 2
    served = catalogue.load_folder(run.recipe.out, run.recipe.device)
    assert reached == measure_prompts(served, run.recipe.data, "shapes")
    assert catalogue.read_card(run.recipe.out) == card


SIDE = 48  # labels
LONE, SURE = 40, 80


def test_prompts_are_single_points_then_boxes_or_several_points_on_their_objects_or_beside_them() -> None:
    """Of a square and a long bar; the lowest rows are ignored."""
    ids = np.zeros((SIDE, SIDE), np.int32)
    ids[4:20, 6:22] = 1
    ids[30:34, 2:46] = 2
    ignored = np.zeros((SIDE, SIDE), bool)
    ignored[40:] = True

    drawn = draw(Objects(ids, (1, 2), ignored), LONE, SURE, np.random.default_rng(0))

    assert drawn.signs[:LONE].tolist() == [[1, 0, 0, 0]] * LONE
    assert not drawn.has_box[:LONE].any()
    several = (drawn.signs[LONE:] != 0).sum(1) > 1
    assert (several | (drawn.has_box[LONE:] == 1)).all()
    assert several.any()
    whole = drawn.targets.max()  # labels of a cell inside an object
    for points, signs, target in zip(drawn.points, drawn.signs, drawn.targets, strict=True):
        for (x, y), sign in zip(points, signs, strict=True):
            covered = target[int(y) // STRIDE, int(x) // STRIDE]
            assert sign == 0 or (covered > 0 if sign > 0 else covered < whole)


def test_each_component_of_a_mask_is_an_object_unless_it_is_small() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:2, :2] = mask[:3, 6:] = 1
    mask[3:6, :3] = 2
    mask[3:6, 3:4] = 3
    mask[7] = 255

    every = find_objects(mask, MaskSet(share=1.0), smallest=1, whole=False)
    large = find_objects(mask, MaskSet(share=1.0, background_value=0), smallest=4, whole=False)

    assert every.labels == (0, 1, 1, 2, 3)
    assert np.array_equal(every.ids == 4, mask == 2)
    assert large.labels == (1, 1, 2)
    assert not large.ids[mask == 3].any()


CERTAIN = 12.0  # a logit that leaves no doubt


def target() -> Tensor:
    """[1, 1, 8, 8]: the left half."""
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    return mask


def logits(mask: Tensor) -> Tensor:
    return (mask * 2 - 1) * CERTAIN


def answers(*masks: Tensor, quality: float = CERTAIN) -> MaskAnswers:
    """Answers to one prompt, all held to be as good."""
    return MaskAnswers(torch.stack([logits(mask) for mask in masks], 2), torch.full((1, 1, len(masks)), quality))


ALL = torch.ones(1, 8, 8)


def test_only_the_best_of_four_masks_gets_a_loss() -> None:
    wrong = 1 - target()

    four = prompt_losses(answers(wrong, wrong, target(), wrong, quality=0.0), target(), ALL)
    one = prompt_losses(answers(wrong, quality=0.0), target(), ALL)

    assert four.overlap == 1
    assert four.total < 0.3 * one.total


def test_ignored_pixels_do_not_change_the_loss() -> None:
    left = torch.zeros(1, 8, 8)
    left[:, :, :4] = 1
    right, wrong = target(), torch.ones(1, 1, 8, 8)

    found = prompt_losses(answers(wrong), target(), left)

    torch.testing.assert_close(found.total, prompt_losses(answers(right), target(), left).total)


def test_overlap_is_the_iou_of_counted_pixels() -> None:
    wide = torch.zeros(1, 1, 8, 8)
    wide[..., :6] = 1
    counts = torch.ones(8, 8)
    counts[:, 5] = 0

    assert overlaps(logits(wide), target(), torch.ones(8, 8)).item() == pytest.approx(4 / 6)
    assert overlaps(logits(wide), target(), counts).item() == pytest.approx(4 / 5)
