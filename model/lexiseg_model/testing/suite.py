"""Fixtures of the suite: the model, its features of one picture, its bank, and what it can do."""

from __future__ import annotations

import pytest

from lexiseg_model.features import Features
from lexiseg_model.segmenter import Examples, Prompts, Proposing, Regions, Segmenter, TextBank, Words
from lexiseg_model.testing.questions import bank_of, blocks
from lexiseg_model.types import Precision


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
