"""Windows are blended: of known probabilities, without a model."""

from concurrent.futures import Future

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lexiseg_service.commands.segment_scene.windows import MARGIN, Blend, Window


def done(probabilities: Tensor) -> Future[Tensor]:
    future: Future[Tensor] = Future()
    future.set_result(probabilities.clamp_min(1e-6).log())
    return future


def of_left_share(share: float, cells: int = 48) -> Tensor:
    """Two classes, the first with that probability everywhere."""
    return torch.tensor([share, 1 - share])[:, None, None].expand(2, cells, cells)


def scored_of(blend: Blend) -> list[Window]:
    """The windows of the first block."""
    next(blend.blocks())
    return list(blend._scored)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(96, 300), st.floats(0.05, 0.5))
def test_blocks_cover_the_picture_once_and_every_window_is_scored_once(
    height: int, width: int, window: int, overlap: float
) -> None:
    scored: list[Window] = []

    def score(asked: Window) -> Future[Tensor]:
        scored.append(asked)
        return done(of_left_share(0.5, 4))

    blend = Blend((height, width), window, max(1, int(window * overlap)), score)
    seen = np.zeros((height, width), np.uint8)
    for box, logits in blend.blocks():
        seen[box.top : box.bottom, box.left : box.right] += 1
        assert logits is not None
        assert torch.isfinite(logits).all()
        assert blend.winners(box, logits).labels.shape == box.size

    assert (seen == 1).all()
    assert len(scored) == len(set(scored))


@pytest.mark.parametrize(
    ("size", "shrink"), [((100, 150), 1.0), ((300, 500), 1.0), ((2**13, 2**13), 2.0), ((100, 801), None)]
)
def test_the_whole_picture_is_seen_as_if_asked_at_once(size: tuple[int, int], shrink: float | None) -> None:
    blend = Blend(size, max(200, size[0] // 3), 50, lambda window: done(of_left_share(0.5, 4)))
    scored = scored_of(blend)

    assert [window.shrink for window in scored if window.box == (0, 0, *size)] == ([] if shrink is None else [shrink])


@pytest.mark.parametrize(("size", "is_alone"), [((150, 799), True), ((390, 400), True), ((400, 400), False)])
def test_windows_of_less_than_twice_the_detail_are_not_looked_at(size: tuple[int, int], is_alone: bool) -> None:
    scored = scored_of(Blend(size, 200, 50, lambda window: done(of_left_share(0.5, 4))))

    assert ({window.box for window in scored} == {(0, 0, *size)}) is is_alone


@pytest.mark.parametrize(("size", "window"), [((500, 700), 192), ((900, 1200), 384), ((500, 700), 384)])
def test_a_map_that_all_windows_agree_on_comes_back(size: tuple[int, int], window: int) -> None:
    y, x = torch.meshgrid(*(torch.arange(float(side)) for side in size), indexing="ij")
    inside = ((y - size[0] / 2).hypot(x - size[1] / 2) < 0.35 * size[0]).float()
    truth = torch.stack([inside, 1 - inside])

    def score(asked: Window) -> Future[Tensor]:
        box = asked.box
        return done(truth[:, box.top : box.bottom, box.left : box.right])

    blend = Blend(size, window, 48, score)
    labels = np.zeros(size, np.uint8)
    for box, logits in blend.blocks():
        assert logits is not None
        labels[box.top : box.bottom, box.left : box.right] = blend.winners(box, logits).labels

    expected = truth.argmax(0).numpy()
    assert (labels == expected).mean() > 0.995
    centre, expected_centre = (np.argwhere(each == 0).mean(0) for each in (labels, expected))
    assert centre == pytest.approx(expected_centre, abs=0.2)  # pixels


def test_between_windows_that_disagree_probability_changes_gradually() -> None:
    def score(window: Window) -> Future[Tensor] | None:
        if window.shrink > 1:
            return None
        return done(of_left_share(0.9 if window.box.left == 0 else 0.1))

    width = 5 * 192  # too long to be seen whole
    blend = Blend((192, width), 192, 96, score)
    rows = [logits[0, MARGIN, MARGIN:-MARGIN].exp() for _, logits in blend.blocks() if logits is not None]

    across = torch.cat(rows)[: width // blend.step]
    assert across[0] == pytest.approx(0.9, abs=0.01)
    assert across[-1] == pytest.approx(0.1, abs=0.01)
    assert across.diff().abs().max() < 0.05


def test_where_there_is_no_picture_there_is_no_answer() -> None:
    blend = Blend((400, 400), 100, 20, lambda window: None)

    assert [logits for _, logits in blend.blocks()] == [None] * (blend.shape[0] * blend.shape[1])
