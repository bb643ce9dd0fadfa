from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexiseg_service.errors import DeadlineExceeded
from lexiseg_service.worker.texts.cache import CHUNK, Rows, TextCache, Tiers
from lexiseg_service.worker.texts.tiers import Count, MemoryRows, TextRows

ROOT = Path(__file__).resolve().parents[4]
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


def cache_of(
    encode: Callable[[list[str]], Rows], memory: MemoryRows | int, count: Count = lambda *what: None
) -> TextCache:
    kept = MemoryRows(memory) if isinstance(memory, int) else memory
    return TextCache(encode, Tiers("tower", kept, count=count))


def test_rows_come_in_the_order_of_the_texts() -> None:
    cache = cache_of(Tower().encode, 10_000)
    cache.rows(["three"])

    rows = cache.rows(["a", "three", "of", "a"]).rows

    assert rows[:, 0].tolist() == [1, 5, 2, 1]


def test_a_known_text_is_not_encoded_again() -> None:
    tower = Tower()
    cache = cache_of(tower.encode, 10_000)
    cache.rows(["sky", "road"])

    found = cache.rows(["road", "sky", "tree"])

    assert (found.hits, found.misses) == (2, 1)
    assert tower.asked == ["sky", "road", "tree"]


def test_the_least_recently_used_text_goes_first() -> None:
    tower = Tower()
    one = MemoryRows(10_000)
    cache_of(tower.encode, one).rows(["a"])
    cache = cache_of(tower.encode, 2 * one.nbytes)
    cache.rows(["a", "b"])
    cache.rows(["a"])
    cache.rows(["c"])

    assert (cache.rows(["a"]).hits, cache.rows(["b"]).hits) == (1, 0)


class Interrupted(MemoryRows):
    """Something happens once, right after rows were looked for."""

    meanwhile: Callable[[], object] | None = None

    def find(self, tower: str, texts: Iterable[str]) -> TextRows:
        known = super().find(tower, texts)
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return known


def test_a_text_that_another_lookup_got_in_between_is_not_encoded_again() -> None:
    tower, memory = Tower(), Interrupted(10_000)
    cache = cache_of(tower.encode, memory)
    memory.meanwhile = lambda: cache.rows(["sky"])

    cache.rows(["sky", "sea"])

    assert tower.asked == ["sky", "sea"]


@given(st.lists(st.lists(st.text(max_size=20), min_size=1, max_size=6), max_size=20), st.integers(0, 2_000))
def test_it_never_keeps_more_bytes_than_it_may(questions: list[list[str]], most: int) -> None:
    memory = MemoryRows(most)
    cache = cache_of(Tower().encode, memory)

    for texts in questions:
        rows = cache.rows(texts).rows

        assert memory.nbytes <= most
        assert rows[:, 0].tolist() == [len(text) for text in texts]


def test_a_cache_of_no_bytes_still_answers() -> None:
    cache = cache_of(Tower().encode, 0)

    assert cache.rows(["sky"]).rows.shape == (1, WIDTH)


def test_a_text_that_many_miss_at_once_is_encoded_once() -> None:
    tower = Tower()
    cache = cache_of(tower.encode, 10_000)
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

    cache = cache_of(encode, 10_000)
    with pytest.raises(RuntimeError, match="no tower"):
        cache.rows(["sky"])

    assert cache.rows(["sky"]).misses == 1


def test_a_known_text_does_not_wait_for_the_encoding_of_others() -> None:
    tower = Tower()
    cache = cache_of(tower.encode, 10_000)
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
    cache = cache_of(tower.encode, 10_000)
    questions = [[f"word {(index + shift) % 8}" for index in range(4)] for shift in range(8)]

    with ThreadPoolExecutor(8) as threads:
        lookups = [threads.submit(cache.rows, texts) for texts in questions for _ in range(20)]
        assert all(lookup.result(20).rows.shape == (4, WIDTH) for lookup in lookups)

    assert sorted(tower.asked) == sorted({text for texts in questions for text in texts})


def test_what_is_done_when_nobody_waits_any_more_is_kept() -> None:
    tower = Tower()
    cache = cache_of(tower.encode, 1_000_000)
    texts = [f"word {index}" for index in range(3 * CHUNK)]

    with pytest.raises(DeadlineExceeded):
        cache.rows(texts, lambda: len(tower.asked) >= CHUNK)

    assert cache.rows(texts).hits == CHUNK
    assert len(tower.asked) == len(texts)


def test_a_lookup_goes_on_where_the_one_it_waited_for_was_given_up() -> None:
    tower = Tower()
    cache = cache_of(tower.encode, 1_000_000)
    texts = [f"word {index}" for index in range(2 * CHUNK)]
    tower.open.clear()

    with ThreadPoolExecutor(2) as threads:
        given_up = threads.submit(cache.rows, texts, lambda: len(tower.asked) >= CHUNK)
        assert tower.entered.wait(20)
        patient = threads.submit(cache.rows, texts)
        tower.open.set()
        with pytest.raises(DeadlineExceeded):
            given_up.result(20)
        rows = patient.result(20).rows

    assert rows[:, 0].tolist() == [len(text) for text in texts]
    assert len(tower.asked) == len(texts)


def test_a_long_lookup_encodes_one_chunk_at_a_step() -> None:
    tower = Tower()
    cache = cache_of(tower.encode, 1_000_000)

    encoded = [len(tower.asked) for _ in cache.steps([f"word {index}" for index in range(3 * CHUNK)])]

    assert encoded == [CHUNK, 2 * CHUNK, 3 * CHUNK]


def test_a_word_far_down_in_a_list_comes_when_another_wants_it_and_is_encoded_once() -> None:
    tower = Tower()
    tiers = Tiers("tower", MemoryRows(1_000_000))
    long = TextCache(tower.encode, tiers).steps([*(f"word {index}" for index in range(2 * CHUNK)), "sky"])
    next(long)

    rows = TextCache(tower.encode, tiers, patience_here=0.0).rows(["sky"]).rows

    assert rows[0, 0] == 3
    assert len(tower.asked) == CHUNK + 1
    for _ in long:
        pass
    assert len(tower.asked) == len(set(tower.asked)) == 2 * CHUNK + 1


def test_a_lookup_that_is_closed_leaves_its_texts_to_others() -> None:
    tower = Tower()
    cache = cache_of(tower.encode, 1_000_000)
    texts = [f"word {index}" for index in range(2 * CHUNK)]
    given_up = cache.steps(texts)
    next(given_up)
    given_up.close()

    assert cache.rows(texts).hits == CHUNK


def test_who_waits_for_another_lookup_can_be_given_up_too() -> None:
    tower = Tower()
    cache = cache_of(tower.encode, 10_000)
    tower.open.clear()

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(cache.rows, ["sky"])
        assert tower.entered.wait(20)
        with pytest.raises(DeadlineExceeded):
            cache.rows(["sky"], lambda: True)
        tower.open.set()
        slow.result(20)


def test_rows_may_be_written_to_without_a_change_in_the_cache() -> None:
    cache = cache_of(Tower().encode, 10_000)
    cache.rows(["sky"]).rows[:] = 0

    assert cache.rows(["sky"]).rows[0, 0] == 3


def test_the_counts_tell_hits_and_misses_of_the_memory() -> None:
    counted: list[tuple[str, str, int]] = []
    cache = cache_of(Tower().encode, 10_000, count=lambda *what: counted.append(what))
    cache.rows(["sky", "sky", "road"])
    cache.rows(["sky"])

    assert [what for what in counted if what[2]] == [("l1", "miss", 2), ("l1", "hit", 1)]


def test_without_an_address_nothing_needs_the_redis_client() -> None:
    program = "import sys; sys.modules['redis'] = None; import lexiseg_service.worker.local"

    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr
