"""The count at the end: each input of the plan has exactly one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pyarrow.compute

from lexiseg_model.errors import DatasetError
from lexiseg_service.commands.bulk.plan import Destination, Size, rows_name
from lexiseg_service.commands.bulk.rows import FAILED
from lexiseg_service.commands.bulk.tables import Table

THREADS = 8
SHOWN = 5


class Counted(NamedTuple):
    """One chunk: its rows against its inputs."""

    chunk: int
    rows: int
    failures: int
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    digests: tuple[str, ...]


@dataclass
class Count:
    """All chunks."""

    rows: int = 0
    failures: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)


def count_chunk(destination: Destination, chunk: int) -> Counted:
    """The ids of a chunk's rows against those of the plan."""
    planned = {item.id for item in destination.chunk(chunk)}
    content = destination.read(rows_name(chunk))
    if content is None:
        return Counted(chunk, 0, 0, tuple(sorted(planned)), (), ())
    rows: Any = Table(content).read(["id", "status", "model_digest"])
    ids = Counter(rows.column("id").to_pylist())
    twice = tuple(sorted(id_ for id_, n in ids.items() if n > 1 or id_ not in planned))
    failures = sum(status == FAILED for status in rows.column("status").to_pylist())
    digests = tuple(pyarrow.compute.unique(rows.column("model_digest")).to_pylist())
    return Counted(chunk, rows.num_rows, failures, tuple(sorted(planned - ids.keys())), twice, digests)


def count_here(destination: Destination, chunks: Sequence[int]) -> Iterable[Counted]:
    """Every chunk, a few at a time."""
    with ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(partial(count_chunk, destination), chunks)


def count(
    destination: Destination, size: Size, each: Callable[[Destination, Sequence[int]], Iterable[Counted]]
) -> Count:
    """Counts the rows of a job that has ended.

    Raises:
        DatasetError: an input has no row or more than one, or there are rows of different models.
    """
    total = Count()
    strangers = destination.done() - set(range(size.chunks))
    if strangers:
        raise DatasetError(f"{destination.url}/{rows_name(min(strangers))} is of no chunk of the plan")
    for counted in each(destination, range(size.chunks)):
        total.rows += counted.rows
        total.failures += counted.failures
        total.lost.extend(counted.lost[: SHOWN - len(total.lost)])
        total.twice.extend(counted.twice[: SHOWN - len(total.twice)])
        total.digests.update(counted.digests)
    if total.lost or total.twice or total.rows != size.inputs:
        wrong = [f"without a row: {', '.join(total.lost)}"] if total.lost else []
        wrong += [f"more than once: {', '.join(total.twice)}"] if total.twice else []
        raise DatasetError(f"{total.rows:,} rows of {size.inputs:,} inputs; {'; '.join(wrong)}")
    if len(total.digests) != 1:
        raise DatasetError(f"rows of different models: {', '.join(sorted(total.digests))}")
    return total
