"""Answers, shared image passes and their failures."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_labels.answers import AnswerWarning
from lexiseg_model.features import TileFeatures
from lexiseg_model.vocabulary.dictionaries import Dictionary
from lexiseg_model.vocabulary.languages import Languages
from lexiseg_service.errors import DeadlineExceeded, NotReady, UndecodableImage
from lexiseg_service.worker.finish import TRANSLATED
from tests.model.vocabulary.test_languages import letters, write_dictionary
from tests.service.worker.engine.bench import Bench
from tests.service.worker.gated_colours import ask, halves
from tests.waiting import SOON, until


def test_requests_with_different_class_lists_share_an_image_pass(bench: Bench) -> None:
    bench.hold()
    answers = [bench.submit(ask(*classes)) for classes in (["red"], ["blue"], ["green", "red"])]
    bench.until_waiting(3)
    bench.release()

    labels = [[segment.label for segment in answer.result(SOON).segments] for answer in answers]

    assert labels == [["red"], ["blue"], ["red"]]
    assert bench.segmenter.batches == [1, 3]


def test_the_times_of_the_stages_are_within_the_total(bench: Bench) -> None:
    bench.segmenter.gate.clear()
    answer = bench.submit(ask("red"))
    assert bench.segmenter.entered.acquire(timeout=SOON)
    bench.segmenter.gate.wait(0.05)  # so that the image pass takes most of the total
    bench.release()

    times = answer.result(SOON).timings_ms

    parts = (times.decode, times.queue, times.text, times.image, times.post)
    assert min(parts) >= 0
    assert sum(parts) <= times.total + 1e-6


def test_images_of_another_shape_wait_for_their_own_pass(bench: Bench) -> None:
    bench.hold()
    answers = bench.line_up(*(ask("red", image=halves("r", "b", side)) for side in (16, 32, 16)))
    bench.release()

    assert [answer.result(SOON).size for answer in answers] == [(16, 16), (32, 32), (16, 16)]
    assert bench.segmenter.batches == [1, 2, 1]


def test_a_damaged_image_fails_its_own_request_alone(bench: Bench) -> None:
    bench.hold()
    good = [bench.submit(ask("red")), bench.submit(ask("blue"))]
    bad = bench.submit(ask("red", image=halves("r", "b")[:60]))
    bench.until_waiting(2)
    bench.release()

    assert isinstance(bad.exception(SOON), UndecodableImage)
    assert [len(answer.result(SOON).segments) for answer in good] == [1, 1]


def test_a_word_of_another_language_keeps_its_label_and_says_how_it_was_read(bench: Bench, tmp_path: Path) -> None:
    german = Dictionary(write_dictionary(tmp_path, "deu", {"Rot": "Rot /r/\nred\n"}))
    bench.engine.languages = Languages({"de": german}, frozenset(), ["chair"], letters)

    answer = bench.submit(ask("Rot", "blue")).result(SOON)

    assert [segment.label for segment in answer.segments] == ["Rot", "blue"]
    assert [warning for warning in answer.warnings if warning.type == TRANSLATED] == [
        AnswerWarning(TRANSLATED, "'Rot' was read as 'red': `language` en keeps it", "classes.0")
    ]


def test_after_an_image_pass_has_failed_the_next_request_is_served(bench: Bench) -> None:
    bench.segmenter.failures.append(RuntimeError("the device is gone"))

    failed = bench.submit(ask("red")).exception(SOON)
    answer = bench.submit(ask("red")).result(SOON)

    assert isinstance(failed, RuntimeError)
    assert len(answer.segments) == 1


def test_a_batch_that_does_not_fit_the_memory_is_halved(bench: Bench) -> None:
    bench.segmenter.most_tiles = 2
    bench.hold()
    answers = [bench.submit(ask("red")) for _ in range(4)]
    bench.until_waiting(4)
    bench.release()

    for answer in answers:
        assert len(answer.result(SOON).segments) == 1
    assert bench.segmenter.batches == [1, 4, 2, 2]


def test_an_image_that_does_not_fit_the_memory_fails_alone(bench: Bench) -> None:
    bench.segmenter.most_tiles = 0

    assert isinstance(bench.submit(ask("red")).exception(SOON), NotReady)
    bench.segmenter.most_tiles = 8
    assert len(bench.submit(ask("red")).result(SOON).segments) == 1


def test_work_that_expires_while_it_waits_is_dropped(bench: Bench) -> None:
    bench.hold()
    deadline = time.monotonic() + 0.5
    waiting = bench.submit(ask("red", deadline=deadline))
    until(lambda: time.monotonic() > deadline)
    bench.release()

    assert isinstance(waiting.exception(SOON), DeadlineExceeded)
    assert bench.segmenter.batches == [1]


def test_work_cancelled_while_its_batch_is_halved_costs_no_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.segmenter.most_tiles = 1
    bench.hold()
    stays, left = bench.line_up(ask("red"), ask("blue"))
    encode = bench.segmenter.encode_tiles

    def encode_and_leave(tiles: NDArray[np.uint8]) -> TileFeatures:
        if bench.segmenter.batches == [1, 2]:  # the first half is under way
            left.cancel()
        return encode(tiles)

    monkeypatch.setattr(bench.segmenter, "encode_tiles", encode_and_leave)
    bench.release()
    stays.result(SOON)
    bench.submit(ask("green")).result(SOON)

    assert bench.segmenter.batches == [1, 2, 1, 1]


def test_closing_answers_what_is_in_flight() -> None:
    bench = Bench()
    bench.hold()
    answer = bench.submit(ask("red"))
    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(bench.engine.close, SOON)
        bench.release()
        closing.result(SOON)

    assert answer.done()
    assert len(answer.result(0).segments) == 1


def test_closing_fails_what_it_has_no_time_for() -> None:
    bench = Bench()
    bench.hold()
    answers = [bench.submit(ask("red")) for _ in range(4)]
    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(bench.engine.close, 0.0)
        failures = [answer.exception(SOON) for answer in answers]
        bench.release()
        closing.result(SOON)

    assert [type(failure) for failure in failures] == [NotReady] * 4
