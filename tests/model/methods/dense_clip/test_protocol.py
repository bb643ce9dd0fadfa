"""From cosines to labels; whole chains are compared with the authors' in test_golden."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.errors import ShapeError
from model.masks.windows import place_windows
from model.methods.dense_clip import protocol


def column(*values: float) -> torch.Tensor:
    """[len(values), 1, 1]."""
    return torch.tensor(values).view(-1, 1, 1)


def test_a_class_has_the_probability_of_its_best_text() -> None:
    owner = np.array([0, 1, 1])
    shares = column(0.2, 0.1, 0.4).log().softmax(0)

    found = protocol.class_probabilities(column(0.2, 0.1, 0.4).log() / 40, owner, 2, 40)

    torch.testing.assert_close(found, torch.stack([shares[0], shares[2]]))


def test_owners_need_no_order_and_a_class_without_texts_has_no_probability() -> None:
    found = protocol.class_probabilities(column(0.0, 0.0), np.array([2, 0]), 3, 1)

    torch.testing.assert_close(found, column(0.5, 0.0, 0.5))


def test_an_owner_is_wanted_for_each_text() -> None:
    with pytest.raises(ShapeError, match="expected 3 owners, got 2"):
        protocol.class_probabilities(column(0, 0, 0), np.array([0, 1]), 2, 1)


def test_the_threshold_is_asked_before_probabilities_are_renormalised() -> None:
    probability = column(0.1, 0.3)  # 0.75 of what there is

    assert protocol.labels(probability, 0.4).item() == 0
    assert protocol.labels(protocol.renormalised(probability), 0.4).item() == 1
    assert protocol.labels(probability, 0.3).item() == 1  # below, not at


def test_windows_are_averaged_where_they_overlap() -> None:
    layout = place_windows((16, 24), 16, 8)
    left, right = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)

    found = protocol.merged([left, right], layout, (16, 24))

    assert torch.equal(found[0, 0], torch.tensor([0.0] * 8 + [0.5] * 8 + [1.0] * 8))


def test_maps_are_brought_to_the_image_s_own_size() -> None:
    layout = place_windows((16, 24), 16, 8)

    assert protocol.merged([torch.zeros(3, 2, 2)] * 2, layout, (33, 50)).shape == (3, 33, 50)


def test_no_iterations_refine_nothing() -> None:
    maps, image = torch.rand(2, 8, 8), torch.rand(3, 8, 8)

    assert protocol.refined(maps, image, 0, (1,)) is maps
    assert not torch.equal(protocol.refined(maps, image, 1, (1,)), maps)


def test_foreground_classes_that_win_little_are_dropped_the_background_never() -> None:
    winners = torch.tensor([1] * 17 + [2] * 2 + [0] * 1)  # of 19 foreground pixels, 2 are a tenth
    probability = torch.nn.functional.one_hot(winners, 4).T.float().view(4, 4, 5)

    found = protocol.without_small_classes(probability, 2 / 19)

    assert torch.equal(found[:2], probability[:2])
    assert not found[2:].any()
    assert torch.equal(protocol.without_small_classes(probability, 0.1)[2], probability[2])


def test_what_is_uncertain_and_no_object_becomes_background() -> None:
    probability = torch.tensor([[0.0, 0.0, 0.0], [0.995, 0.9, 0.9]]).view(2, 1, 3)
    objectness = torch.tensor([[0.1, 0.1, 0.6]])

    found = protocol.with_found_objects(probability, objectness, 0.99)

    assert protocol.labels(found, 0).tolist() == [[1, 0, 1]]
    assert torch.equal(found[1], probability[1])


def test_cosines_are_products_of_vectors() -> None:
    vectors = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # [2, 1, 2]

    found = protocol.cosines(vectors, torch.tensor([[1.0, 0.0], [0.6, 0.8]]))

    assert torch.equal(found, torch.tensor([[[1.0, 0.0]], [[0.6, 0.8]]]))
