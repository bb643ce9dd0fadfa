"""The cache of text rows: encoded once, shared by models with one text tower, bounded in bytes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.texts import CHUNK, Encode, TextCache, TextCaches
from tests.model.stand_in import ColourSegmenter
from tests.waiting import SOON

WIDTH = 8


class Tower:
    """Rows that tell the text's length; `asked` holds every text that was encoded."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def encode(self, texts: list[str]) -> NDArray[np.float16]:
        self.entered.set()
        assert self.open.wait(SOON)
        self.asked += texts
        return np.array([[len(text)] * WIDTH for text in texts], np.float16)


def cache_of(encode: Encode) -> TextCache:
    return TextCaches(Settings(), Metrics()).space("tower", encode)


def test_concurrent_misses_of_a_text_encode_it_once() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)
    tower.open.clear()

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(cache.rows, ["sky", f"word {index}"]) for index in range(8)]
        assert tower.entered.wait(SOON)
        tower.open.set()
        rows = [lookup.rows_of(lookup.texts) for lookup in (answer.result(SOON) for answer in answers)]

    assert tower.asked.count("sky") == 1
    assert all(row[0, 0] == 3 for row in rows)


def test_chunks_of_an_abandoned_lookup_are_kept() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)
    texts = [f"word {index}" for index in range(3 * CHUNK)]

    with pytest.raises(DeadlineExceeded):
        cache.rows(texts, lambda: len(tower.asked) >= CHUNK)

    assert cache.rows(texts).misses == len(texts) - CHUNK
    assert len(tower.asked) == len(texts)


def colours(tower: str = "colours") -> ColourSegmenter:
    made = ColourSegmenter()
    made.text_digest = tower
    return made


def test_models_with_one_text_tower_share_its_rows() -> None:
    caches = TextCaches(Settings(), Metrics())
    one, other = colours(), colours()
    caches.cache_of(one).rows(["red", "sky"])

    assert caches.cache_of(other).rows(["sky", "sea"]).misses == 1
    assert (one.asked, other.asked) == (["red", "sky"], ["sea"])


def test_all_towers_together_keep_no_more_bytes_than_they_may() -> None:
    caches = TextCaches(Settings(), Metrics(), 1000)
    models = [colours(name) for name in ("one", "other", "third")]

    for index in range(10):
        for model in models:
            caches.cache_of(model).rows([f"word {index}"])

    assert 0 < caches.memory.weight <= 1000
    assert caches.cache_of(models[-1]).rows(["word 9"]).misses == 0
    assert caches.cache_of(models[0]).rows(["word 0"]).misses == 1


def test_a_text_is_new_to_each_key_and_tower_once() -> None:
    caches = TextCaches(Settings(), Metrics())
    tower, other = (caches.space(name, Tower().encode) for name in ("tower", "other"))
    tower.find(["sky", "sea"], "neighbour")

    assert tower.find(["sky", "tree"], "mine").misses == 2
    assert tower.find(["sky", "sea"], "mine").misses == 1
    assert other.find(["sky"], "mine").misses == 1
