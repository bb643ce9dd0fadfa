"""What several tests of model/ share: the bundled model, real photographs, the text tower."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import lexiseg_model.clip  # noqa: F401  declares what open_clip and timm need, before a test module imports them first
from lexiseg_model.catalogue.models import load
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.words.text_tower import MiniLM, load_text_tower
from tests import pictures

Photographs = dict[str, NDArray[np.uint8]]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Each test, with what is made for it first, draws the same numbers whatever was drawn before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny() -> TinySegmenter:
    segmenter = load("tiny", device="cpu")
    assert isinstance(segmenter, TinySegmenter)
    return segmenter


@pytest.fixture(scope="session")
def tower() -> MiniLM:
    return load_text_tower()


@pytest.fixture(scope="session")
def photographs() -> Photographs:
    """Six photographs by name, [H, W, 3]: a temple by a lake, a flower, a cat's face, a cup, a woman, a rocket."""
    names = ("china", "flower", "chelsea", "coffee", "astronaut", "rocket")
    return {name: np.array(pictures.photograph(name)) for name in names}
