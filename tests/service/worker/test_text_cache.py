from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.worker.text_cache import Rows, TextCache

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


def test_rows_come_in_the_order_of_the_texts() -> None:
    cache = TextCache(Tower().encode, 10_000)
    cache.rows(["three"])

    rows = cache.rows(["a", "three", "of", "a"]).rows

    assert rows[:, 0].tolist() == [1, 5, 2, 1]


def test_a_known_text_is_not_encoded_again() -> None:
    tower = Tower()
    cache = TextCache(tower.encode, 10_000)
    cache.rows(["sky", "road"])

    found = cache.rows(["road", "sky", "tree"])

    assert (found.hits, found.misses) == (2, 1)
    assert tower.asked == ["sky", "road", "tree"]


def test_the_least_recently_used_text_goes_first() -> None:
    tower = Tower()
    one = TextCache(tower.encode, 10_000)
    one.rows(["a"])
    cache = TextCache(tower.encode, 2 * one.nbytes)
    cache.rows(["a", "b"])
    cache.rows(["a"])
    cache.rows(["c"])

    assert (cache.rows(["a"]).hits, cache.rows(["b"]).hits) == (1, 0)


@given(st.lists(st.lists(st.text(max_size=20), min_size=1, max_size=6), max_size=20), st.integers(0, 2_000))
def test_it_never_keeps_more_bytes_than_it_may(questions: list[list[str]], most: int) -> None:
    cache = TextCache(Tower().encode, most)

    for texts in questions:
        rows = cache.rows(texts).rows

        assert cache.nbytes <= most
        assert rows[:, 0].tolist() == [len(text) for text in texts]


def test_a_cache_of_no_bytes_still_answers() -> None:
    cache = TextCache(Tower().encode, 0)

    assert cache.rows(["sky"]).rows.shape == (1, WIDTH)


def test_a_text_that_many_miss_at_once_is_encoded_once() -> None:
    tower = Tower()
    cache = TextCache(tower.encode, 10_000)
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

    cache = TextCache(encode, 10_000)
    with pytest.raises(RuntimeError, match="no tower"):
        cache.rows(["sky"])

    assert cache.rows(["sky"]).misses == 1
