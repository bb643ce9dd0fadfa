"""The image tower with random weights: shapes, unit vectors, presence."""

from __future__ import annotations

import pytest
import torch

from lexiseg_model.methods.tiny.network import EMBEDDING, TinyNetwork


@pytest.fixture(scope="module")
def network() -> TinyNetwork:
    torch.manual_seed(0)
    return TinyNetwork().eval().requires_grad_(False)


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
