"""The method passes what every method passes."""

from pathlib import Path

import lexiseg_palette
import pytest
import torch
from lexiseg_palette.segmenter import load

from lexiseg_model import Execution, Segmenter, read_card
from lexiseg_model.testing import SegmenterTests

BUNDLED = Path(lexiseg_palette.__file__).parent / "bundled"


class TestPalette(SegmenterTests):
    @pytest.fixture
    def segmenter(self) -> Segmenter:
        return load(BUNDLED, read_card(BUNDLED), Execution(torch.device("cpu")))
