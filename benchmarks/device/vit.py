"""`dense-clip` (ViT-B/16) with random weights and 448 x 448 windows."""

from __future__ import annotations

import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.clip.towers import ClipTowers, fresh_clip
from lexiseg_model.methods.dense_clip.segmenter import DenseClipSegmenter, Parts
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import Precision

SIDE = 448


def vit(device: torch.device, precision: Precision) -> DenseClipSegmenter:
    """Build NACLIP over ViT-B/16 with weights from a fixed seed."""
    card = catalogue.read_card(catalogue.bundled()["dense-clip"])
    update = {"window": SIDE, "stride": SIDE // 2, "pretrained": None}
    settings = settings_of(card, DenseClipSettings).model_copy(update=update)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = fresh_clip(settings.architecture, quick_gelu=True).eval().requires_grad_(False)
    towers = ClipTowers(model, settings.architecture, quick_gelu=True)
    return DenseClipSegmenter(Parts(towers, None, "random"), settings, card, Execution(device, precision))
