"""What is made of a text that was asked for before is that of its row, whoever it is asked with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.kernel import cell_scores
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.words.known_texts import MOST, KnownTexts, Made, projecting

Rows = NDArray[np.float16]


class Doubling:
    """Makes twice a row, and its sum; `rows` counts of how many."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, rows: Rows) -> Made:
        self.rows += len(rows)
        return 2 * rows.astype(np.float32), rows.astype(np.float32).sum(1)


def rows_of(*numbers: int) -> Rows:
    return np.array([[number, 1] for number in numbers], np.float16)


def test_a_known_text_is_not_made_again() -> None:
    make = Doubling()
    known = KnownTexts(make)
    known.of(["dog", "cat"], rows_of(1, 2))

    vectors, levels = known.of(["cat", "horse", "dog"], rows_of(2, 3, 1))

    assert make.rows == 3
    assert vectors.tolist() == [[4, 2], [6, 2], [2, 2]]
    assert levels.tolist() == [3, 4, 2]


def test_a_text_with_another_row_is_made_anew() -> None:
    known = KnownTexts(Doubling())
    known.of(["dog", "cat"], rows_of(1, 2))

    assert known.of(["dog", "cat"], rows_of(5, 2))[0].tolist() == [[10, 2], [4, 2]]
    assert known.of(["dog"], rows_of(5))[0].tolist() == [[10, 2]]


def test_a_text_that_comes_twice_with_two_rows_has_both() -> None:
    assert KnownTexts(Doubling()).of(["dog", "dog"], rows_of(1, 2))[0].tolist() == [[2, 2], [4, 2]]


def test_more_than_are_kept_are_made_all_the_same() -> None:
    make = Doubling()
    known = KnownTexts(make)
    texts = [f"text {number}" for number in range(2 * MOST)]
    rows = rows_of(*range(2 * MOST))

    whole = known.of(texts, rows)[0]
    parts = [known.of(texts[at : at + 100], rows[at : at + 100])[0] for at in range(0, 2 * MOST, 100)]
    made = make.rows
    known.of(texts[-90:], rows[-90:])

    assert np.array_equal(np.concatenate(parts), whole)
    assert make.rows == made  # the latest are kept
    known.of(texts[:90], rows[:90])
    assert make.rows == made + 90


def test_a_row_is_projected_alike_in_any_company() -> None:
    if not cell_scores.fit(384):
        pytest.skip("this processor leaves products to torch")
    torch.manual_seed(0)
    network = TinyNetwork().eval()
    network.text_level.normal_()
    rows = np.random.default_rng(0).normal(size=(37, 384)).astype(np.float16)
    project = projecting(network)

    vectors, levels = project(rows)

    for at in (0, 5, 36):
        alone = project(rows[at : at + 1])
        assert np.array_equal(alone[0][0], vectors[at])
        assert alone[1][0] == levels[at]
    with torch.no_grad():
        there = torch.from_numpy(rows)
        np.testing.assert_allclose(vectors, network.project_texts(there), rtol=0, atol=1e-6)
        np.testing.assert_allclose(levels, network.levels_of(there), rtol=0, atol=1e-5)
