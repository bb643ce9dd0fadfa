"""S-Seg's text tower: raw rows in the space of masks, the same in any company, named by their weights."""

from __future__ import annotations

import numpy as np
import torch
from lexiseg_model.methods.s_seg.text_tower import SSegTextTower

from lexiseg_model.clip.text import tokenize
from tests.model.methods.s_seg.small import SMALL, small_network

CPU = torch.device("cpu")
TEXTS = ["a photo of a dog.", "a photo of a fire hydrant by the kerb.", "sky", "a very long caption " * 40]


def tower(seed: int = 0) -> SSegTextTower:
    network = small_network(seed=seed)
    return SSegTextTower(network.text, network.text_projector, CPU)


@torch.inference_mode()
def test_rows_are_the_networks_before_they_are_brought_to_unit_length() -> None:
    network = small_network()

    rows = tower().encode(TEXTS)

    assert rows.shape == (4, SMALL.embedding)
    units = torch.nn.functional.normalize(torch.from_numpy(rows), dim=1)
    torch.testing.assert_close(units, network.embed_texts(tokenize(TEXTS)), atol=1e-5, rtol=1e-4)
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).min() > 1e-3


def test_a_text_has_the_same_row_in_any_company() -> None:
    together = tower().encode(TEXTS * 5)

    for index, text in enumerate(TEXTS):
        assert np.array_equal(tower().encode([text])[0], together[index])


def test_no_texts_give_no_rows() -> None:
    assert tower().encode([]).shape == (0, SMALL.embedding)


def test_the_image_side_does_not_name_the_rows_but_transformer_and_projector_do() -> None:
    network = small_network()
    digest = tower().digest

    for weight in network.backbone.parameters():
        weight.data += 1
    assert SSegTextTower(network.text, network.text_projector, CPU).digest == digest
    network.text_projector.second.bias.data += 1e-6
    assert SSegTextTower(network.text, network.text_projector, CPU).digest != digest
    assert tower(seed=1).digest != digest
