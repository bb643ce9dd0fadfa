from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from lexiseg_model.types import AnswerWarning, Ring
from lexiseg_service.gateway.rest.rendering import render_answer, rendered
from lexiseg_service.question.messages import MANY_BYTES
from lexiseg_service.question.schemas import SegmentAnswer, SegmentOutput
from tests.service.gateway.known_backend import answer


def test_an_answer_is_what_its_schema_says() -> None:
    rendered = render_answer(answer(), "id-1")

    read = SegmentAnswer.model_validate_json(rendered, strict=False)

    assert (read.id, read.size, read.segments[0].area, read.segments[0].bbox) == ("id-1", (4, 4), 8, (0, 0, 2, 4))


def test_an_answer_has_every_field_of_its_schema_and_no_other() -> None:
    rendered = json.loads(render_answer(answer(), "id-1"))

    assert set(rendered) == set(SegmentAnswer.model_fields) - {"confidence"}  # only where it is asked for
    assert set(rendered["segments"][0]) == set(SegmentOutput.model_fields)


def test_a_segment_of_a_prompt_says_which_mask_of_which_prompt_it_is() -> None:
    (first,) = answer().segments
    prompted = replace(first, label=None, class_index=None, prompt_index=0, mask_index=2, quality=0.87654321)

    segment = json.loads(render_answer(replace(answer(), segments=(prompted,)), "id-1"))["segments"][0]

    assert (segment["label"], segment["class_index"]) == (None, None)
    assert (segment["prompt_index"], segment["mask_index"], segment["quality"]) == (0, 2, 0.8765)


def test_a_segment_of_no_prompt_says_null() -> None:
    segment = json.loads(render_answer(answer(), "id-1"))["segments"][0]

    assert (segment["prompt_index"], segment["mask_index"], segment["quality"]) == (None, None, None)


@pytest.mark.parametrize("thing", [True, False, None])
def test_a_segment_says_whether_it_is_a_thing(thing: bool | None) -> None:
    (first,) = answer().segments

    said = json.loads(render_answer(replace(answer(), segments=(replace(first, is_thing=thing),)), "id-1"))

    assert said["segments"][0]["is_thing"] is thing


def test_a_mask_is_coco_run_lengths() -> None:
    rendered = json.loads(render_answer(answer(), "id-1"))

    assert rendered["segments"][0]["mask"] == {"format": "coco_rle", "size": [4, 4], "counts": "088"}


def test_without_masks_area_and_box_stay() -> None:
    segment = json.loads(render_answer(replace(answer(), mask="none"), "id-1"))["segments"][0]

    assert (segment["mask"], segment["area"], segment["bbox"]) == (None, 8, [0, 0, 2, 4])


def test_an_overlay_is_base64() -> None:
    rendered = json.loads(render_answer(answer(overlay=b"\x89PNG"), "id-1"))

    assert base64.b64decode(rendered["overlay"]) == b"\x89PNG"


def test_numbers_are_rounded_to_what_they_mean() -> None:
    rendered = json.loads(render_answer(answer(), "id-1"))

    assert rendered["segments"][0]["score"] == 0.9123
    assert rendered["timings_ms"]["decode"] == 1.23


def test_what_is_absent_and_what_is_doubtful_is_said() -> None:
    doubtful = AnswerWarning("unfamiliar-word", "a guess", "classes.1")

    rendered = json.loads(render_answer(replace(answer(), absent=("boat",), warnings=(doubtful,)), "id-1"))

    assert rendered["absent"] == ["boat"]
    assert rendered["warnings"] == [{"type": "unfamiliar-word", "detail": "a guess", "field": "classes.1"}]


async def test_large_masks_are_written_as_small_ones() -> None:
    (first,) = answer().segments
    many = tuple(replace(first, id=number) for number in range(1, 101))
    ring = Ring([1, 2, 3, 4] * (MANY_BYTES // 1000), [[1, 1, 2, 2, 3, 1]])
    drawn = replace(answer(), mask="polygon", segments=many, polygons=tuple([ring] for _ in many))
    runs = replace(first.mask, counts="0" * MANY_BYTES)
    painted = replace(answer(), segments=(replace(first, mask=runs),))

    for each in (drawn, painted):
        assert each.bytes_of_masks >= MANY_BYTES
        as_small_ones = render_answer(each, "id-1")
        assert await rendered(each, "id-1") == as_small_ones


async def test_of_large_polygons_nothing_is_left_for_the_event_loop_to_let_go() -> None:
    ring = Ring([1, 2, 3, 4] * MANY_BYTES, [])
    drawn = replace(answer(), mask="polygon", polygons=([ring],))

    await rendered(drawn, "id-1")

    assert drawn.polygons == ([],)


def test_masks_have_about_as_many_bytes_as_are_written() -> None:
    (first,) = answer().segments
    drawn = replace(answer(), mask="polygon", polygons=([Ring(list(range(1000, 3000)), [list(range(1000, 2000))])],))

    assert drawn.bytes_of_masks == pytest.approx(len(render_answer(drawn, "id-1")), rel=0.1)
    assert answer().bytes_of_masks == len(first.mask.counts)
    assert replace(answer(), mask="none").bytes_of_masks == 0
