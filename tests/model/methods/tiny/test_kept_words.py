"""The memory of cached words is bounded and counted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.catalogue import load
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.words import familiar
from lexiseg_model.types import ClassEntry

LIST = 512  # classes of one, none of which comes in another
ROUND = 16  # lists after which everything that is kept was forgotten and filled again


def rows_of(texts: list[str]) -> NDArray[np.float16]:
    return np.random.default_rng(len(texts)).normal(size=(len(texts), 384)).astype(np.float16)


def strangers(number: int) -> tuple[ClassEntry, ...]:
    return tuple(ClassEntry(f"word {number} {place} that nobody asks for twice") for place in range(LIST))


def ask(segmenter: TinySegmenter, classes: tuple[ClassEntry, ...]) -> None:
    segmenter.text_bank(classes, rows_of(segmenter.texts(classes)))
    segmenter.unfamiliar(classes, rows_of)


@pytest.fixture
def fresh_tiny() -> TinySegmenter:
    segmenter = load("tiny", device="cpu")
    assert isinstance(segmenter, TinySegmenter)
    return segmenter


@pytest.fixture
def _few_familiar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(familiar, "MAX_KEPT", 2 * LIST)


@pytest.mark.usefixtures("_few_familiar")
def test_memory_of_ever_new_words_is_counted_and_bounded(fresh_tiny: TinySegmenter) -> None:
    before, weights = fresh_tiny.kept_bytes, []

    for number in range(3 * ROUND):
        ask(fresh_tiny, strangers(number))
        weights.append(fresh_tiny.kept_bytes - before)

    assert weights[0] > LIST * len("a photo of a word")
    assert max(weights[2 * ROUND :]) <= 1.01 * max(weights[ROUND : 2 * ROUND])
