"""The method passes what every method passes, over a CLIP of random weights."""

from functools import cache
from pathlib import Path

import lexiseg_maskclip
import pytest
import torch
from lexiseg_maskclip.segmenter import MaskClipTower, Settings

from lexiseg_model import Execution, PatchTextSegmenter, Segmenter, TextTower, clip_from_state, fresh_clip, read_card
from lexiseg_model.testing import SegmenterTests

MINI = "lexiseg-mini-16"


@cache
def segmenter() -> PatchTextSegmenter:
    """Windows of two by two patches."""
    torch.manual_seed(0)
    own = read_card(Path(lexiseg_maskclip.__file__).parent / "bundled")
    towers = clip_from_state(MINI, fresh_clip(MINI, quick_gelu=True).state_dict(), quick_gelu=True)
    settings = Settings(architecture=MINI, templates="tcl9", window=32, stride=16)
    sides = own.input.model_copy(update={"short_side": 48, "long_side": 160})
    card = own.model_copy(update={"embedding": 128, "input": sides, "settings": settings.model_dump()})
    execution = Execution(torch.device("cpu"))
    return PatchTextSegmenter(MaskClipTower(towers.visual), TextTower(towers), settings, card, "random", execution)


class TestMaskClip(SegmenterTests):
    @pytest.fixture
    def segmenter(self) -> Segmenter:
        return segmenter()
