"""Which models share text rows, and how much memory all of them take."""

from __future__ import annotations

import gc
import weakref

from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.texts.cache import TextCaches
from tests.model.stand_in import ColourSegmenter


def colours(tower: str = "colours") -> ColourSegmenter:
    made = ColourSegmenter()
    made.text_digest = tower
    return made


def test_models_with_one_text_tower_share_its_rows() -> None:
    caches = TextCaches(Settings(), Metrics())
    one, other = colours(), colours()
    caches.of(one).rows(["red", "sky"])

    found = caches.of(other).rows(["sky", "sea"])

    assert (found.hits, found.misses) == (1, 1)
    assert (one.asked, other.asked) == (["red", "sky"], ["sea"])


def test_models_with_two_text_towers_share_nothing() -> None:
    caches = TextCaches(Settings(), Metrics())
    caches.of(colours("one")).rows(["red"])

    assert caches.of(colours("other")).rows(["red"]).misses == 1


def test_all_towers_together_keep_no_more_bytes_than_they_may() -> None:
    caches = TextCaches(Settings(text_cache_bytes=1000), Metrics())
    models = [colours(name) for name in ("one", "other", "third")]

    for index in range(10):
        for model in models:
            caches.of(model).rows([f"word {index}"])

    assert 0 < caches.nbytes <= 1000
    assert caches.of(models[-1]).rows(["word 9"]).hits == 1
    assert caches.of(models[0]).rows(["word 0"]).misses == 1


def test_rows_outlive_the_model_that_encoded_them() -> None:
    caches = TextCaches(Settings(), Metrics())
    model = colours()
    caches.of(model).rows(["red"])
    gone = weakref.ref(model)

    del model
    gc.collect()

    assert gone() is None
    assert caches.of(colours()).rows(["red"]).hits == 1
