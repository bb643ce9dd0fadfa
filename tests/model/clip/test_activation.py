"""QuickGELU or GELU: decided by what is known, corrected aloud, refused where it contradicts."""

from __future__ import annotations

import logging

import pytest

from lexiseg_model.clip.activation import Evidence, decide
from lexiseg_model.errors import WeightsError

QUICK = Evidence(True, "a file that OpenAI published")
EXACT = Evidence(False, "pretrained tag laion2b_s34b_b88k")


@pytest.mark.parametrize(("explicit", "evidence"), [(False, QUICK), (True, EXACT)])
def test_a_setting_against_the_weights_is_refused(explicit: bool, evidence: Evidence) -> None:
    with pytest.raises(WeightsError, match=evidence.reason):
        decide("ViT-B-16", explicit, evidence, unmarked=False)


@pytest.mark.parametrize(("architecture", "evidence"), [("ViT-B-16", QUICK), ("ViT-B-16-quickgelu", EXACT)])
def test_a_name_against_the_weights_is_corrected_aloud(
    architecture: str, evidence: Evidence, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert decide(architecture, None, evidence, unmarked=False) is evidence.quick_gelu

    assert evidence.reason in caplog.text


@pytest.mark.parametrize("unmarked", [False, True])
def test_an_assumption_is_made_aloud(unmarked: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert decide("ViT-B-16", None, None, unmarked) is unmarked

    assert "is assumed" in caplog.text
