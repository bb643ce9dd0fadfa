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


def test_there_is_one_vector_for_each_image(network: TinyNetwork) -> None:
    assert network(images(3, 64, 96)).image.shape == (3, EMBEDDING)


def test_pixel_vectors_are_of_unit_length(network: TinyNetwork) -> None:
    lengths = network(images(2, 64, 96)).pixels.norm(dim=1)

    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-5, rtol=0)


def test_image_vectors_are_of_unit_length(network: TinyNetwork) -> None:
    lengths = network(images(2, 64, 96)).image.norm(dim=1)

    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-5, rtol=0)


def test_an_image_of_one_colour_gives_finite_vectors(network: TinyNetwork) -> None:
    features = network(torch.zeros(1, 3, 64, 64))

    assert torch.isfinite(features.pixels).all()
    assert torch.isfinite(features.image).all()


def test_projected_texts_are_of_unit_length(network: TinyNetwork) -> None:
    vectors = network.project_texts(torch.randn(5, 384, generator=torch.Generator().manual_seed(0)))

    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5), atol=1e-5, rtol=0)


def test_half_precision_rows_can_be_projected(network: TinyNetwork) -> None:
    vectors = network.project_texts(torch.randn(5, 384, generator=torch.Generator().manual_seed(0)).half())

    assert (vectors.shape, vectors.dtype) == ((5, EMBEDDING), torch.float32)


def test_presence_has_one_logit_for_each_image_and_text(network: TinyNetwork) -> None:
    assert network.presence(torch.zeros(4, EMBEDDING), torch.zeros(7, EMBEDDING)).shape == (4, 7)


def test_presence_grows_with_the_likeness_of_image_and_text(network: TinyNetwork) -> None:
    texts = torch.eye(EMBEDDING)[:2]

    present, absent = network.presence(texts[0], texts)

    assert present > absent


def test_every_weight_takes_part_in_the_answer() -> None:
    network = TinyNetwork().train()
    features = network(images(2, 64, 64))
    texts = network.project_texts(torch.randn(3, 384))

    scores = network.log_scale.exp() * (texts @ features.pixels.flatten(2)) + network.nobody
    (scores.square().mean() + network.presence(features.image, texts).square().mean()).backward()

    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []
