"""Rows of the sentence encoder do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lexiseg_model.methods.tiny.words import text_tower
from lexiseg_model.methods.tiny.words.text_tower import MiniLM


def test_a_row_does_not_depend_on_its_batch_or_on_threads(tower: MiniLM) -> None:
    words = [f"a photo of a {'big ' * (index % 6)}thing {index}." for index in range(text_tower.BATCH + 20)]
    threads = torch.get_num_threads()
    together = tower.encode(words)
    try:
        torch.set_num_threads(2)
        pieces = [tower.encode(words[start : start + 7]) for start in range(0, len(words), 7)]
        left_as_it_was = torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

    np.testing.assert_array_equal(np.concatenate(pieces), together)
    np.testing.assert_array_equal(tower.encode(words[::-1]), together[::-1])
    assert left_as_it_was


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [
        ("sofa", "couch", "zebra"),
        ("car", "automobile", "cloud"),
        ("bicycle", "bike", "soup"),
        ("television", "tv", "meadow"),
        ("airplane", "aircraft", "kitchen"),
    ],
)
def test_a_synonym_is_nearer_than_an_unrelated_word(tower: MiniLM, word: str, near: str, far: str) -> None:
    row, synonym, unrelated = tower.encode([word, near, far])

    assert row @ synonym > row @ unrelated + 0.2
