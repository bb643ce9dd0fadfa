"""S-Seg+ with a few thousand random weights and four classes."""

import torch

from lexiseg_model.cards import BackgroundRule, InputSize, PanopticRule
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.methods.s_seg_plus.network import SSegPlusSettings, Student
from lexiseg_model.methods.s_seg_plus.segmenter import SSegPlusSegmenter
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import Precision

CLASSES = ("background", "red", "green", "blue")
NETWORK = SSegPlusSettings(
    backbone="test_vit", layers=(1, 2, 4, 5), drop_path=0.0, width=16, helper_width=8, dropout=0.0
)


def segmenter(precision: Precision = "exact") -> SSegPlusSegmenter:
    """On the CPU; its canvas has a short side of 64 pixels."""
    settings = NETWORK.model_copy(update={"classes": CLASSES})
    card = catalogue.read_card(catalogue.bundled()["s-seg"]).model_copy(
        update={
            "name": "s-seg-plus",
            "method": "s-seg-plus",
            "tasks": ["semantic"],
            "input": InputSize(short_side=64, long_side=160, multiple=32),
            "settings": settings.model_dump(mode="json"),
            "embedding": len(CLASSES),
            "panoptic": PanopticRule(),
            "background": BackgroundRule(words=[], same_meaning=1.0),
        }
    )
    torch.manual_seed(3)
    network = Student(settings).eval().requires_grad_(False)
    return SSegPlusSegmenter(network, settings, card, "small", Execution(torch.device("cpu"), precision))
