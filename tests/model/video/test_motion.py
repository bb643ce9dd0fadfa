from __future__ import annotations

import numpy as np
import pytest

from lexiseg_model.video.motion import MotionEstimator
from tests.model.video.scenes import WINDOW, noisy, window

INSIDE = (slice(16, -16), slice(16, -16))  # away from what came into view


def test_a_still_scene_comes_from_where_it_is_and_is_trusted() -> None:
    scene = window("china", 200, 150)

    motion = MotionEstimator().compare(noisy(scene, 1), noisy(scene, 2))

    rows, columns = np.mgrid[: WINDOW[0], : WINDOW[1]]
    away = np.hypot(motion.source[..., 0] - columns, motion.source[..., 1] - rows)
    assert np.median(away) < 0.3
    assert motion.trust.mean() > 0.8
    assert not motion.cut


@pytest.mark.parametrize(("x", "y"), [(5, 0), (0, -4), (7, 3)])
def test_a_camera_that_turns_is_found_out(x: int, y: int) -> None:
    motion = MotionEstimator().compare(window("china", 200, 150), window("china", 200 + x, 150 + y))

    rows, columns = np.mgrid[: WINDOW[0], : WINDOW[1]]
    assert np.median((motion.source[..., 0] - columns)[INSIDE]) == pytest.approx(x, abs=0.5)
    assert np.median((motion.source[..., 1] - rows)[INSIDE]) == pytest.approx(y, abs=0.5)
    assert not motion.cut


def test_what_comes_into_view_is_not_trusted() -> None:
    motion = MotionEstimator().compare(window("china", 200, 150), window("china", 212, 150))

    assert motion.trust[:, -8:].mean() < 0.3 < 0.8 < motion.trust[INSIDE].mean()


@pytest.mark.parametrize("other", ["flower", "astronaut", "chelsea", "coffee"])
def test_another_photograph_is_another_scene(other: str) -> None:
    assert MotionEstimator().compare(window("china"), window(other, 100, 80)).cut
