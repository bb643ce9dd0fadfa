"""The listing of entities, written pair by pair: killed at any moment, it goes on with those that are missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lexiseg_model.data.entities.describe import Described
from lexiseg_model.data.entities.phrases import Phrases
from lexiseg_model.data.entities.table import key_of, read_entities
from lexiseg_model.data.pairs.skips import Skips
from lexiseg_model.data.pairs.source import PairSource, Skipped, StoredPair
from lexiseg_model.errors import DatasetError, SampleError

AHEAD = 2  # pairs that wait for each worker
MOST_FAILURES = 10  # in a row: then it is not the photographs
Describe = Callable[[StoredPair], Described]


class Written(NamedTuple):
    """`new` pairs were written, `before` were there, `failed` could not be."""

    new: int
    before: int
    failed: int


def from_captions(phrases: Phrases) -> Describe:
    """Entities of all captions of a pair; they are its description."""

    def describe(pair: StoredPair) -> Described:
        found = dict.fromkeys(phrase for caption in pair.captions for phrase in phrases(caption))
        return Described(" ".join(pair.captions), tuple(found))

    return describe


def write_entities(
    source: PairSource,
    listing: Path,
    describe: Describe,
    workers: int = 1,
    on_pair: Callable[[], None] = lambda: None,
) -> Written:
    """Appends the entities of every pair that the listing has not; what fails is named in `LISTING.failed`.

    Args:
        source: the pairs.
        listing: to be written, or gone on with.
        describe: what names the entities of one pair; called by so many `workers` at once.
        workers: threads.
        on_pair: called after each pair, those that were there included.

    Raises:
        DatasetError: MOST_FAILURES in a row fail, or the listing is none.
    """
    known = set(read_entities(listing)) if listing.exists() else set()
    failed = Skips(listing.with_name(f"{listing.name}.failed"))
    new = before = in_a_row = 0
    listing.parent.mkdir(parents=True, exist_ok=True)
    _end_line(listing)
    with listing.open("a", encoding="utf-8") as lines, ThreadPoolExecutor(workers) as pool:
        places = ((part, index) for part, size in enumerate(source.sizes) for index in range(size))

        def attempt(place: tuple[int, int]) -> tuple[str, Described | Skipped | None]:
            try:
                pair = source.read(*place)
                return key_of(pair.name), None if key_of(pair.name) in known else describe(pair)
            except SampleError as error:
                return key_of(error.sample), Skipped(key_of(error.sample), error.reason)

        for key, outcome in _in_order(pool, attempt, places, workers * AHEAD):
            if outcome is None:
                before += 1
            elif isinstance(outcome, Skipped):
                failed.add([outcome])
                in_a_row += 1
                if in_a_row >= MOST_FAILURES:
                    pool.shutdown(cancel_futures=True)
                    raise DatasetError(f"{in_a_row} pairs in a row failed, the last: {outcome.name}: {outcome.reason}")
            else:
                entry = {"name": key, "description": outcome.description, "entities": outcome.entities}
                lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
                lines.flush()
                new, in_a_row = new + 1, 0
            on_pair()
    return Written(new, before, len(failed))


Outcome = tuple[str, Described | Skipped | None]
Places = Iterator[tuple[int, int]]


def _in_order(
    pool: ThreadPoolExecutor, attempt: Callable[[tuple[int, int]], Outcome], places: Places, ahead: int
) -> Iterator[Outcome]:
    """Outcomes in the order of places, no more than `ahead` of them under way."""
    waiting: list[Future[Outcome]] = [pool.submit(attempt, place) for place in islice(places, ahead)]
    while waiting:
        outcome = waiting.pop(0).result()
        waiting += [pool.submit(attempt, place) for place in islice(places, 1)]
        yield outcome


def _end_line(listing: Path) -> None:
    """A kill may have cut the last line: it is taken away, and its pair is asked again."""
    if listing.exists():
        content = listing.read_bytes()
        listing.write_bytes(content[: content.rfind(b"\n") + 1])
