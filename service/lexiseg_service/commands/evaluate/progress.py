"""How far an evaluation is, of several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lexiseg_model.evaluation.resumable import Ranks
from lexiseg_service.commands.bar import bar_of


@contextmanager
def progress_of(title: str, n_images: int, team: Ranks) -> Iterator[Callable[[], None]]:
    """What to call after each image; the first process speaks, of its own share."""
    if not team.first:
        yield lambda: None
        return
    with bar_of(title) as bar:
        bar.expect(n_images)
        yield bar.step
