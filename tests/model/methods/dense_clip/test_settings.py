"""The published settings as data."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lexiseg_model.methods.dense_clip.settings import DenseClipSettings, published_policy


def test_settings_of_naclip_are_the_published_ones() -> None:
    default, voc21, cityscapes = (published_policy("naclip", dataset) for dataset in (None, "voc21", "cityscapes"))

    assert (default.short_side, default.settings.window, default.settings.stride) == (336, 224, 112)
    assert (default.settings.pamr_iterations, default.settings.pamr_dilations) == (10, (8, 16))
    assert default.settings.positions == "scale_factor"
    assert default.settings.normalisation == "clip_rounded"
    assert (voc21.settings.window, voc21.settings.prob_thd) == (None, 0.1)
    assert len(voc21.background_words) == 26
    assert (cityscapes.short_side, cityscapes.settings.prob_thd) == (560, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": None}, "come together"),
        ({"window": 224, "stride": 225}, "leaves gaps"),
        ({"templates": "imagenet"}, "no template set"),
        ({"prob_thd": 1.5}, "prob_thd"),
        ({"temperature": 1}, "temperature"),
        ({"policy": "gem"}, "policy"),
    ],
)
def test_contradictory_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DenseClipSettings.model_validate(changes)
