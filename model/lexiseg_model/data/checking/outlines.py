"""The check of photographs with outlined objects: SA-1B, or a JSON of COCO's instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from lexiseg_model.data.checking.problems import Checked, Problem
from lexiseg_model.data.outlines.source import OutlineSource
from lexiseg_model.errors import SampleError

AHEAD = 16  # photographs that are given to the threads at once


def check_outlines(
    source: OutlineSource,
    on_photograph: Callable[[], object] = lambda: None,
    on_count: Callable[[int], object] = lambda _: None,
) -> Checked:
    """Looks at every photograph and every mask; called as `check_masks`."""
    checked = Checked({"photographs": len(source)})
    on_count(len(source))

    def look(index: int) -> SampleError | tuple[str, set[int], int]:
        try:
            outlined = source.read(index)
        except SampleError as error:
            return error
        return outlined.name, set(outlined.labels), len(outlined.objects)

    shown: set[int] = set()
    numbers: Iterator[int] = iter(range(len(source)))
    with ThreadPoolExecutor() as team:
        while some := list(islice(numbers, AHEAD)):
            for seen in team.map(look, some):
                if isinstance(seen, SampleError):
                    checked.add([Problem("unreadable", seen.sample, seen.reason)])
                else:
                    name, labels, n_objects = seen
                    shown |= labels
                    checked.add([] if n_objects else [Problem("no object", name)])
                on_photograph()
    missing = [name for index, name in enumerate(source.classes) if index not in shown]
    checked.add(Problem("empty class", "the listing", name) for name in missing)
    return checked
