"""Each model in each of its precisions that a test asks, loaded once, and the fixtures of the suite from it."""

from typing import NamedTuple

import pytest

from lexiseg_model import Features, Segmenter, TextBank, Words
from lexiseg_model.testing.suite import Suite, bank_of, blocks
from lexiseg_model.types import Precision
from tests.model.conformance.models import FAST, MODELS
from tests.once import kept


class Loaded(NamedTuple):
    segmenter: Segmenter
    precision: Precision
    features: Features  # of `blocks()`; shared, so nothing may change what is kept in them
    bank: TextBank | None  # of `CLASSES`; None where a model has no words


@kept
def load(name: str, precision: Precision) -> Loaded:
    segmenter = MODELS[name].load(precision)
    bank = bank_of(segmenter) if isinstance(segmenter, Words) else None
    return Loaded(segmenter, precision, segmenter.encode(blocks()), bank)


@pytest.fixture(scope="package", params=FAST, ids=str)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return load(request.param.name, request.param.precision)


class Shared(Suite):
    @pytest.fixture
    def segmenter(self, loaded: Loaded) -> Segmenter:
        return loaded.segmenter

    @pytest.fixture
    def precision(self, loaded: Loaded) -> Precision:
        return loaded.precision

    @pytest.fixture
    def features(self, loaded: Loaded) -> Features:
        return loaded.features

    @pytest.fixture
    def bank(self, loaded: Loaded) -> TextBank:
        assert loaded.bank is not None
        return loaded.bank
