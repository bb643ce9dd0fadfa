"""Solve heads on threads, fair between clients: lessons -> work is counted -> a lane by its size -> head.

Small solves have a thread of their own and wait for no large one. A solve ends soon after its request does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import numpy as np

from lexiseg_model.errors import TeachingError
from lexiseg_model.types import ClassEntry
from lexiseg_model.vocabulary.heads import Head, Lesson
from lexiseg_model.vocabulary.solving import solve, work_of
from lexiseg_service.errors import InvalidValue, ModelChanged
from lexiseg_service.fair_queue import FairExecutor
from lexiseg_service.watch.metrics import Metrics

Widths = tuple[int | None, int | None]  # numbers of a cell and of its detail, as the model's card says; None: any
MAX_WORK = 1e11  # products of a solve: some 10 s of a core
SMALL_WORK = 4e9  # under a second
LARGE_AT_A_TIME = 4  # of different clients: the third starts at once, and four end in time on two cores
MAX_SHARED_BYTES = 96 * 2**20  # of a solve that runs at the same time as another large one


class Solver:
    def __init__(self, metrics: Metrics) -> None:
        self._threads = FairExecutor("heads", LARGE_AT_A_TIME)
        self._memory = asyncio.Semaphore(1)  # for solves of many bytes
        self._count = metrics.head_solves.labels

    async def solve(
        self,
        contents: Sequence[bytes],
        classes: Sequence[ClassEntry],
        digest: str | None,
        widths: Widths,
        client: str,
    ) -> Head:
        """The head of lessons, of weights of one digest (None: of the last one) and of `widths`."""
        outcome, stop, names = "stopped", np.zeros(1, np.int32), [entry.name for entry in classes]
        try:
            lessons = await self._threads.call(client, lambda: [Lesson.from_bytes(content) for content in contents])
            _check_one_model(lessons, digest or lessons[-1].digest, widths)
            work = work_of(lessons, names)
            if work > MAX_WORK:
                expected = f"at most {MAX_WORK:.2g}; take fewer pictures, or look for the same classes in more of them"
                raise InvalidValue.of("pictures", f"{work:.2g} products to solve", expected)
            is_shared = _nbytes(lessons, len(names)) <= MAX_SHARED_BYTES
            async with nullcontext() if is_shared else self._memory:
                run = partial(solve, lessons, names, stop)
                head = await self._threads.call(client, run, large=work > SMALL_WORK)
            outcome = "ok"
            return head
        except TeachingError as error:
            outcome = "refused"
            raise InvalidValue.because("pictures", str(error)) from None
        except (InvalidValue, ModelChanged):
            outcome = "refused"
            raise
        finally:
            stop[0] = 1
            self._count(outcome).inc()

    def close(self) -> None:
        self._threads.close()


def _nbytes(lessons: Sequence[Lesson], n_classes: int) -> int:
    widths = (sum(part.shape[1] for part in (lesson.cells, lesson.detail) if part is not None) for lesson in lessons)
    return sum(len(lesson.labels) * (width * 8 + n_classes * 8) for lesson, width in zip(lessons, widths, strict=True))


def _check_one_model(lessons: Sequence[Lesson], digest: str, widths: Widths) -> None:
    """Raises ModelChanged: lessons are of other weights. InvalidValue: they are of other widths than the model's."""
    others = sum(lesson.digest != digest for lesson in lessons)
    if others:
        raise ModelChanged(
            f"pictures: {others} of the head's {len(lessons)} were taught to other weights of the model than are "
            "served now, or by another release; send all of them again, or delete the head"
        )
    for lesson in lessons:
        for part, expected in zip((lesson.cells, lesson.detail), widths, strict=True):
            if part is not None and expected not in (None, part.shape[1]):
                raise InvalidValue.of(
                    "pictures", f"lessons of {part.shape[1]} numbers a cell", f"{expected}, as of the head's model"
                )
