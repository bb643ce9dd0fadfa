"""Each model in each of its precisions, loaded once."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from lexiseg_model.features import Features
from lexiseg_model.segmenter import Segmenter, TextBank
from lexiseg_model.types import Precision
from tests.model.conformance.asking import bank_of, blocks
from tests.model.conformance.models import CASES, MODELS
from tests.once import kept


class Loaded(NamedTuple):
    segmenter: Segmenter
    precision: Precision
    features: Features  # of `blocks()`; shared, so nothing may change what is kept in them
    bank: TextBank  # of `CLASSES`; empty where a model has no words


@kept
def load(name: str, precision: Precision) -> Loaded:
    segmenter = MODELS[name].load(precision)
    bank = bank_of(segmenter) if MODELS[name].words else TextBank(torch.zeros(0, 1), np.zeros(0, np.int64), 0)
    return Loaded(segmenter, precision, segmenter.encode(blocks()), bank)


@pytest.fixture(scope="package", params=CASES, ids=str)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return load(request.param.name, request.param.precision)


@pytest.fixture
def segmenter(loaded: Loaded) -> Segmenter:
    return loaded.segmenter


@pytest.fixture
def features(loaded: Loaded) -> Features:
    return loaded.features


@pytest.fixture
def bank(loaded: Loaded) -> TextBank:
    return loaded.bank
