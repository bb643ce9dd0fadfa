"""Training of TCL: trained parameters, import and serving."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.towers import configuration
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tcl.checkpoint import to_official
from lexiseg_model.methods.tcl.network import TclNetwork, logistic_noise, similarity
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry
from lexiseg_train.methods.tcl.trainer import (
    OFFICIAL,
    Inputs,
    TclLosses,
    TclTrainer,
    inputs_of,
    publish,
    rows_of,
    selection_miou,
)
from lexiseg_train.methods.tcl.trainings import LossSettings, TclRecipe
from lexiseg_train.training.run import total
from tests.golden import golden_inputs
from tests.golden.weights import SEED
from tests.model.imports import imported
from tests.model.methods.tcl import golden
from tests.once import kept
from tests.train.data.own.made import save
from tests.train.methods.short_runs import read_as
from tests.train.training.pairs_folder import write_pairs

MINI = "lexiseg-mini-16"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twelve captioned photographs, and a CLIP of random weights."""
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder / "captions")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**configuration(MINI) | {"quick_gelu": True}).state_dict(), folder / "clip.safetensors")
    return folder


def recipe(data: Path, out: Path, **changes: Any) -> TclRecipe:
    """`tcl-smoke` in three steps of four pairs, the block from the third."""
    small = {
        "data": data, "out": out, "clip": data / "clip.safetensors", "held_out": 0, "validate_steps": None,
        "steps": 3, "grounder_steps": 2, "warmup_steps": 1, "warmup_from": 0.5, "device": "cpu",
        "precision": "float32", "workers": 0, "phases": [{"after": 0.0, "crop": 64, "global_batch": 4}],
    }  # fmt: skip
    values = read_as(TclRecipe, "tcl-smoke").model_dump(mode="json")
    return TclRecipe.model_validate(values | small | changes)


def test_a_trained_model_is_imported_and_served(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, tmp_path / "mine")

    weights = TclTrainer(plan).train()

    assert weights is not None
    official = torch.load(tmp_path / "mine" / OFFICIAL, weights_only=True)["model"]
    assert len(official) == 37
    assert all(name.startswith("masker.") for name in official)
    files = {"checkpoint": tmp_path / "mine" / OFFICIAL, "clip": [data / "clip.safetensors"], "architecture": MINI}
    imported("tcl", "imported", tmp_path, replace=False, **files)
    card = publish(plan, weights)
    models = [catalogue.load(name, models_dir=tmp_path, device="cpu") for name in ("mine", "imported")]
    rgb = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    classes = (ClassEntry("square"), ClassEntry("wall"))
    scores = [words_of(model).class_scores(model.encode(rgb), bank_of(words_of(model), classes)) for model in models]
    assert card.name == "mine"
    assert scores[0].shape[0] == 2
    assert scores[0].isfinite().all()
    assert models[0].card.settings["window"] == 128
    assert str(data) in card.training_data[0]
    assert "of the recipe" in card.lineage
    assert "whose last block learned from step" in card.lineage


def test_the_best_step_is_that_of_the_mean_miou_on_train_splits(data: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):  # a noisy photograph each, divided at another place
        rgb = np.random.default_rng(seed).integers(0, 256, (64, 80, 3), np.uint8)
        halves = np.tile((np.arange(80) >= 20 * (1 + seed)).astype(np.uint8), (64, 1))
        save(data / name / "train", "one", rgb, halves, "png")
        (data / name / "classes.json").write_text('["square", "wall"]')
    plan = recipe(data, tmp_path / "mine", selection=["one", "two"], validate_steps=1, best_by="miou", steps=4)
    trainer = TclTrainer(plan)

    trainer.train()

    lines = [json.loads(line) for line in (tmp_path / "mine" / "journal.jsonl").read_text().splitlines()]
    measured = {line["step"]: line["miou"] for line in lines if "miou" in line and line["step"]}
    best = torch.load(tmp_path / "mine" / "best.pth", weights_only=True)["step"]
    assert len(measured) == 4
    assert measured[best] == max(measured.values())
    with trainer.learner.as_average():
        of_both = selection_miou(trainer)
        each = []
        for name in plan.selection:
            trainer.recipe = plan.model_copy(update={"selection": [name]})
            each.append(selection_miou(trainer))
    assert of_both == pytest.approx(sum(each) / 2)
    assert each[0] != each[1]


def test_a_clip_of_another_architecture_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"clip\.safetensors"):
        TclTrainer(recipe(data, tmp_path, architecture="ViT-B-16"))


NAMES = {  # ours -> of the fixture
    "area": "area_loss",
    "negative_area": "neg_area_loss",
    "image_variation": "tv_img_loss",
    "mask_variation": "tv_mask_loss",
    "feature_contrast": "tclf_loss",
    "image_contrast": "tcli_loss",
    "total": "total",
}
LOSS_TOLERANCE = 1e-6
GRADIENT_TOLERANCE = 1e-3  # relative


@kept
def batch() -> tuple[TclNetwork, Inputs]:
    """The fixture's network, and its batch past the frozen tower."""
    shared = golden.restored()
    network = TclNetwork(shared.towers.visual)
    network.load_state_dict(shared.network.state_dict())
    images = torch.cat([golden.normalised(golden.image(f"tcl/batch{index}", 224, 224)) for index in range(3)])
    captions = torch.from_numpy(golden.reference()["caption_features"])
    uniform = torch.from_numpy(golden_inputs.uniform(SEED, "tcl/gumbel", (3, 3, 56, 56)))
    own = torch.arange(3)
    return network, inputs_of(network, images, captions, logistic_noise(uniform[own, own]))


@kept
def step() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses of the fixture's batch, and the gradient of each parameter under the authors' name."""
    network, inputs = batch()
    criterion = TclLosses(LossSettings())

    losses = criterion.of_rows(rows_of(network, inputs))
    losses["total"] = total(losses)
    losses["total"].backward()  # type: ignore[no-untyped-call]

    parameters = dict(network.named_parameters()) | {f"losses.{name}": p for name, p in criterion.named_parameters()}
    return losses, to_official({name: p.grad for name, p in parameters.items() if p.grad is not None})


@pytest.mark.parametrize(("name", "theirs"), [*NAMES.items()])
def test_each_loss_equals_the_reference(name: str, theirs: str) -> None:
    losses, _ = step()

    assert losses[name].item() == pytest.approx(golden.reference()[f"train_{theirs}"].item(), abs=LOSS_TOLERANCE)


def test_gradients_of_all_trained_parameters_equal_the_reference() -> None:
    _, gradients = step()
    names = golden.ABOUT["grad_names"]

    assert sorted(gradients) == sorted(names)
    norms, first = (
        [of(gradients[name]).item() for name in names]
        for of in (torch.linalg.vector_norm, lambda each: each.flatten()[0])
    )

    np.testing.assert_allclose(norms, golden.reference()["train_grad_norm"], rtol=GRADIENT_TOLERANCE)
    # Queries and keys take no part: what the reference has there, 1e-11, is rounding.
    np.testing.assert_allclose(first, golden.reference()["train_grad_first"], rtol=GRADIENT_TOLERANCE, atol=1e-10)


@torch.no_grad()
def test_soft_masks_of_own_captions_equal_the_reference() -> None:
    network, inputs = batch()

    masks = torch.sigmoid(network.sim2mask(similarity(network.grounder(*inputs.tokens), inputs.texts)))
    own = masks[torch.arange(3), torch.arange(3)]

    golden.assert_close(own[:, ::2, ::2], "train_soft_positive", golden.MASK_TOLERANCE[False])
