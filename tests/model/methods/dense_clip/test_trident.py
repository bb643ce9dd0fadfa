"""Trident against a plain implementation of its formulas and transformers' SAM, on random weights; import and load."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from lexiseg_model.clip import windowed
from lexiseg_model.clip.images import normalise
from lexiseg_model.device import Execution
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.dense_clip import trident
from lexiseg_model.methods.dense_clip.segmenter import TridentSegmenter
from lexiseg_model.methods.dense_clip.stored import Parts, flat_state
from lexiseg_model.methods.dense_clip.trident import Sam, affinity, prompted, sam_from_folder, sam_from_state
from tests.golden import trident as plain
from tests.model.clip import small as clip
from tests.model.conformance.asking import blocks
from tests.model.methods.dense_clip import small

SEEDS = [0, 3, 11]
FACTOR = 1.2


def pixels(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """[H, W, 3]."""
    drawn: NDArray[np.uint8] = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return drawn


@pytest.mark.parametrize("factor", [0.0, 1.2, 3.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_affinity_is_that_of_the_formulas(seed: int, factor: float) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.random((3, 12, 12))
    features = generator.normal(size=(12, 5)) + 1

    ours = affinity(torch.from_numpy(weights.mean(0)), torch.from_numpy(features), factor)

    assert (ours == 0).any()
    np.testing.assert_allclose(ours, plain.affinity(weights, features, factor), atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@torch.inference_mode()
def test_attention_and_features_are_those_of_transformers(seed: int) -> None:
    picture = torch.from_numpy(pixels(seed, 48, 64)).permute(2, 0, 1)
    padded = F.pad(normalise(picture[None], "imagenet"), (0, 0, 0, 16))
    theirs = small.sam_model(seed).vision_encoder(padded, output_attentions=True)

    shares, grid, embedding = Sam(small.sam_model(seed))(picture, FACTOR)

    assert grid == (6, 8)
    inside = np.arange(64).reshape(8, 8)[:6].ravel()
    attention = theirs.attentions[-1].reshape(2, 64, 64).double().numpy()[:, inside][:, :, inside]
    features = theirs.last_hidden_state[0].flatten(1).T.double().numpy()[inside]
    np.testing.assert_allclose(shares, plain.affinity(attention, features, FACTOR), atol=1e-5)
    torch.testing.assert_close(embedding, theirs.last_hidden_state[0])


@pytest.mark.parametrize("seed", SEEDS)
@torch.inference_mode()
def test_patches_of_a_picture_are_those_of_the_formulas(seed: int) -> None:
    model, rgb = small.trident_segmenter(seed=seed), pixels(seed, 48, 64)

    ours = model.encode(rgb).tensors["patches"][0]

    tiles = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    corners = [(top, left) for top in (0, 16) for left in (0, 16, 32)]
    windows = [model.tower(tiles[:, :, y : y + 32, x : x + 32])[0][0].permute(1, 2, 0).double() for y, x in corners]
    in_patches = [(y // 4, x // 4) for y, x in corners]
    spliced = plain.spliced([window.numpy() for window in windows], in_patches, (12, 16))
    shares, grid, _ = Sam(small.sam_model(seed))(tiles[0], FACTOR)
    theirs = plain.aggregated(shares.double().numpy(), spliced, grid)
    np.testing.assert_allclose(ours.permute(1, 2, 0), theirs, atol=1e-5)


@pytest.mark.parametrize("least", [0.05, 0.2])
@pytest.mark.parametrize(("seed", "sure"), [*((seed, 0.0) for seed in SEEDS), (SEEDS[0], -9.0), (SEEDS[0], 9.0)])
@torch.inference_mode()
def test_refined_probabilities_are_those_of_the_formulas(
    seed: int, sure: float, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(seed)
    coarse = generator.normal(scale=2, size=(1, 4, 4, 5))
    shares = windowed.resize(torch.from_numpy(coarse[0]).float(), (96, 128)).softmax(0)
    sam = small.sam_model(seed)
    embedding = torch.randn(32, 8, 8, generator=torch.Generator().manual_seed(seed))
    # Of random weights the expected IoU is any number: none, some or all of the masks are good.
    qualities = plain.expected_iou(shares.double().numpy(), least, sam, embedding)
    bound = sure or float(np.median(qualities))
    monkeypatch.setattr(trident, "MIN_QUALITY", bound)

    ours = prompted(Sam(sam), embedding, shares, least)

    assert len(qualities) >= 2
    theirs = plain.prompted(shares.double().numpy(), least, sam, embedding, bound)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_on_a_picture_of_one_colour_every_patch_keeps_itself() -> None:
    shares = affinity(torch.ones(4, 4), torch.ones(4, 3), FACTOR)

    torch.testing.assert_close(shares, torch.eye(4))


def test_sam_is_read_from_the_hubs_layout_and_back_from_a_model_directory(tmp_path: Path) -> None:
    small.sam_model().save_pretrained(tmp_path)
    picture = torch.from_numpy(blocks()).permute(2, 0, 1)

    read = sam_from_folder(tmp_path)
    save_file(flat_state(clip.towers(), None, read), tmp_path / "flat.safetensors")
    kept = load_file(tmp_path / "flat.safetensors")
    own = {name.removeprefix("sam."): value for name, value in kept.items() if name.startswith("sam.")}

    expected = Sam(small.sam_model())(picture, FACTOR)[0]
    torch.testing.assert_close(read(picture, FACTOR)[0], expected)
    torch.testing.assert_close(sam_from_state(read.config, own)(picture, FACTOR)[0], expected)


def test_without_sam_it_does_not_load() -> None:
    model = small.trident_segmenter()

    with pytest.raises(WeightsError, match="needs DINO's tower and SAM's encoder"):
        TridentSegmenter(
            Parts(clip.towers(), small.dino(), "small"),
            model.settings,
            model.card,
            Execution(torch.device("cpu"), "exact"),
        )
