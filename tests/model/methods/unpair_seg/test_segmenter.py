"""`unpair-seg` as a Segmenter on a small network with random weights: prompts, answers, imported checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model import tasks
from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.unpair_seg import import_
from lexiseg_model.methods.unpair_seg.canvas import Canvas, image_to_canvas, laid_on, lay_out
from lexiseg_model.methods.unpair_seg.layers.prompts import Places
from lexiseg_model.methods.unpair_seg.network import CLIP, read_weights, restore
from lexiseg_model.methods.unpair_seg.proposals import prompt_masks
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter, settings_of
from lexiseg_model.testing.suite import bank_of
from lexiseg_model.types import ClassEntry, Point, Prompt, Vocabulary
from tests.model.imports import imported
from tests.model.methods.unpair_seg import golden, small
from tests.once import kept

CARD = catalogue.read_card(catalogue.bundled()["unpair-seg"])
CLASSES = (ClassEntry("cat", ("kitten",)), ClassEntry("grass"), ClassEntry("sky"))


def photograph(height: int = 60, width: int = 100) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@kept
def model() -> UnpairSegSegmenter:
    return small.segmenter()


@kept
def features() -> Features:
    return model().encode(photograph())


def test_where_nothing_is_proposed_every_question_has_an_answer() -> None:
    nothing = small.segmenter(proposals={"grid": 2, "quality": 1.0})
    kept = nothing.encode(photograph())
    bank = bank_of(nothing, CLASSES)

    assert nothing.propose(kept).masks.shape == (0, 19, 32)
    assert nothing.region_scores(kept, nothing.propose(kept).embeddings, bank).shape == (3, 0)
    everything = nothing.class_scores(kept, bank)
    assert everything.isfinite().all()
    assert (nothing.background_score(everything, None, "none") > everything.amax(0)).all()


def test_stage_twos_adapter_has_a_word_where_the_weights_hold_it() -> None:
    adapted = small.segmenter(adapted=True)
    kept = adapted.encode(photograph())
    everywhere = torch.ones(1, 19, 32)

    assert "adapted" in kept.tensors
    found = adapted.embed_masks(kept, everywhere)
    assert not torch.allclose(found, model().embed_masks(features(), everywhere), atol=1e-3)


def test_a_small_mask_is_classified_by_its_own_pixels() -> None:
    segmenter = small.segmenter(adapted=True)
    kept = segmenter.encode(photograph(128, 128))
    corners = torch.full((2, 32, 32), -9.0)
    corners[0, :2, :2] = corners[1, 6:8, 6:8] = 9.0  # 8 pixels each, in one cell at stride 32

    first, second = segmenter.embed_masks(kept, corners)
    plain = model().embed_masks(model().encode(photograph(128, 128)), corners)

    assert torch.equal(plain[0], plain[1])
    assert not torch.allclose(first, second, atol=1e-3)


def test_a_pixel_is_of_a_class_as_the_masks_over_it_are() -> None:
    fast = small.segmenter("fast")
    kept = fast.encode(photograph())
    bank = bank_of(fast, CLASSES)
    found = fast.propose(kept)
    probabilities = fast.region_scores(kept, found.embeddings, bank).exp()

    scores = fast.class_scores(kept, bank)

    expected = torch.einsum("kn,nhw->khw", probabilities, found.masks.float().sigmoid())
    torch.testing.assert_close(scores.exp(), expected)
    torch.testing.assert_close(scores.softmax(0), expected / expected.sum(0))


@pytest.mark.parametrize("size", [(60, 100), (100, 61), (300, 173)])
@pytest.mark.parametrize("padding", ["square", "multiple"])
def test_loaded_as_exact_every_label_is_that_of_masks_enlarged_before_they_are_added_up(
    padding: str, size: tuple[int, int]
) -> None:
    exact = small.segmenter(padding=padding)
    kept = exact.encode(photograph(*size))

    answer = tasks.segment("semantic", exact, kept, Vocabulary(CLASSES, None))

    bank = bank_of(exact, CLASSES)
    np.testing.assert_array_equal(small.labels_of(answer), small.published_labels(exact, kept, bank))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"grid": 20}}, "unpair-seg: the card's settings are not those of unpair_seg"),
        (
            {"settings": {"compatibility": "released", "padding": "multiple"}},
            "compatibility: released goes with padding: square alone, got padding: multiple",
        ),
        ({"input": InputSize(short_side=1000, long_side=1000, multiple=8)}, "expected a multiple of 32"),
    ],
)
def test_a_card_that_cannot_be_served_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        settings_of(CARD.model_copy(update=changes))


ONE = Prompt(points=(Point(20, 30),))
OTHER = Prompt(points=(Point(70, 12),))
BOX = Prompt(box=(10, 8, 60, 40))
PAIR = Prompt(points=(Point(20, 30), Point(50, 10, positive=False)))
BOTH = Prompt(points=(Point(20, 30),), box=(10, 8, 60, 40))
OFF = Prompt(points=(Point(20, 30, positive=False),))
MIXED = [BOX, ONE, PAIR, OTHER, BOTH, OFF, BOX]


@torch.no_grad()
def test_a_box_with_a_point_and_signs_reach_the_network() -> None:
    network = small.network()
    features = small.features(network)

    def masks(places: Places) -> torch.Tensor:
        tokens = network.predictor.prompt_encoder.together(places, features.masks, small.SIZE)
        return network.decode(features, tokens).masks[0, 0]

    points = torch.tensor([[[[20.0, 30.0], [50.0, 10.0]]]])
    box = Places.of_boxes(torch.tensor([[[10.0, 8.0, 60.0, 40.0]]]))

    pair, both = prompt_masks(network, features, [PAIR, BOTH], (1, 1), small.SIZE)

    signed = Places.of_points(points, torch.tensor([[[True, False]]]))
    torch.testing.assert_close(pair.masks, masks(signed))
    joined = box.beside(Places.of_points(points[:, :, :1]))
    torch.testing.assert_close(both.masks, masks(joined))


def test_only_several_points_without_a_box_are_read_as_the_released_code_reads_them() -> None:
    network = small.network()
    features = small.features(network)

    sane = prompt_masks(network, features, MIXED, (1, 1), small.SIZE)
    released = prompt_masks(network, features, MIXED, (1, 1), small.SIZE, "released")

    for prompt, ours, theirs in zip(MIXED, sane, released, strict=True):
        same = torch.equal(ours.masks, theirs.masks)
        assert same is (prompt not in (PAIR, OFF))


def test_the_longer_side_is_filled_and_the_rest_is_grey() -> None:
    canvas = lay_out((60, 100), 128)

    tile = laid_on(np.full((60, 100, 3), 7, np.uint8), canvas)

    assert canvas == Canvas((128, 128), (76, 128))
    assert tile.shape == (3, 128, 128)
    assert (tile[:, :76] == 7).all()
    assert (tile[:, 76:] == 128).all()


def test_beyond_the_image_nothing_is_in_a_mask() -> None:
    masks = torch.randn(2, 10, 16)

    placed = image_to_canvas(masks, Canvas((64, 64), (40, 64)))

    assert torch.equal(placed[:, :10], masks)
    assert (placed[:, 10:] < -5).all()


CARD_LIMITS = catalogue.read_card(catalogue.bundled()["unpair-seg"]).limits


def imported_small(models_dir: Path, name: str = "mine", **files: Any) -> Path:
    return imported("unpair-seg", name, models_dir, architecture=small.ARCHITECTURE, **files)


def test_the_adapter_of_a_training_is_served(tmp_path: Path) -> None:
    torch.save(small.state(adapted=True), tmp_path / "stage2.pth")

    imported_small(tmp_path / "models", checkpoint=tmp_path / "stage2.pth")

    segmenter = catalogue.load("mine", models_dir=tmp_path / "models", device="cpu")
    assert isinstance(segmenter, UnpairSegSegmenter)
    assert segmenter.network.adapter is not None
    assert CARD_LIMITS[0].startswith("The authors released stage one alone; without an adapter")
    assert segmenter.card.limits == CARD_LIMITS[1:]


@pytest.mark.parametrize(
    ("adapted", "published_layers", "licence"),
    [
        (False, 3, "The authors' stage-one weights"),
        (True, 3, "that of the imported weights"),
        (False, 9, "that of the imported weights"),
    ],
)
def test_only_the_authors_checkpoint_gets_the_authors_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, adapted: bool, published_layers: int, licence: str
) -> None:
    # As if the small network were the published one.
    sizes = restore(small.state(), small.ARCHITECTURE).network.masks.sizes
    monkeypatch.setattr(import_, "PUBLISHED", sizes._replace(decoder_layers=published_layers))
    monkeypatch.setattr(import_, "ARCHITECTURE", small.ARCHITECTURE)
    torch.save(small.state(adapted=adapted), tmp_path / "stage1.pth")

    made = imported_small(tmp_path / "models", checkpoint=tmp_path / "stage1.pth")

    card = catalogue.read_card(made)
    assert licence in card.licence
    assert any("SA-1B" in each for each in card.training_data) == (licence != "that of the imported weights")
    assert card.limits == CARD_LIMITS[adapted:]


TOWERS = {"visual.trunk.stem.0.weight": torch.ones(2, 3), "logit_scale": torch.zeros(())}


def whole() -> dict[str, torch.Tensor]:
    """The authors' stage one with something in place of CLIP's towers."""
    return golden.official() | {CLIP + name: value for name, value in TOWERS.items()}


def test_weights_without_clip_say_which_one_belongs_to_them(tmp_path: Path) -> None:
    torch.save(golden.official(), tmp_path / "stage1.pth")

    with pytest.raises(WeightsError, match=r"towers have to be given with them: .* convnext_large_d_320"):
        read_weights(tmp_path / "stage1.pth")


def test_tensors_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsError, match="not the weights of Unpair-Seg: unexpected surprise"):
        restore(small.state() | {"surprise": torch.zeros(1)}, small.ARCHITECTURE)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "network."])
def test_wrappers_of_training_and_its_losses_are_left_out(tmp_path: Path, prefix: str) -> None:
    wrapped = {prefix + key: value for key, value in whole().items()}
    losses = {"criterion.empty_weight": torch.zeros(3), f"{prefix}criterion.points": torch.zeros(1)}
    torch.save({"model": wrapped | losses}, tmp_path / "stage1.pth")

    found = read_weights(tmp_path / "stage1.pth")

    assert found.keys() == whole().keys()
    assert all(torch.equal(found[key], value) for key, value in whole().items())
