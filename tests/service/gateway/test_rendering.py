from __future__ import annotations

import base64
import json

from service.gateway.rendering import render_answer
from service.gateway.schemas import SegmentAnswer, SegmentOutput
from tests.service.gateway.known_backend import answer


def test_an_answer_is_what_its_schema_says() -> None:
    rendered = render_answer(answer(), "id-1", "rle")

    read = SegmentAnswer.model_validate_json(rendered, strict=False)

    assert (read.id, read.size, read.segments[0].area, read.segments[0].bbox) == ("id-1", (4, 4), 8, (0, 0, 2, 4))


def test_an_answer_has_every_field_of_its_schema_and_no_other() -> None:
    rendered = json.loads(render_answer(answer(), "id-1", "rle"))

    assert set(rendered) == set(SegmentAnswer.model_fields) - {"confidence"}  # only where it is asked for
    assert set(rendered["segments"][0]) == set(SegmentOutput.model_fields)


def test_a_mask_is_coco_run_lengths() -> None:
    rendered = json.loads(render_answer(answer(), "id-1", "rle"))

    assert rendered["segments"][0]["mask"] == {"format": "coco_rle", "size": [4, 4], "counts": "088"}


def test_without_masks_area_and_box_stay() -> None:
    segment = json.loads(render_answer(answer(), "id-1", "none"))["segments"][0]

    assert (segment["mask"], segment["area"], segment["bbox"]) == (None, 8, [0, 0, 2, 4])


def test_an_overlay_is_base64() -> None:
    rendered = json.loads(render_answer(answer(overlay=b"\x89PNG"), "id-1", "rle"))

    assert base64.b64decode(rendered["overlay"]) == b"\x89PNG"


def test_numbers_are_rounded_to_what_they_mean() -> None:
    rendered = json.loads(render_answer(answer(), "id-1", "rle"))

    assert rendered["segments"][0]["score"] == 0.9123
    assert rendered["timings_ms"]["decode"] == 1.23
