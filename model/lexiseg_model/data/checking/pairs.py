"""The check of pairs: every one is read and decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from lexiseg_model.data.checking.problems import Checked, Problem
from lexiseg_model.data.pairs.decode import decode
from lexiseg_model.data.pairs.source import PairSource
from lexiseg_model.errors import SampleError

AHEAD = 256  # pairs that are given to the threads at once


def check_pairs(
    source: PairSource,
    on_pair: Callable[[], object] = lambda: None,
    on_count: Callable[[int], object] = lambda _: None,
) -> Checked:
    """Looks at every pair; `on_pair` is called after each, `on_count` once, with how many there are."""
    total = sum(source.sizes)
    checked = Checked({"pairs": total})
    on_count(total)
    checked.add(Problem("unreadable", skipped.name, skipped.reason) for skipped in source.damaged)

    def look(place: tuple[int, int]) -> Problem | None:
        try:
            decode(source.read(*place))
        except SampleError as error:
            kind = "no caption" if "caption" in error.reason else "unreadable"
            return Problem(kind, error.sample, error.reason)
        return None

    places: Iterator[tuple[int, int]] = ((part, n) for part, size in enumerate(source.sizes) for n in range(size))
    with ThreadPoolExecutor() as team:
        while some := list(islice(places, AHEAD)):
            for problem in team.map(look, some):
                checked.add([problem] if problem else [])
                on_pair()
    return checked
