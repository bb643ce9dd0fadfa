"""What the suite asks every method: pictures and classes; fixtures of the model and what it can do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import Examples, Prompts, Proposing, Regions
from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextBank, Words
from lexiseg_model.types import ClassEntry, Point, Precision, Prompt

SIZE = (60, 100)  # (height, width) of every picture
CLASSES = (ClassEntry("red", ("crimson",)), ClassEntry("green"), ClassEntry("blue", ("navy", "sea")))
CLICK = Prompt((Point(70, 20),))
BOX = Prompt(box=(10.0, 8.0, 90.0, 50.0))
PAIR = Prompt((Point(70, 20), Point(5, 5, positive=False)))
COLOURS = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "a": (204, 153, 0)}


def blocks(letters: str = "rgba") -> NDArray[np.uint8]:
    """A picture [60, 100, 3]: four blocks of colours by their letters, row by row; other letters are black."""
    picture = np.zeros((*SIZE, 3), np.uint8)
    for letter, (rows, columns) in zip(letters, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        block = (slice(25) if rows == 0 else slice(25, None)), (slice(60) if columns == 0 else slice(60, None))
        picture[block] = COLOURS.get(letter, (0, 0, 0))
    return picture


def bank_of(words: Words, classes: tuple[ClassEntry, ...] = CLASSES) -> TextBank:
    """The bank of classes by the method's own text tower."""
    return words.text_bank(classes, words.encode_texts(words.texts(classes)))


def in_range(quality: Tensor) -> bool:
    """Whether all numbers are in 0..1."""
    return bool(((quality >= 0) & (quality <= 1)).all())


class Suite:
    """Base of all tests. A test that needs what the model cannot do is skipped."""

    @pytest.fixture
    def segmenter(self) -> Segmenter:
        """The model; a subclass overrides this."""
        raise NotImplementedError("override the fixture `segmenter`")

    @pytest.fixture
    def precision(self) -> Precision:
        """The precision that the model was loaded with."""
        return "fast"

    @pytest.fixture
    def features(self, segmenter: Segmenter) -> Features:
        """Features of `blocks()`."""
        return segmenter.encode(blocks())

    @pytest.fixture
    def bank(self, words: Words) -> TextBank:
        """The bank of `CLASSES`."""
        return bank_of(words)

    @pytest.fixture
    def words(self, segmenter: Segmenter) -> Words:
        """The model, as one with text classes."""
        if not isinstance(segmenter, Words):
            pytest.skip(f"{segmenter.card.name} has no text classes")
        return segmenter

    @pytest.fixture
    def prompts(self, segmenter: Segmenter) -> Prompts:
        """The model, as one that takes points and boxes."""
        if not isinstance(segmenter, Prompts):
            pytest.skip(f"{segmenter.card.name} takes no prompts")
        return segmenter

    @pytest.fixture
    def proposing(self, segmenter: Segmenter) -> Proposing:
        """The model, as one that proposes masks."""
        if not isinstance(segmenter, Proposing):
            pytest.skip(f"{segmenter.card.name} proposes no masks")
        return segmenter

    @pytest.fixture
    def regions(self, segmenter: Segmenter) -> Regions:
        """The model, as one that classifies masks."""
        if not isinstance(segmenter, Regions):
            pytest.skip(f"{segmenter.card.name} classifies no masks")
        return segmenter

    @pytest.fixture
    def examples(self, segmenter: Segmenter) -> Examples:
        """The model, as one that takes classes by example."""
        if not isinstance(segmenter, Examples):
            pytest.skip(f"{segmenter.card.name} takes no classes by example")
        return segmenter
