"""The whole model of `dense-clip` over a CLIP of a few thousand weights."""

from __future__ import annotations

import torch

from lexiseg_model import catalogue
from lexiseg_model.device import Execution
from lexiseg_model.methods.dense_clip.segmenter import DenseClipSegmenter
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.dense_clip.stored import Parts
from lexiseg_model.types import InputSize, Precision
from tests.model.clip import small

SETTINGS = DenseClipSettings(
    architecture=small.ARCHITECTURE, pretrained=None, quick_gelu=False, window=32, stride=16, templates="tcl9"
)


def segmenter(precision: Precision = "exact") -> DenseClipSegmenter:
    """NACLIP's attention, windows of four by four patches."""
    card = catalogue.read_card(catalogue.bundled()["dense-clip"]).model_copy(
        update={
            "input": InputSize(short_side=48, long_side=160, multiple=small.PATCH),
            "settings": SETTINGS.model_dump(mode="json"),
            "embedding": 16,
        }
    )
    parts = Parts(small.towers(), None, "small")
    return DenseClipSegmenter(parts, SETTINGS, card, Execution(torch.device("cpu"), precision))
