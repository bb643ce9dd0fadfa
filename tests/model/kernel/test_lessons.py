"""What pictures teach is the same by the compiled kernel and by numpy."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.errors import StoppedError
from lexiseg_model.kernel import teach
from lexiseg_model.methods.tiny import teaching
from lexiseg_model.methods.tiny.network import DECODER
from lexiseg_model.vocabulary import solving
from lexiseg_model.vocabulary.heads import PIXELS, UNKNOWN, Lesson
from tests.kernel import both_ways, require_kernel

CLASSES = ("mug", "plate", "spoon", "fork")
Picture = tuple[NDArray[np.int16], NDArray[np.float16], NDArray[np.float16], NDArray[np.float32], int]


def small_lessons(n_lessons: int, n: int = 60, f: int = 21) -> list[Lesson]:
    """Lessons of three classes and of none; one class was not looked for in the second, another is nowhere shown."""
    rng = np.random.default_rng(n_lessons)
    lessons = []
    for number in range(n_lessons):
        classes = CLASSES[:1] + CLASSES[2:3] if number == 1 else (*CLASSES[:3], "cup")
        labels = rng.integers(0, len(classes) + 1, n).astype(np.int16)
        features = rng.normal(0, 1, (n, f))
        features[np.arange(n), labels] += 2
        features[:, 5] += 3 * (number // 2)  # two are alike
        features[:, -1] = 1
        text = rng.normal(0, 8, (n, len(classes))).astype(np.float16)
        text[:, 0] = -8  # words do not know it
        shares = np.full(n, 1 / n, np.float32)
        pixels = rng.multinomial(PIXELS, [1 / (1 + len(classes))] * (1 + len(classes)), n).astype(np.uint8)
        pixels = pixels // 2 + PIXELS // 2 * (labels[:, None] == np.arange(1 + len(classes))).astype(np.uint8)
        cells = features.astype(np.float16)
        lessons.append(Lesson("weights", classes, cells, labels, shares, text, pixels=pixels if number else None))
    return lessons


@pytest.mark.parametrize("has_everyday", [False, True])
@pytest.mark.parametrize(("n_lessons", "n_detail"), [(1, 0), (5, 0), (5, 9), (23, 0)])
def test_a_head_is_that_of_numpy(n_lessons: int, n_detail: int, has_everyday: bool) -> None:
    *lessons, last = small_lessons(n_lessons + 1)
    everyday = last if has_everyday else None
    compiled, by_numpy = both_ways(lambda: solving.learn(lessons, CLASSES, None, everyday, n_detail))

    assert compiled.directions.any()
    np.testing.assert_allclose(compiled.directions, by_numpy.directions, rtol=0, atol=2e-4)
    np.testing.assert_allclose(compiled.text, by_numpy.text, rtol=1e-6)
    np.testing.assert_allclose(compiled.iou, by_numpy.iou, rtol=1e-6)
    np.testing.assert_array_equal(compiled.counts, by_numpy.counts)
    np.testing.assert_allclose(compiled.places, by_numpy.places, rtol=1e-5)
    np.testing.assert_allclose(compiled.reported, by_numpy.reported, rtol=1e-6)


def small_picture(size: tuple[int, int], grid: tuple[int, int]) -> Picture:
    """Inputs of `teach.lesson`: a random picture of four classes, of which one is smaller than a cell."""
    rng = np.random.default_rng(0)
    height, width = size
    blocks = np.kron(rng.integers(UNKNOWN, 3, (5, 4)), np.ones((height // 5 + 1, width // 4 + 1)))[:height, :width]
    labels = blocks.astype(np.int16)
    labels[:2, :2] = 3
    decoded = rng.normal(0, 9, (DECODER, *grid)).astype(np.float16)
    middle = rng.normal(0, 0.01, (teaching.SIZE - DECODER - 1, grid[0] // 4, grid[1] // 4)).astype(np.float16)
    return labels, decoded, middle, rng.normal(0, 60, (4, *grid)).astype(np.float32), 100


@pytest.mark.parametrize(("size", "grid"), [((61, 47), (16, 12)), ((500, 375), (96, 72)), ((24, 200), (8, 64))])
def test_a_lesson_is_that_of_numpy(size: tuple[int, int], grid: tuple[int, int]) -> None:
    require_kernel()
    given = small_picture(size, grid)

    compiled, by_numpy = teach.lesson(*given), teaching.sampled(*given)

    assert set(compiled.labels.tolist()) == {0, 1, 2, 3}
    assert compiled.shares.sum() == pytest.approx(1, abs=1e-4)
    for name in ("labels", "shares", "text"):
        np.testing.assert_array_equal(getattr(compiled, name), getattr(by_numpy, name))
    np.testing.assert_allclose(compiled.cells, by_numpy.cells, rtol=1e-6, atol=1e-8)


def test_a_solve_that_another_thread_stops_ends_without_a_head() -> None:
    stopped = np.ones(1, np.int32)

    def ends() -> bool:
        with pytest.raises(StoppedError):
            solving.learn(small_lessons(5), CLASSES, stopped)
        return True

    assert both_ways(ends) == (True, True)


@pytest.mark.parametrize(("n_lessons", "least"), [(2, 8e6), (50, 7e8)])
def test_work_grows_with_the_square_of_the_width_and_with_patterns(n_lessons: int, least: float) -> None:
    """What a solve costs is counted before it begins."""
    narrow, wide = (solving.work_of(small_lessons(n_lessons, f=f), CLASSES) for f in (100, 1000))

    assert narrow > 0
    assert 50 * narrow < wide < 1000 * narrow
    assert wide > least
