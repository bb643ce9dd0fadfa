from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.texts.cache import CHUNK, Encode, Rows, TextCache, TextCaches

WIDTH = 8


class Tower:
    """Rows that tell the text's length; `asked` holds every text that was encoded."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def encode(self, texts: list[str]) -> Rows:
        self.entered.set()
        assert self.open.wait(20)
        self.asked += texts
        return np.array([[len(text)] * WIDTH for text in texts], np.float16)


def cache_of(encode: Encode, n_bytes: int = 1_000_000) -> TextCache:
    return TextCaches(Settings(text_cache_bytes=n_bytes), Metrics()).beside("tower", encode)


def test_rows_come_in_the_order_of_the_texts() -> None:
    cache = cache_of(Tower().encode)
    cache.rows(["three"])

    rows = cache.rows(["a", "three", "of", "a"]).rows

    assert rows[:, 0].tolist() == [1, 5, 2, 1]


def test_a_known_text_is_not_encoded_again() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)
    cache.rows(["sky", "road"])

    found = cache.rows(["road", "sky", "tree"])

    assert (found.hits, found.misses) == (2, 1)
    assert tower.asked == ["sky", "road", "tree"]


@given(st.lists(st.lists(st.text(max_size=20), min_size=1, max_size=6), max_size=20), st.integers(0, 2_000))
def test_it_never_keeps_more_bytes_than_it_may(questions: list[list[str]], most: int) -> None:
    caches = TextCaches(Settings(text_cache_bytes=most), Metrics())
    cache = caches.beside("tower", Tower().encode)

    for texts in questions:
        rows = cache.rows(texts).rows

        assert caches.nbytes <= most
        assert rows[:, 0].tolist() == [len(text) for text in texts]


def test_a_cache_of_no_bytes_still_answers() -> None:
    cache = cache_of(Tower().encode, 0)

    assert cache.rows(["sky"]).rows.shape == (1, WIDTH)


def test_a_text_that_many_miss_at_once_is_encoded_once() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)
    tower.open.clear()

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(cache.rows, ["sky", f"word {index}"]) for index in range(8)]
        assert tower.entered.wait(20)
        tower.open.set()
        rows = [answer.result(20).rows for answer in answers]

    assert tower.asked.count("sky") == 1
    assert all(row[0, 0] == 3 for row in rows)


def test_a_failure_of_the_tower_is_not_kept() -> None:
    tower = Tower()
    failures = [RuntimeError("no tower")]

    def encode(texts: list[str]) -> Rows:
        if failures:
            raise failures.pop()
        return tower.encode(texts)

    cache = cache_of(encode)
    with pytest.raises(RuntimeError, match="no tower"):
        cache.rows(["sky"])

    assert cache.rows(["sky"]).misses == 1


def test_a_known_text_does_not_wait_for_the_encoding_of_others() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)
    cache.rows(["sky"])
    tower.entered.clear()
    tower.open.clear()

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(cache.rows, ["mountain"])
        assert tower.entered.wait(20)
        hits = cache.rows(["sky"]).hits
        tower.open.set()
        slow.result(20)

    assert hits == 1


def test_two_lookups_that_want_each_others_texts_both_end() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)
    questions = [[f"word {(index + shift) % 8}" for index in range(4)] for shift in range(8)]

    with ThreadPoolExecutor(8) as threads:
        lookups = [threads.submit(cache.rows, texts) for texts in questions for _ in range(20)]
        assert all(lookup.result(20).rows.shape == (4, WIDTH) for lookup in lookups)

    assert sorted(tower.asked) == sorted({text for texts in questions for text in texts})


def test_what_is_done_when_nobody_waits_any_more_is_kept() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)
    texts = [f"word {index}" for index in range(3 * CHUNK)]

    with pytest.raises(DeadlineExceeded):
        cache.rows(texts, lambda: len(tower.asked) >= CHUNK)

    assert cache.rows(texts).hits == CHUNK
    assert len(tower.asked) == len(texts)


def test_a_long_lookup_encodes_one_chunk_at_a_step() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)

    encoded = [len(tower.asked) for _ in cache.steps([f"word {index}" for index in range(3 * CHUNK)])]

    assert encoded == [CHUNK, 2 * CHUNK, 3 * CHUNK]


def test_a_text_far_down_a_long_list_does_not_wait_for_it_and_is_encoded_once() -> None:
    tower = Tower()
    cache = cache_of(tower.encode)
    long = cache.steps([*(f"word {index}" for index in range(2 * CHUNK)), "sky"])
    next(long)

    rows = cache.rows(["sky"]).rows

    assert rows[0, 0] == 3
    assert len(tower.asked) == CHUNK + 1
    for _ in long:
        pass
    assert len(tower.asked) == len(set(tower.asked)) == 2 * CHUNK + 1


def test_rows_may_be_written_to_without_a_change_in_the_cache() -> None:
    cache = cache_of(Tower().encode)
    cache.rows(["sky"]).rows[:] = 0

    assert cache.rows(["sky"]).rows[0, 0] == 3


def test_the_counts_tell_hits_and_misses_of_the_memory() -> None:
    metrics = Metrics()
    cache = TextCaches(Settings(), metrics).beside("tower", Tower().encode)
    cache.rows(["sky", "sky", "road"])
    cache.rows(["sky"])

    counted = [
        metrics.registry.get_sample_value("lexiseg_text_cache_total", {"tier": "l1", "result": result})
        for result in ("miss", "hit")
    ]
    assert counted == [2, 1]
