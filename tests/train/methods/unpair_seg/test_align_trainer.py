"""Stage two from entities to a served model."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from lexiseg_model.abilities import regions_of
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip.images import normalise
from lexiseg_model.errors import WeightsError
from lexiseg_model.segmenter import words_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry
from lexiseg_train.data.labelling.entities import LISTING, from_captions, plain_phrases, write_entities
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.methods.unpair_seg.align_trainer import (
    AlignTrainer,
    at_sizes,
    frozen_stage_one,
    one_by_one,
    publish_aligned,
)
from lexiseg_train.methods.unpair_seg.trainings import AdapterSize, AlignmentSettings, AlignRecipe
from lexiseg_train.training.recipe import Phase
from tests.model.imports import imported
from tests.model.methods.unpair_seg import small
from tests.train.methods.short_runs import SHORT, first_batch
from tests.train.training.pairs_folder import write_pairs

SIDE = 64
LENIENT = {"grid": 2, "quality": 0.0, "rule": {"overlap": 1.0, "inside": 1.0}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs with entities, and stage one by the authors' names."""
    folder = tmp_path_factory.mktemp("data")
    pairs = write_pairs(folder / "captions", 6)
    write_entities(open_pairs(pairs), pairs / LISTING, from_captions(plain_phrases))
    save_file({name: value.contiguous() for name, value in small.state().items()}, folder / "one.safetensors")
    return folder


def trainer_for(data: Path, out: Path, held_out: int = 0) -> AlignTrainer:
    values = SHORT | {
        "data": data, "out": out, "phases": [Phase(after=0, crop=SIDE, global_batch=2)], "learning_rate": 1e-2,
        "precision": "float32", "pairs": ["captions"], "stage_one": data / "one.safetensors",
        "architecture": small.ARCHITECTURE, "adapter": AdapterSize(width=32, blocks=1),
        "matching": AlignmentSettings(sizes=(SIDE, 96)), "proposals": LENIENT, "regions": 4, "held_out": held_out,
        "momentum": 0.5,
    }  # fmt: skip
    return AlignTrainer(AlignRecipe.model_validate(values))


def best_pairs(likely: Tensor) -> list[tuple[int, int]]:
    """The one-to-one assignment of largest sum, all tried."""
    n_regions, n_entities = likely.shape
    if n_regions < n_entities:
        return [(region, entity) for entity, region in best_pairs(likely.T)]
    orders = permutations(range(n_regions), n_entities)
    best = max(orders, key=lambda order: sum(likely[region, entity].item() for entity, region in enumerate(order)))
    return [(region, entity) for entity, region in enumerate(best)]


@pytest.mark.parametrize("name", ["one.safetensors", "one.pth"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("half", "damaged, cut short, or of another kind"),
        ("nothing", "damaged, cut short, or of another kind"),
        ("another stage", "unexpected .*; expected adapter"),
        ("another size", r"is \[.*\]; expected \[.*\]"),
        ("a tensor less", "missing "),
    ],
)
def test_a_bad_stage_one_is_refused_by_the_name_of_its_file(damage: str, says: str, name: str, tmp_path: Path) -> None:
    state = {key: value.contiguous() for key, value in small.state().items()}
    if damage == "another stage":
        state = {f"student.{key}": value for key, value in state.items()}
    elif damage == "another size":
        state = {key: value[..., :-1].contiguous() if value.ndim > 1 else value for key, value in state.items()}
    elif damage == "a tensor less":
        del state[max(key for key in state if key.startswith("sem_seg_head."))]
    path = tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save({"model": state}, path)
    if damage in ("half", "nothing"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "half" else 0])

    with pytest.raises(WeightsError, match=says) as caught:
        frozen_stage_one(path, (), small.ARCHITECTURE)

    assert str(path) in str(caught.value)


def test_what_is_held_out_is_measured_by_what_frozen_clip_matches(data: Path, tmp_path: Path) -> None:
    trainer = trainer_for(data, tmp_path, held_out=3)
    assert trainer.held_out is not None
    torch.nn.init.normal_(trainer.network.target.output.weight)  # has no say in it
    batches = list(one_by_one(trainer.held_out, SIDE))
    expected = []
    for batch in batches:
        texts = F.normalize(trainer._texts(batch.entities[0]), dim=1)
        image = normalise(batch.images, "clip")
        with torch.no_grad():
            features = trainer.masks.features(trainer.trunk(image).stages)
            masks = trainer._propose(features, 0, batch.canvases[0])
            views = [F.normalize(view[0], dim=1) for view in at_sizes(trainer.trunk, image, masks[None], (SIDE, 96))]
            regions = trainer._align(batch, 0.0).regions[0]
        likely = torch.stack([(trainer.scale * view @ texts.T).softmax(1) for view in views]).mean(0)
        cosines = F.normalize(regions, dim=1) @ texts.T
        expected.append(np.mean([1 - cosines[pair].item() for pair in best_pairs(likely)]))

    figures = trainer.figures()

    assert (sum(trainer.pairs.sizes), len(batches)) == (3, 3)
    assert figures["held_out_loss"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert 0 <= figures["centred_rank"] <= 100


def test_only_the_adapter_is_trained_and_averaged(data: Path, tmp_path: Path) -> None:
    trainer = trainer_for(data, tmp_path)
    frozen = {name: value.clone() for name, value in (trainer.trunk.state_dict() | trainer.masks.state_dict()).items()}
    learned, followed = trainer.network.adapter.output.weight, trainer.network.target.output.weight

    trainer._step(first_batch(trainer))
    after_one = learned.detach().clone()
    assert not followed.any()
    batch = first_batch(trainer)
    trainer._step(batch, batch)  # of two batches, and the average moves once

    assert after_one.any()
    torch.testing.assert_close(followed, after_one / 2)
    now = trainer.trunk.state_dict() | trainer.masks.state_dict()
    assert all(torch.equal(value, frozen[name]) for name, value in now.items())


def test_what_was_trained_imports_and_names_regions_as_it_serves(data: Path, tmp_path: Path) -> None:
    trainer = trainer_for(data, tmp_path / "mine")
    weights = trainer.train()
    assert weights is not None
    saved = {name.partition(".")[0] for name in load_file(weights)}

    publish_aligned(trainer.recipe, weights)
    imported("unpair-seg", "theirs", tmp_path, checkpoint=weights, architecture=small.ARCHITECTURE)

    assert saved == {"backbone", "sem_seg_head", "adapter"}
    mine, theirs = (catalogue.load(name, models_dir=tmp_path, precision="exact") for name in ("mine", "theirs"))
    plan = mine.plan(np.random.default_rng(1).integers(0, 255, (48, 64, 3)).astype(np.uint8))
    masks = torch.randn(3, 12, 16, generator=torch.Generator().manual_seed(0))
    scores = []
    for segmenter in (mine, theirs):
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        classes = (ClassEntry("red square"), ClassEntry("wall"))
        bank = bank_of(words_of(segmenter), classes)
        scores.append(
            regions_of(segmenter).region_scores(features, regions_of(segmenter).embed_masks(features, masks), bank)
        )
    assert scores[0].isfinite().all()
    assert torch.equal(*scores)
