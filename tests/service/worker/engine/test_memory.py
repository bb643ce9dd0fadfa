"""Features that an engine keeps of an image, and for which API key."""

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.pictures.colours import GUESSED_DEPTH
from lexiseg_service.errors import ImageExpired
from lexiseg_service.worker.job import AnyJob
from tests.model.stand_in import card, picture
from tests.model.tasks.asking import ALL
from tests.service.worker.engine.bench import Bench
from tests.service.worker.gated_colours import GatedColours, ask, halves
from tests.waiting import SOON, until


@pytest.fixture
def bench() -> Iterator[Bench]:
    segmenter = GatedColours()
    segmenter.card = card(tasks=ALL)
    made = Bench(segmenter, feature_cache_bytes=1 << 28)
    yield made
    made.close()


def test_features_are_those_of_the_key_that_sent_the_image(bench: Bench) -> None:
    owners = ["me", "you", "me", "you"]

    answers = [bench.submit(ask("red", owner=owner)).result(SOON) for owner in owners]

    assert [answer.cache.features for answer in answers] == [False, False, True, True]
    assert len(bench.segmenter.batches) == 2


def test_features_keep_no_memory_of_the_images_in_their_batch(bench: Bench) -> None:
    bench.segmenter.gate.clear()
    asked = [bench.submit(ask("red", owner="first"))]
    assert bench.segmenter.entered.acquire(timeout=SOON)
    asked += [bench.submit(ask("red", owner=owner)) for owner in ("me", "you")]
    bench.until_waiting(2)
    bench.release()
    for answer in asked:
        answer.result(SOON)

    assert bench.segmenter.batches == [1, 2]
    for _, remembered in bench.engine.feature_cache.items():
        for tensor in remembered.features.tensors.values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_an_image_is_known_by_its_id_to_the_key_that_sent_it_alone(bench: Bench) -> None:
    sent = bench.submit(ask("red", owner="me")).result(SOON)
    mine, yours = (replace(ask("blue", owner=owner), image=None, image_id=sent.image_id) for owner in ("me", "you"))

    assert bench.submit(mine).result(SOON).cache.features
    assert isinstance(bench.submit(yours).exception(SOON), ImageExpired)


def test_a_large_photograph_is_answered_at_its_own_size(bench: Bench) -> None:
    photograph = io.BytesIO()
    Image.fromarray(picture(["r" * 512 + "b" * 512] * 768)).save(photograph, "JPEG", quality=95)

    answer = bench.submit(ask("red", image=photograph.getvalue())).result(SOON)

    assert answer.size == (768, 1024)  # though it was decoded smaller: this model sees 32 pixels of the shorter side
    (segment,) = answer.segments
    assert segment.bbox[3] == 768
    assert abs(segment.bbox[2] - 512) <= 16


def test_work_cancelled_before_its_last_stage_is_not_finished(bench: Bench) -> None:
    finished: list[str] = []

    def render(job: AnyJob, *_: object) -> None:
        finished.append(job.image_id)

    bench.segmenter.reading.clear()  # the only finish thread waits for the text tower
    first = bench.submit(ask("red"))
    until(lambda: bench.segmenter.batches == [1])
    left = bench.submit(ask("red", image=halves("g", "b")), render)
    stays = bench.submit(ask("red", image=halves("b", "g")), render)
    until(lambda: sum(bench.segmenter.batches) == 3)
    left.cancel()
    bench.segmenter.reading.set()

    first.result(SOON), stays.result(SOON)
    assert len(finished) == 1


def test_a_guess_of_the_decoder_is_said_with_kept_features_too(bench: Bench) -> None:
    dim = io.BytesIO()
    Image.fromarray(np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)).save(dim, "PNG")
    question = replace(ask("red"), image=dim.getvalue())

    answers = [bench.submit(question).result(SOON) for _ in range(2)]

    assert [answer.cache.features for answer in answers] == [False, True]
    for answer in answers:
        assert [(warning.type, warning.field) for warning in answer.warnings] == [(GUESSED_DEPTH, "image")]
