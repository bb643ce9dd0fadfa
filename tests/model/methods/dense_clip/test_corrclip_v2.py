"""CorrCLIP v2 against a transcription of its released code, on random weights; banks, good and bad."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.clip.images import normalise
from lexiseg_model.errors import WeightsError
from lexiseg_model.features import Features, Layout
from lexiseg_model.internal import Banking
from lexiseg_model.methods.dense_clip import retrieval
from lexiseg_model.methods.dense_clip.corrclip import nearest, region_map
from lexiseg_model.methods.dense_clip.retrieval import CorrClip2Tower, read_bank, region_means, retrieved
from lexiseg_model.methods.dense_clip.segmenter import CorrClip2Segmenter
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.segmenter import TextBank
from lexiseg_model.testing.questions import blocks
from tests.golden import corrclip as plain
from tests.golden import corrclip_v2 as plain2
from tests.model.clip import small
from tests.model.methods.dense_clip.small import bank, corr2_segmenter, dino
from tests.model.methods.dense_clip.test_corrclip import SEEDS, SIDE, Fixed, arrays, pixels, regions

Array = NDArray[np.float64]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def last(maps: Tensor) -> Array:
    """[C, h, w] -> [h, w, C]."""
    return maps.permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE - 5, SIDE - 2)], ids=["whole patches", "padded"])
@pytest.mark.parametrize("seed", SEEDS)
@torch.inference_mode()
def test_vectors_of_windows_are_those_of_the_released_code(seed: int, size: tuple[int, int]) -> None:
    canvas = (SIDE + 11, SIDE + 7)
    layout = Layout(canvas, size, ((3, 5),))
    tile = torch.from_numpy(pixels(seed, *size)).permute(2, 0, 1)[None]
    labels, maps = regions(seed)[: size[0], : size[1]], drawn(seed, 64, 9, 7)
    tower = CorrClip2Tower(
        small.towers(seed=seed).visual, DenseClipSettings(policy="corrclip_v2", normalisation="unit"), dino(seed)
    ).eval()

    (ours,) = tower(tile, torch.from_numpy(labels)[None], maps, layout)

    of_pixels = plain2.pixel_units(last(maps), canvas)[3 : 3 + size[0], 5 : 5 + size[1]]
    down, across = (SIDE - side for side in size)
    pad = (across // 2, across - across // 2, down // 2, down - down // 2)
    fine = 2 * SIDE // small.PATCH
    units = plain2.window_units(of_pixels, pad, (fine, fine))
    sides = ((pad[2], pad[3]), (pad[0], pad[1]))
    image = np.pad(normalise(tile, "unit")[0].double().numpy(), ((0, 0), *sides))
    wide = np.pad(labels, sides, constant_values=10000)
    theirs = plain.patch_vectors(
        arrays(small.state(seed)), image, heads=2, depth=4, units=units, regions=wide, merging=False
    )
    np.testing.assert_allclose(ours[0].flatten(1).T, plain2.units(theirs), atol=1e-5)


@pytest.mark.parametrize("n_regions", [7, 40], ids=["fewer than are taken", "more"])
@pytest.mark.parametrize("seed", SEEDS)
def test_support_is_that_of_the_released_code(seed: int, n_regions: int) -> None:
    maps, labels, texts = drawn(seed, 64, 6, 5), regions(seed), F.normalize(drawn(seed + 1, 3, 16), dim=1)
    of_bank = bank(n_regions, seed)

    asked = F.normalize(region_means(maps, torch.from_numpy(labels), of_units=True)[0], dim=1)
    ours = (texts @ retrieved(of_bank, asked).T)[:, torch.unique(torch.from_numpy(labels), return_inverse=True)[1]]

    theirs = plain2.queries(plain2.pixel_units(last(maps), (SIDE, SIDE)), labels)
    np.testing.assert_allclose(asked, theirs, atol=1e-5)
    logits = plain2.support_logits(
        theirs, of_bank.keys.double().numpy(), of_bank.values.double().numpy(), texts.double().numpy(), labels
    )
    np.testing.assert_allclose(ours, logits, atol=1e-5)


def asked_of(model: CorrClip2Segmenter, features: Features) -> tuple[TextBank, Array]:
    """Scores of four drawn texts."""
    texts = TextBank(F.normalize(drawn(5, 4, 16), dim=1), np.arange(4), 4)
    return texts, model.class_scores(features, texts).double().numpy()


def test_scores_are_half_the_pictures_and_half_the_banks() -> None:
    model = corr2_segmenter()
    rgb = blocks("rgba")[:48, :80]
    features = model.encode(rgb)

    texts, scores = asked_of(model, features)

    of_bank = features.tensors.pop("support")
    _, own = asked_of(model, features)
    assert len(of_bank) > 1
    labels = nearest(features.tensors["regions"], (48, 80)).numpy()
    of_pixels = plain2.pixel_units(last(model._dense(rgb)), (48, 80))
    keys, values = (part.double().numpy() for part in bank())
    queries = plain2.queries(of_pixels, labels)
    support = plain2.support_logits(queries, keys, values, texts.vectors.double().numpy(), labels)
    np.testing.assert_allclose(scores, plain2.fused(own, support), atol=1e-5)


def test_pictures_with_other_numbers_of_regions_go_through_together() -> None:
    model = corr2_segmenter()
    rgbs = [np.full((48, 80, 3), 90, np.uint8), np.ascontiguousarray(blocks("rgba")[:48, :80])]
    plans = [model.plan(rgb) for rgb in rgbs]

    together = model.encode_tiles(np.concatenate([plan.tiles for plan in plans]))

    for place, (rgb, plan) in enumerate(zip(rgbs, plans, strict=True)):
        features = model.assemble(plan, tuple(part[place : place + 1] for part in together))
        np.testing.assert_allclose(asked_of(model, features)[1], asked_of(model, model.encode(rgb))[1], atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_picture_gives_a_bank_what_the_released_code_keeps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.zeros((2, SIDE, SIDE), bool)
    masks[0, :20, :20], masks[1, 25:, 10:] = True, True
    model = corr2_segmenter(masks_of=Fixed(masks), seed=seed)
    monkeypatch.setattr("lexiseg_model.methods.dense_clip.segmenter.dino_from_hub", lambda *_: dino(seed))
    for name in ("BANK_SHORT_SIDE", "BANK_WINDOW"):  # one window, which CLIP's positions fit
        monkeypatch.setattr(f"lexiseg_model.methods.dense_clip.segmenter.{name}", SIDE)
    rgb = pixels(seed)

    rows = model.bank_rows(rgb)

    assert isinstance(model, Banking)
    labels = region_map(Fixed(masks), rgb).numpy().astype(np.int64)
    np.testing.assert_allclose(rows.keys, plain2.bank_keys(last(model._dense(rgb)), labels), atol=2e-3)
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    likeness = plain.dino_units(
        arrays(dino(seed).vit.state_dict()), normalise(image, "imagenet")[0].double().numpy(), heads=1, depth=2
    )
    vectors = plain.patch_vectors(
        arrays(small.state(seed)), normalise(image, model.settings.normalisation)[0].double().numpy(),
        heads=2, depth=4, units=likeness, regions=labels, merging=False,
    )  # fmt: skip
    fine = int(len(vectors) ** 0.5)
    canvas = plain.bilinear(vectors.reshape(fine, fine, -1), (SIDE, SIDE))
    np.testing.assert_allclose(rows.values, plain2.bank_values(canvas, labels), atol=2e-3)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"keys": torch.ones(3, 4)}, r"expected a bank, keys \[N, C\] and values .*; got \{'keys': \[3, 4\]\}"),
        ({"keys": torch.ones(3, 4), "values": torch.ones(2, 4)}, "got .*'values': \\[2, 4\\]"),
        ({"keys": torch.ones(0, 4), "values": torch.ones(0, 4)}, "with N > 0"),
        ({"keys": torch.ones(3), "values": torch.ones(3)}, "expected a bank"),
    ],
)
def test_a_file_that_is_no_bank_is_refused(tensors: dict[str, Tensor], says: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "bank.safetensors")

    with pytest.raises(WeightsError, match=says):
        read_bank(tmp_path / "bank.safetensors")


def test_half_a_bank_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    save_file(bank()._asdict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(WeightsError, match=r"bank\.safetensors"):
        read_bank(path)


def test_a_bank_of_other_towers_is_refused() -> None:
    other = retrieval.Bank(torch.ones(3, 8), torch.ones(3, 16))

    with pytest.raises(WeightsError, match="keys of 8 and values of 16 numbers; expected 64 and 16"):
        corr2_segmenter(regions=other)
