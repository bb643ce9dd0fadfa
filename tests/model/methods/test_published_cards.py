"""Cards of the three papers against what was published, and what docs/training.md calls ours."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from lexiseg_model.cards import InputSize, StrictModel
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.masks.pamr import PamrSettings
from lexiseg_model.methods.dense_clip.settings import DenseClipSettings
from lexiseg_model.methods.s_seg.settings import SSegSettings
from lexiseg_model.methods.tcl.network import KP_SCALE, KP_THRESHOLD, TclSettings
from lexiseg_model.methods.unpair_seg.compatibility import QUALITY
from lexiseg_model.methods.unpair_seg.settings import UnpairSegSettings

STATED: dict[str, tuple[type[StrictModel], dict[str, Any]]] = {
    "tcl": (
        TclSettings,
        {
            "architecture": "ViT-B-16", "window": 448, "stride": 224, "templates": "tcl9", "kp_weight": 0.3,
            "background": 0.5, "background_pamr": 0.4,
        },
    ),
    "s-seg": (
        SSegSettings,
        {
            "backbone": "swin_small_patch4_window7_224", "n_queries": 64, "mask_width": 256, "decoder_layers": 6,
            "text_layers": 12, "text_width": 256, "embedding": 256, "projector_hidden": 4096,
            "pooling": "mean_then_project", "templates": "simple", "combination": "mean", "background": 0.95,
        },
    ),
    "unpair-seg": (
        UnpairSegSettings,
        {
            "architecture": "convnext_large_d_320", "padding": "square", "templates": "vild14", "logit_scale": None,
            "proposals": {
                "grid": 20, "points_per_pass": 100, "quality": 0.619, "rule": {"overlap": 0.5, "inside": 0.7},
            },
            "cleaning": {"stability": 0.92, "specks": 64},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATED)
@pytest.mark.parametrize("of_card", [True, False], ids=["card", "defaults"])
def test_settings_are_those_that_were_published_or_named_as_ours(name: str, of_card: bool) -> None:
    kind, stated = STATED[name]

    settings = settings_of(catalogue.find(name).card, kind) if of_card else kind()

    assert settings.model_dump(mode="json", include=set(stated)) == stated


def test_tcls_refinement_and_clips_own_masks_have_its_constants() -> None:
    assert PamrSettings() == PamrSettings(iterations=10, dilations=(1, 2, 4, 8, 12, 24))
    assert (KP_THRESHOLD, KP_SCALE) == (0.25, 10.0)


def test_unpair_seg_merges_segments_by_the_configurations_thresholds() -> None:
    panoptic = catalogue.find("unpair-seg").card.panoptic

    assert (panoptic.source, panoptic.score, panoptic.overlap) == ("proposals", 0.7, 0.4)


def test_unpair_segs_two_thresholds_of_quality_are_one() -> None:
    assert QUALITY == 0.65
    assert 1 / (1 + math.exp(-UnpairSegSettings().proposals.quality)) == pytest.approx(QUALITY, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        *((kind, {"window": 448, "stride": None}, "come together") for kind in (DenseClipSettings, SSegSettings)),
        *((kind, {"window": 224, "stride": 228}, "leaves gaps") for kind in (DenseClipSettings, SSegSettings)),
        *((kind, {"templates": "imagenet"}, "no template set") for kind in (DenseClipSettings, SSegSettings)),
        (DenseClipSettings, {"prob_thd": 1.5}, "prob_thd"),
        (DenseClipSettings, {"policy": "gem"}, "policy"),
        (DenseClipSettings, {"temperature": 1}, "temperature"),
        (InputSize, {"short_side": 8, "long_side": 64, "multiple": 1}, "short_side"),
    ],
)
def test_contradictory_settings_are_refused(kind: type[StrictModel], changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind.model_validate(changes)
