"""Sliding windows: mmsegmentation's grid, and the mean of overlapping scores."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_model.clip.windowed import as_kept, mean_of_windows, place_windows, windows_of
from lexiseg_model.features import Layout

Lengths = st.integers(1, 90)


def loop_of_mmsegmentation(height: int, width: int, crop: int, stride: int) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right) of every window, as its documentation describes the loop."""
    boxes = []
    for row in range(max(height - crop + stride - 1, 0) // stride + 1):
        for column in range(max(width - crop + stride - 1, 0) // stride + 1):
            bottom, right = min(row * stride + crop, height), min(column * stride + crop, width)
            boxes.append((max(bottom - crop, 0), max(right - crop, 0), bottom, right))
    return boxes


@given(Lengths, Lengths, Lengths, Lengths)
def test_windows_are_those_of_the_reference_loop(height: int, width: int, crop: int, stride: int) -> None:
    stride = min(stride, crop)

    layout = place_windows((height, width), crop, stride)

    boxes = [(top, left, top + layout.tile[0], left + layout.tile[1]) for top, left in layout.offsets]
    assert boxes == loop_of_mmsegmentation(height, width, crop, stride)


def test_cut_windows_merge_to_the_image_they_came_from() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 37, 53), np.uint8)
    layout = place_windows((37, 53), 16, 7)

    merged = mean_of_windows((torch.from_numpy(window).float() for window in windows_of(image, layout)), layout)

    np.testing.assert_allclose(merged.numpy(), image, atol=1e-3)


def test_scores_are_averaged_where_windows_overlap() -> None:
    layout = Layout((1, 3), (1, 2), ((0, 0), (0, 1)))
    scores = [torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[4.0, 8.0]]])]

    assert mean_of_windows(scores, layout).tolist() == [[[1, 3, 8]]]


def test_features_that_are_kept_are_copies_without_the_rest_of_a_view() -> None:
    (part,) = as_kept((torch.ones(2, 8)[:, 1:],), "exact")

    assert part.untyped_storage().nbytes() == part.nbytes
