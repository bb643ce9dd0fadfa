from __future__ import annotations

import torch

from lexiseg_model.methods.unpair_seg.training.criterion import at_points, drawn_on, unsure_points
from lexiseg_model.methods.unpair_seg.training.recipe import PointSettings


def test_values_are_read_between_cells() -> None:
    maps = torch.tensor([[[0.0, 2.0], [4.0, 6.0]]])

    found = at_points(maps, torch.tensor([[[0.5, 0.5], [0.25, 0.75], [0.5, 0.25]]]))

    assert found.tolist() == [[3, 4, 1]]


def test_most_points_lie_where_the_mask_is_unsure() -> None:
    logits = torch.linspace(-8, 8, 64).expand(2, 64, 64)  # unsure in the middle column
    draw = drawn_on(logits.device, torch.Generator().manual_seed(0))

    points = unsure_points(logits, PointSettings(points=400), draw)

    assert points.shape == (2, 400, 2)
    distance = (points[..., 0] - 0.5).abs()
    assert float(distance[:, :300].quantile(0.95)) < 0.15  # a quarter of the candidates, evenly spread
    assert float(distance[:, 300:].max()) > 0.4


def test_the_number_of_points_is_kept_whatever_the_share() -> None:
    for importance in (0.0, 0.333, 1.0):
        settings = PointSettings(points=10, importance=importance)

        assert unsure_points(torch.randn(1, 8, 8), settings, drawn_on(torch.device("cpu"))).shape == (1, 10, 2)


def test_no_masks_need_no_points() -> None:
    points = unsure_points(torch.zeros(0, 8, 8), PointSettings(points=10), drawn_on(torch.device("cpu")))

    assert points.shape == (0, 10, 2)
    assert at_points(torch.zeros(0, 8, 8), points).shape == (0, 10)
