"""Digests of many texts: in order, with what comes twice, and little of them in memory."""

from __future__ import annotations

import gc
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lexiseg_service.commands.bulk import digests
from lexiseg_service.commands.bulk.converting.answers import Names
from lexiseg_service.commands.bulk.digests import Digests, place_of, repeated, short_digest


def of(*texts: str) -> Digests:
    made = Digests()
    for text in texts:
        made.add(text)
    return made


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_what_comes_twice_is_found_whatever_is_written_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(digests, "AT_ONCE", at_once)
    texts = [*"abcdefgh", *"cce", "h"]

    with closing(of(*texts)) as made:
        ordered = made.ordered()
        n = len(made)

    assert n == len(texts)
    assert ordered.tolist() == sorted(map(short_digest, texts))
    assert set(repeated(ordered).tolist()) == set(map(short_digest, "ceh"))
    assert place_of(ordered, short_digest("nobody")) is None
    assert ordered[place_of(ordered, short_digest("d"))] == short_digest("d")


def test_of_no_text_there_is_none() -> None:
    with closing(of()) as made:
        assert len(made) == 0
        assert made.ordered().tolist() == []
        assert repeated(made.ordered()).tolist() == []


def test_names_of_many_ids_take_no_memory_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "AT_ONCE", 2**12)
    n = 2**19
    gc.collect()
    before = own_kilobytes()

    names = Names(f"{number}.jpg" for number in range(n))

    assert own_kilobytes() - before < n * 8 / 1024 / 2  # 4 MB of digests, were they held
    assert len(np.unique([names.of("7.jpg"), names.of("8.png"), names.of("x.jpg")])) == 3


def own_kilobytes() -> int:
    """Of this process, what is no file's and the system cannot take back."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))
