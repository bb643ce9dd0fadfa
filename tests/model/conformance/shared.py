"""The fixtures of the suite, from models that are loaded once."""

import pytest

from lexiseg_model import Features, Segmenter, TextBank
from lexiseg_model.testing.suite import Suite
from lexiseg_model.types import Precision
from tests.model.conformance.conftest import Loaded


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
