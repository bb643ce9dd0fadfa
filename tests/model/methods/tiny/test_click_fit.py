from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.methods.tiny.click_fit import MOST_LOST, NOTHING, Clicks, fit, gather
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.settings import ClickOrder


def clicks(n: int, of: list[float]) -> Clicks:
    """Masks whose true IoU is told by their evidence, with weights `of`, and hardly by their quality."""
    random = torch.Generator().manual_seed(n)
    seen = torch.rand(n, 4, 3, generator=random)
    return Clicks(torch.rand(n, 4, generator=random) / 10, seen, (seen @ torch.tensor(of)).clamp(0, 1))


def test_what_tells_good_masks_gets_its_weight() -> None:
    sets = [clicks(200, [0.5, 0.0, 0.5]), clicks(300, [0.5, 0.0, 0.5])]

    rule = fit(sets)

    assert rule.stability > 0.3
    assert rule.edges > 0.3
    assert abs(rule.area) < min(rule.stability, rule.edges) / 4
    for each in sets:
        best = each.reached.amax(1).mean().item()
        assert each.first(NOTHING) + 0.1 < each.first(rule) <= best + 1e-6
        assert each.first(rule) > best - 0.02


def test_where_the_quality_knows_all_nothing_is_added_that_harms() -> None:
    each = clicks(400, [0.0, 0.0, 0.0])
    known = each._replace(reached=each.quality)

    assert known.first(fit([known])) > known.reached.amax(1).mean().item() - 0.01


def test_no_data_set_pays_for_another() -> None:
    gains, loses = clicks(300, [0.9, 0.0, 0.0]), clicks(200, [-0.4, 0.0, 0.9])
    start = ClickOrder(stability=0, area=0, edges=0.3)

    rule = fit([gains, loses], start)

    assert loses.first(rule) >= loses.first(start) - MOST_LOST
    assert fit([gains]).stability > rule.stability


def test_objects_of_a_split_are_asked_where_they_are_deepest(tiny: TinySegmenter, cups: Path) -> None:
    found = gather(tiny, read_dataset(cups, "cups", "train"))

    assert found.quality.shape == (1, 4)
    assert found.evidence.shape == (1, 4, 3)
    assert found.reached.max() > 0.3
    assert found.first(NOTHING) == pytest.approx(found.reached[0, found.quality.argmax()].item())
