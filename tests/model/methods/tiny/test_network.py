"""The image tower with random weights: shapes, unit vectors, presence."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.methods.tiny.network import EMBEDDING, MULTIPLE, STRIDE, TinyNetwork


@pytest.fixture(scope="module")
def network() -> TinyNetwork:
    torch.manual_seed(0)
    return TinyNetwork().eval().requires_grad_(False)


def images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(height + width))


@pytest.mark.parametrize(("height", "width"), [(MULTIPLE, MULTIPLE), (64, 96), (160, 32)])
def test_there_is_one_vector_for_each_cell_of_the_stride(network: TinyNetwork, height: int, width: int) -> None:
    features = network(images(2, height, width))

    assert features.pixels.shape == (2, EMBEDDING, height // STRIDE, width // STRIDE)


def test_an_image_of_one_colour_gives_finite_vectors(network: TinyNetwork) -> None:
    features = network(torch.zeros(1, 3, 64, 64))

    assert torch.isfinite(features.pixels).all()
    assert torch.isfinite(features.image).all()


def test_one_cell_that_is_like_a_text_is_enough_for_its_presence(network: TinyNetwork) -> None:
    texts, cells = torch.eye(EMBEDDING)[:2], torch.zeros(EMBEDDING, 4, 4)
    cells[0, 1, 2] = 9

    present, absent = network.presence(torch.zeros(EMBEDDING), cells, texts)

    assert present > absent + 5


def test_presence_does_not_depend_on_how_many_cells_show_the_same(network: TinyNetwork) -> None:
    texts, cells = torch.eye(EMBEDDING)[:2], torch.randn(EMBEDDING, 2, 3, generator=torch.Generator().manual_seed(0))
    image = torch.zeros(EMBEDDING)

    larger = cells.repeat_interleave(2, 1).repeat_interleave(2, 2)

    torch.testing.assert_close(network.presence(image, larger, texts), network.presence(image, cells, texts))


def test_every_weight_takes_part_in_the_answer() -> None:
    network = TinyNetwork().train()
    features = network(images(2, 64, 64))
    texts = network.project_texts(torch.randn(3, 384))

    scores = network.log_scale.exp() * (texts @ features.pixels.flatten(2)) + network.nobody
    (scores.square().mean() + network.presence(features.image, features.cells, texts).square().mean()).backward()

    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
