"""Invalid labelling configurations are refused early."""

from __future__ import annotations

import pytest

from lexiseg_service.adapters.label_studio import MAX_CHARACTERS, MAX_TAGS, control_of
from lexiseg_service.errors import InvalidValue


def with_labels(labels: str) -> str:
    brush = f'<BrushLabels name="mask" toName="image">{labels}</BrushLabels>'
    return f'<View><Image name="image" value="$image"/>{brush}</View>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected XML"),
        ("<View>", "expected XML"),
        ("\ud800", "expected XML"),
        (with_labels("\udfff"), "expected XML"),
        (with_labels("\x00"), "expected XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View/>', "expected tags alone"),
        ("<View/>", "expected one of BrushLabels"),
        (" " * (MAX_CHARACTERS + 1), "expected at most 262,144"),
        (with_labels("<Label/>" * MAX_TAGS), "expected at most 8,192"),
        ("<a>" * (MAX_TAGS // 2) + "</a>" * (MAX_TAGS // 2), "expected one of BrushLabels"),
    ],
)
def test_what_is_no_configuration_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said) as refused:
        control_of(text)
    assert len(refused.value.detail) < 300
