"""The maps that prompts share, by the kernel's layers: as torch's, but for the last digits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lexiseg_model import catalogue, device
from lexiseg_model.kernel.layers import panel
from lexiseg_model.methods.tiny.compiled_head import as_read
from lexiseg_model.methods.tiny.compiled_maps import CompiledMaps
from lexiseg_model.methods.tiny.fast import fused
from lexiseg_model.methods.tiny.network import EMBEDDING, MEAN, STD, channel
from lexiseg_model.methods.tiny.prompt_head import SharedMaps, SharedNetwork
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.types import Point, Prompt
from tests.kernel import require_kernel

CLICKS = [Prompt((Point(x, y),)) for x, y in ((100, 100), (300, 250), (500, 60))]


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has the kernel's vectors, and no bfloat16."""
    require_kernel()
    if not panel():
        pytest.skip("no layers for this processor")
    monkeypatch.setattr(device, "inference_dtype", lambda device: torch.float32)


@pytest.fixture(scope="module")
def network() -> SharedNetwork:
    """Batch norms that have seen something, all of them in convolutions."""
    torch.manual_seed(0)
    network = SharedNetwork()
    with torch.no_grad():
        network.train()(F.normalize(torch.randn(2, EMBEDDING, 16, 16), dim=1), torch.randn(2, 3, 32, 32))
    return fused(network.eval().requires_grad_(False))


def picture(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings [96, h, w] in two bytes each, side by side as an image pass leaves them, and the guide's bytes."""
    torch.manual_seed(height)
    pixels = F.normalize(torch.randn(height, width, EMBEDDING), dim=2).half().permute(2, 0, 1)
    return pixels, torch.randint(0, 256, (3, 2 * height, 2 * width), dtype=torch.uint8)


def by_torch(network: SharedNetwork, pixels: torch.Tensor, guide: torch.Tensor) -> SharedMaps:
    cpu = torch.device("cpu")
    with torch.inference_mode():
        return as_read(network(pixels[None].float(), (guide[None] - channel(MEAN, cpu)) / channel(STD, cpu)))


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("size", [(24, 40), (8, 8)])
def test_maps_are_those_of_torch_and_lie_as_those_do(network: SharedNetwork, lanes: int, size: tuple[int, int]) -> None:
    if not panel(lanes):
        pytest.skip("this processor has no such vectors")
    pixels, guide = picture(*size)

    made = CompiledMaps(copy.deepcopy(network), lanes)(pixels, guide)

    for ours, expected in zip(made, by_torch(network, pixels, guide), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=5e-5)
        assert ours.is_contiguous(memory_format=torch.channels_last) or ours.is_contiguous()
    assert made.fine.is_contiguous()
    assert made.grouping.is_contiguous()


def test_embeddings_may_lie_in_planes(network: SharedNetwork) -> None:
    pixels, guide = picture(8, 16)
    made = CompiledMaps(copy.deepcopy(network))

    for ours, others in zip(made(pixels, guide), made(pixels.contiguous(), guide), strict=True):
        assert torch.equal(ours, others)


def test_the_network_does_not_keep_the_weights_a_second_time(network: SharedNetwork) -> None:
    given = copy.deepcopy(network)

    CompiledMaps(given)

    assert not list(given.parameters())


def test_clicks_on_a_photograph_find_what_torch_finds(photographs: dict[str, NDArray[np.uint8]]) -> None:
    answers = []
    for precision in ("fast", "exact"):
        model = catalogue.load("tiny", device="cpu", precision=precision)
        assert isinstance(model, TinySegmenter)
        plan = model.plan(photographs["coffee"])
        tiles = catalogue.load("tiny", device="cpu", precision="exact").encode_tiles(plan.tiles)
        answers.append(model.prompt(model.assemble(plan, tiles), CLICKS))

    for ours, expected in zip(*answers, strict=True):
        torch.testing.assert_close(ours.masks, expected.masks, rtol=0, atol=1e-2)
        assert ((ours.masks > 0) != (expected.masks > 0)).float().mean() < 1e-4
