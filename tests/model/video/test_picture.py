from __future__ import annotations

import cv2
import numpy as np
import pytest

from lexiseg_model.features import Plan
from lexiseg_model.masks.windows import cut, place_windows
from lexiseg_model.video.picture import small_picture
from tests.model.video.scenes import plan_of, window


@pytest.mark.parametrize("crop", [96, 128])
def test_overlapping_tiles_show_what_the_whole_frame_shows(crop: int) -> None:
    frame = np.asarray(cv2.resize(window("china"), (512, 288), interpolation=cv2.INTER_CUBIC), np.uint8)
    layout = place_windows((288, 512), crop, 64)
    tiled = Plan((288, 512), cut(frame.transpose(2, 0, 1), layout), layout)

    together, whole = small_picture(tiled).astype(int), small_picture(plan_of(frame)).astype(int)

    assert together.shape == whole.shape
    assert np.abs(together - whole).max() <= 2
