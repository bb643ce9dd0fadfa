"""Heads by the compiled kernel are those by numpy."""

import numpy as np

from lexiseg_model.kernel.library import Cells
from lexiseg_model.vocabulary import solving
from tests.kernel import both_ways


def small_cells(seed: int, n: int = 300, f: int = 21, k: int = 4, folds: int = 5) -> Cells:
    """Cells of three classes and of none; one class was not looked for in some, another is not shown."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, k + 1, n).astype(np.int32)
    labels[labels == 3] = k
    features = rng.normal(0, 1, (n, f)).astype(np.float32)
    features[np.arange(n), labels.clip(0)] += 2
    features[:, -1] = 1
    text = rng.normal(0, 8, (n, k)).astype(np.float32)
    fold = (np.arange(n) % folds).astype(np.int32)
    text[fold == 2, 1] = np.nan
    labels[(fold == 2) & (labels == 1)] = k
    shown = np.array([[5, 4, 5, 0], *[[4, 3, 4, 0]] * folds], np.int32)
    return Cells(features, labels, np.full(n, 0.1, np.float32), text, fold, shown, 1 / (1 + shown[0] / 3), 0.1)


def test_a_head_is_that_of_numpy() -> None:
    compiled, by_numpy = both_ways(lambda: solving.learn(small_cells(0)))

    assert compiled.directions.any()
    np.testing.assert_allclose(compiled.directions, by_numpy.directions, rtol=0, atol=2e-4)
    np.testing.assert_allclose(compiled.text, by_numpy.text, rtol=1e-6)
    np.testing.assert_allclose(compiled.iou, by_numpy.iou, rtol=1e-6)
