from __future__ import annotations

import pytest

from lexiseg_model.types import Point, Prompt
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.prompts import check_inside

SIZE = (40, 60)  # height, width
INSIDE = Prompt((Point(30, 20),))


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt((Point(0, 0),)),
        Prompt((Point(60, 40),)),
        Prompt((Point(59.999, 0.001), Point(0, 40, positive=False))),
        Prompt(box=(0, 0, 60, 40)),
        Prompt((Point(1, 1),), (10.5, 0, 59.5, 39)),
    ],
)
def test_what_lies_inside_or_on_the_edge_is_taken(prompt: Prompt) -> None:
    check_inside([INSIDE, prompt], SIZE)


@pytest.mark.parametrize(
    ("prompt", "field", "limit"),
    [
        (Prompt((Point(60.01, 0),)), "prompts.1.points.0.x", "60"),
        (Prompt((Point(-0.01, 0),)), "prompts.1.points.0.x", "60"),
        (Prompt((Point(0, 0), Point(45, 45, positive=False))), "prompts.1.points.1.y", "40"),
        (Prompt((Point(0, -1e300),)), "prompts.1.points.0.y", "40"),
        (Prompt(box=(-1, 0, 60, 40)), "prompts.1.box", "60"),
        (Prompt(box=(0, -1, 60, 40)), "prompts.1.box", "40"),
        (Prompt(box=(0, 0, 61, 40)), "prompts.1.box", "60"),
        (Prompt((Point(0, 0),), (0, 0, 60, 41)), "prompts.1.box", "40"),
    ],
)
def test_what_lies_outside_is_refused_with_field_value_and_limit(prompt: Prompt, field: str, limit: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        check_inside([INSIDE, prompt], SIZE)

    (error,) = refused.value.extra["errors"]
    assert error["field"] == field
    assert limit in error["expected"]
    assert "inside the image" in refused.value.detail
