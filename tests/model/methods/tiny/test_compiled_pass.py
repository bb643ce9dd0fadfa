"""The image pass by the kernel's layers: as torch's, but for the last digits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model import catalogue, device
from lexiseg_model.device import Execution
from lexiseg_model.kernel.layers import panel
from lexiseg_model.methods.tiny.compiled_pass import CompiledPass, suits
from lexiseg_model.methods.tiny.fast import fused
from lexiseg_model.methods.tiny.network import MEAN, STD, ImageFeatures, TinyNetwork, channel
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import Point, Prompt
from tests.kernel import require_kernel

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has the kernel's vectors, and no bfloat16."""
    require_kernel()
    if not panel():
        pytest.skip("no layers for this processor")
    monkeypatch.setattr(device, "inference_dtype", lambda device: torch.float32)


@pytest.fixture(scope="module")
def network() -> TinyNetwork:
    """Batch norms that have seen something, all of them in convolutions."""
    torch.manual_seed(0)
    network = TinyNetwork()
    network.wake_evidence()
    for weight in network.evidence.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 64, 64))
    return fused(network.eval().requires_grad_(False))


def tile(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (3, height, width), np.uint8)


def by_torch(network: TinyNetwork, tile: NDArray[np.uint8]) -> ImageFeatures:
    with torch.inference_mode():
        features: ImageFeatures = network((torch.from_numpy(tile)[None] - channel(MEAN, CPU)) / channel(STD, CPU))
        return features


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("size", [(96, 160), (32, 32)])
def test_features_are_those_of_torch(network: TinyNetwork, lanes: int, size: tuple[int, int]) -> None:
    if not panel(lanes):
        pytest.skip("this processor has no such vectors")
    made = CompiledPass(copy.deepcopy(network), lanes)(tile(*size)[None], half=False)

    for ours, expected in zip(made, by_torch(network, tile(*size)), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=2e-5)


def test_the_network_does_not_keep_the_weights_a_second_time(network: TinyNetwork) -> None:
    given = copy.deepcopy(network)

    CompiledPass(given)

    assert sum(weight.nbytes for weight in given.parameters()) < 0.1 * sum(w.nbytes for w in network.parameters())


def test_who_insists_on_exact_answers_or_computes_elsewhere_stays_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert suits(Execution(CPU, "fast"))
    assert not suits(Execution(CPU, "exact"))
    assert not suits(Execution(torch.device("cuda"), "fast"))
    with_bfloat16(monkeypatch, tiles=True)
    assert not suits(Execution(CPU, "fast"))


def test_bfloat16_in_vectors_is_left_for_the_kernel_s_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    without = catalogue.load("tiny", device="cpu", precision="fast")
    with_bfloat16(monkeypatch, tiles=False)
    segmenter = catalogue.load("tiny", device="cpu", precision="fast")
    assert isinstance(segmenter, TinySegmenter)
    assert segmenter.is_compiled
    assert segmenter.passes_side_by_side
    picture = tile(96, 160).transpose(1, 2, 0)
    click = [Prompt((Point(40, 30),))]

    (ours, quality), (expected, as_good) = (
        each.prompt(each.assemble(plan, each.encode_tiles(plan.tiles)), click)[0]
        for each in (segmenter, without)
        for plan in [each.plan(picture)]
    )

    assert torch.equal(ours, expected)
    assert torch.equal(quality, as_good)


def with_bfloat16(monkeypatch: pytest.MonkeyPatch, *, tiles: bool) -> None:
    """A processor that multiplies it, in vectors or in tiles."""
    monkeypatch.setattr(device, "inference_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)


def test_photographs_keep_their_features(photographs: dict[str, NDArray[np.uint8]]) -> None:
    fast, exact = (catalogue.load("tiny", device="cpu", precision=precision) for precision in ("fast", "exact"))
    assert isinstance(fast, TinySegmenter)
    assert fast.is_compiled
    tiles = np.concatenate([fast.plan(photographs["coffee"]).tiles] * 2)

    made, expected = fast.encode_tiles(tiles), exact.encode_tiles(tiles)

    for ours, theirs in zip(made, expected, strict=True):
        assert torch.equal(ours[0], ours[1])
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-3, atol=1e-3)
