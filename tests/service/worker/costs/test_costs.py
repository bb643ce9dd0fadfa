"""What a request is expected to cost."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.tasks.prompts import CLOSE
from lexiseg_model.types import ClassEntry, Point, Prompt, Region, Task, Vocabulary
from lexiseg_service.question.examples import ExampleRegion
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.worker.costs.costs import DOUBT, Costs, missing_texts
from lexiseg_service.worker.costs.size import Size, size_of
from lexiseg_service.worker.costs.speed import Speed

PHOTOGRAPH = (480, 640)
MEGAPIXEL = (1000, 1000)
TWENTY_MEGAPIXELS = (3648, 5472)
CLICK = Prompt((Point(1.0, 1.0),))
SHOWN = ExampleRegion(Region(CLICK), "classes.0.examples.0")


def request(n_classes: int, n_synonyms: int = 0) -> WorkerRequest:
    classes = tuple(ClassEntry(f"c{n}", tuple(f"s{n}.{m}" for m in range(n_synonyms))) for n in range(n_classes))
    return WorkerRequest(b"", Vocabulary(classes), "colours")


@pytest.mark.parametrize(
    ("size", "n_classes", "n_synonyms", "large"),
    [
        (PHOTOGRAPH, 20, 0, False),
        (PHOTOGRAPH, 150, 0, False),
        ((1080, 1920), 20, 0, False),
        ((3000, 4000), 150, 0, True),
        ((4000, 5000), 5, 0, True),
        ((120, 160), 1203, 0, True),
        ((120, 160), 2048, 8, True),
    ],
)
def test_megapixels_and_long_lists_are_large(
    size: tuple[int, int], n_classes: int, n_synonyms: int, large: bool
) -> None:
    assert size_of(request(n_classes, n_synonyms), size, 0).large is large


def test_files_that_are_decoded_whole_cost_as_many_times_more() -> None:
    pixels = np.zeros((1200, 1600, 3), np.uint8)
    plain, png = (encoded(pixels, kind, False) for kind in ("JPEG", "PNG"))

    quick, other = (size_of(replace(request(5), image=file), (1200, 1600), 0, shortest=576) for file in (plain, png))

    assert (quick.large_image, other.large_image) == (False, True)
    assert size_of(replace(request(5), image=plain, overlay=True), (1200, 1600), 0).decode > 2 * quick.decode


def test_a_picture_sent_by_its_id_is_as_large_as_it_is() -> None:
    asked, pixels = replace(request(150), image=None, image_id="known"), (3000, 4000)

    plain, painted = (size_of(replace(asked, overlay=on), pixels, 0, kept=b"\xff\xd8") for on in (False, True))

    assert (plain.large, plain.large_image) == (True, False)  # nothing is decoded
    assert (painted.large, painted.large_image) == (True, True)


def encoded(pixels: NDArray[np.uint8], kind: str, progressive: bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, progressive=progressive)
    return file.getvalue()


def test_what_was_not_tried_is_large_where_it_may_be() -> None:
    assert size_of(replace(request(0), task="everything"), PHOTOGRAPH, 0).large
    assert size_of(replace(request(5), refine="regions"), PHOTOGRAPH, 0).large
    assert size_of(replace(request(5), refine="pamr"), PHOTOGRAPH, 0).large


def test_a_refinement_of_each_class_costs_more_the_more_there_are() -> None:
    speed = Speed(extra={"pamr": 20.0, "everything": 20.0}, words=20)
    few, many = (size_of(replace(request(n), refine="pamr"), PHOTOGRAPH, 0, speed) for n in (20, 150))

    assert many.extra == pytest.approx(7.5**0.75 * few.extra)
    assert (few.large, many.large) == (False, True)
    assert size_of(replace(request(150), task="everything"), PHOTOGRAPH, 0, speed).extra == 20


def test_examples_of_a_new_image_cost_what_prompts_share_too() -> None:
    slow = Speed(shared=48.0, prompt=16.0)
    shown, clicked = replace(request(0), regions=(SHOWN,)), replace(request(0), prompts=(CLICK,))

    assert size_of(shown, PHOTOGRAPH, 0, slow).extra == 64.0
    assert size_of(clicked, PHOTOGRAPH, 0, slow).extra == 0.0


def test_examples_leave_a_thread_to_who_asks_for_little() -> None:
    quick = Speed(shared=1.0, prompt=1.0)

    assert size_of(replace(request(0), regions=(SHOWN,)), PHOTOGRAPH, 0, quick).large
    assert not size_of(replace(request(0), prompts=(CLICK,)), PHOTOGRAPH, 0, quick).large


def test_a_picture_that_is_kept_of_an_example_costs_more_the_larger_its_file_is() -> None:
    shown = replace(request(0), regions=(SHOWN,))
    kept = replace(shown, keep_picture=True)
    small, large = (
        size_of(kept, size, 0).pictures - size_of(shown, size, 0).pictures for size in (PHOTOGRAPH, TWENTY_MEGAPIXELS)
    )

    assert 0 < small < large


def test_texts_cost_what_others_took_and_known_ones_nothing() -> None:
    costs = Costs()
    for _ in range(100):
        costs.learn(50, 0.5)

    assert costs.reading(Size(texts=200)) == pytest.approx(2.0, rel=0.01)
    assert costs.reading(Size(texts=0)) == 0


def test_the_least_that_texts_take_is_that_of_the_fastest_whole_chunk() -> None:
    costs = Costs()
    nobody_knows = costs.least(1000)
    for n_texts, seconds in ((64, 0.64), (64, 0.32), (64, 6.4), (1, 1e-9)):
        costs.learn(n_texts, seconds)

    assert nobody_knows == 0
    assert costs.least(1000) == pytest.approx(5.0)


def test_a_chunk_that_was_held_up_changes_little() -> None:
    costs, size = Costs(), Size(texts=100)
    before = costs.reading(size)

    costs.learn(50, 1000.0)

    assert costs.reading(size) < 1.5 * before


def test_a_model_costs_what_it_took_here() -> None:
    costs = Costs()
    costs.tried("slow", Speed(decode=2.0, image=3.0, finish=4.0, extra={"everything": 500.0}))
    size = size_of(request(5), MEGAPIXEL, 0, costs.speed_of("slow"))
    ordinary = size_of(request(5), MEGAPIXEL, 0)

    expected = 2 * ordinary.decode + 3 * ordinary.image + 4 * ordinary.finish + ordinary.speed.word * 5
    assert size.seconds == pytest.approx(1e-3 * expected)
    everything = size_of(replace(request(0), task="everything"), MEGAPIXEL, 0, costs.speed_of("slow"))
    assert everything.seconds > 0.5
    assert everything.large


def test_of_what_was_not_tried_nobody_knows_the_least() -> None:
    costs, size = Costs(), size_of(request(5), MEGAPIXEL, 0)
    costs.encoded("new", 1, 0.1)
    costs.finished("new", size, 0.1)

    assert costs.least_image("new", 10) == costs.least_finish("new", size) == 0


def test_the_least_is_what_was_tried_with_doubt_until_it_goes_faster() -> None:
    costs, size = Costs(), size_of(request(5), MEGAPIXEL, 0)
    costs.tried("new", Speed(image=2.0, tiles=2))
    first = costs.least_image("new", 10), costs.least_finish("new", size)
    for factor in (0.1, 1.0):
        costs.encoded("new", 4, 4 * factor * 0.03)
        costs.finished("new", size, factor * size.finish_seconds)

    assert first == pytest.approx((10 * DOUBT * 0.03, DOUBT * size.finish_seconds))
    assert costs.least_image("new", 10) == pytest.approx(0.03)
    assert costs.least_finish("new", size) == pytest.approx(0.1 * size.finish_seconds)


def test_more_pixels_and_more_classes_cost_more() -> None:
    few, many = size_of(request(5), MEGAPIXEL, 0), size_of(request(150), MEGAPIXEL, 0)

    assert few.seconds < many.seconds < size_of(request(150), (2500, 4000), 0).seconds


def test_of_a_short_list_every_text_is_looked_for() -> None:
    known = {"sky", "sea"}

    assert missing_texts(["sky", "road", "sea"], lambda texts: sum(text in known for text in texts)) == pytest.approx(1)


def test_of_a_long_list_some_texts_speak_for_all() -> None:
    looked_for: list[str] = []

    def known(texts: list[str]) -> int:
        looked_for.extend(texts)
        return sum(int(text) % 2 for text in texts)

    missing = missing_texts([str(n * n % 997) for n in range(10_000)], known)

    assert missing == pytest.approx(5_000, rel=0.3)
    assert len(looked_for) < 100


def test_no_texts_are_none_missing() -> None:
    assert missing_texts([], len) == 0


def test_small_boxes_cost_a_look_and_clicks_and_large_ones_none() -> None:
    small, large = Prompt(box=(10, 10, 60, 60)), Prompt(box=(0, 0, 600, 400))
    asked = replace(request(0), task="prompt", prompts=(small, Prompt((Point(5, 5),)), large, small))
    size = size_of(asked, PHOTOGRAPH, 0)

    assert size.looks == 2
    assert size.large
    more = size.seconds - size._replace(looks=0).seconds
    assert more == pytest.approx(2e-3 * size.speed.look)


def test_looks_have_a_bound_and_are_expected_where_nobody_knows_the_image() -> None:
    asked = replace(request(0), task="prompt", prompts=(Prompt(box=(0, 0, 600, 400)),) * 200)

    assert size_of(asked, PHOTOGRAPH, 0).looks == 0
    assert size_of(asked, (0, 0), 0).looks == CLOSE


def test_points_synonyms_and_pictures_are_counted() -> None:
    click = Prompt((Point(5, 5),))
    pointed = Prompt((Point(5, 5),) * 32)
    corrected = Prompt((Point(5, 5), Point(6, 6, positive=False)))
    one, many, two = (
        size_of(replace(request(0), prompts=(prompt,) * 256), PHOTOGRAPH, 0) for prompt in (click, pointed, corrected)
    )
    assert 1.5 * one.finish_seconds < many.finish_seconds < 2.5 * one.finish_seconds
    assert two.prompts == 2 * one.prompts  # each negative point is asked for by itself

    large = (3648, 5472)
    plain = size_of(request(150), large, 0).finish_seconds
    for asked in (replace(request(150), confidence=True), replace(request(150), mask="png")):
        assert size_of(asked, large, 0).finish_seconds > 1.5 * plain

    assert size_of(request(2048, 8), PHOTOGRAPH, 0).words == 5 * size_of(request(2048), PHOTOGRAPH, 0).words


def test_masks_of_prompts_are_refined_each_and_polygons_of_them_drawn() -> None:
    speed = Speed(extra={"pamr": 20.0}, words=40)
    plain = replace(request(0), task="prompt", prompts=(Prompt((Point(5, 5),)),) * 64)

    runs, refined, drawn = (
        size_of(asked, PHOTOGRAPH, 0, speed).seconds
        for asked in (plain, replace(plain, refine="pamr"), replace(plain, mask="polygon"))
    )

    assert refined - runs == pytest.approx(64 * 8 * 20e-3 / 40)
    assert drawn > 1.3 * runs


def test_an_overlay_is_as_large_as_it_is_painted() -> None:
    sizes = ((720, 1280), (4000, 1000), (7200, 12800))
    wide, high, huge = (size_of(replace(request(5), overlay=True), size, 0).pictures for size in sizes)

    assert huge == pytest.approx(wide)
    assert high > 4 * wide


def test_what_looks_at_each_class_looks_at_synonyms_and_at_pixels() -> None:
    speed = Speed(extra={"instance": 10.0}, pixels={"instance": 15.0}, word=0.1, words=20)

    def beyond(task: Task, n_synonyms: int = 0, size: tuple[int, int] = PHOTOGRAPH) -> float:
        return size_of(replace(request(20, n_synonyms), task=task), size, 0, speed).extra

    assert beyond("instance") == pytest.approx(10, abs=0.2)
    assert beyond("instance", 8) - beyond("instance") == pytest.approx(8.0)
    assert beyond("instance", 0, (4000, 5000)) == pytest.approx(10 + 15 * 19.7)
    assert beyond("semantic", 8, (4000, 5000)) == 0
