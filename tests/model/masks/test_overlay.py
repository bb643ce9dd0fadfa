"""Overlays: size, colours, outlines and labels."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_labels.pictures import FAINT, colour
from lexiseg_model.masks.overlay import MAX_WIDTH, OPACITY, paint
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.types import LabelMap, Segment


def gray(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 100, np.uint8)


def left_half(height: int, width: int) -> LabelMap:
    labels = np.zeros((height, width), np.uint8)
    labels[:, : width // 2] = 1
    return labels


def segment(label_map: LabelMap, index: int = 0, label: str | None = None) -> Segment:
    return Segment(1, label, index, 0.9, encode_mask(label_map == 1))


def mixed(index: int) -> NDArray[np.uint8]:
    """The colour of a class over `gray`."""
    return np.round(100 * (1 - OPACITY) + np.array(colour(index)) * OPACITY).astype(np.uint8)


def test_pixels_of_a_segment_take_half_the_colour_of_its_class() -> None:
    labels = left_half(40, 60)

    assert (paint(gray(40, 60), labels, (segment(labels, index=4),))[:, :29] == mixed(4)).all()


def test_a_doubtful_segment_is_fainter() -> None:
    labels = left_half(40, 60)

    painted = paint(gray(40, 60), labels, (replace(segment(labels, index=4), doubtful=True),))[0, 0]

    assert np.abs(painted - 100.0).sum() == pytest.approx(FAINT * np.abs(mixed(4)[:] - 100.0).sum(), abs=2)


def test_a_label_is_written_on_its_own_segment() -> None:
    labels = left_half(200, 400)

    with_text = paint(gray(200, 400), labels, (segment(labels, label="sky"),))

    changed = np.argwhere((with_text != paint(gray(200, 400), labels, (segment(labels),))).any(2))
    assert len(changed) > 50
    assert changed[:, 1].max() < 200


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_wide_photograph_shrinks_to_the_largest_width(dtype: type[np.unsignedinteger]) -> None:
    labels = left_half(300, 2 * MAX_WIDTH).astype(dtype)

    painted = paint(gray(300, 2 * MAX_WIDTH), labels, (segment(labels, index=2),))

    assert painted.shape == (150, MAX_WIDTH, 3)
    assert (painted[:, : MAX_WIDTH // 2 - 2] == mixed(2)).all()


def of_prompt(label_map: LabelMap, id_: int, prompt: int) -> Segment:
    return Segment(id_, None, None, 0.5, encode_mask(label_map == id_), prompt_index=prompt, mask_index=0)


def test_of_several_prompts_each_nameless_segment_carries_its_number() -> None:
    labels = left_half(200, 400)
    labels[:, 200:] = 2
    both = (of_prompt(labels, 1, 0), of_prompt(labels, 2, 1))

    painted = paint(gray(200, 400), labels, both)

    assert (painted[:, :198] != mixed(0)).any()  # a 0 on the left
    assert (painted[:, 202:] != mixed(1)).any()  # a 1 on the right
