"""What a model takes on this machine, tried before its first request: or the first burst would be taken on trust.

One picture of squares is decoded, encoded, and asked about as a small and as a large one, with few words and with many;
then once for each task and refinement of the model, as a large one where these look at each class, and for a few clicks
and small boxes. What takes long is tried once, and when `PATIENCE` is over the rest is taken to be ordinary: a start
shall not wait for figures that the first requests correct.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import simplejpeg
import structlog
import torch
from numpy.typing import NDArray

from lexiseg_model.errors import ModelError
from lexiseg_model.features import Plan, TileFeatures
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.types import ClassEntry, Prompt, Refinement, Task, Vocabulary
from lexiseg_service.errors import NotReady
from lexiseg_service.settings import Limits
from lexiseg_service.worker.costs.costs import WHOLE, Costs
from lexiseg_service.worker.costs.decoding import decode_cost
from lexiseg_service.worker.costs.questions import CLICKS, LARGE, MANY, Questions
from lexiseg_service.worker.costs.size import IMAGE, finish_cost
from lexiseg_service.worker.costs.speed import OF_EACH_TEXT, ORDINARY, Speed
from lexiseg_service.worker.costs.stopwatch import LONG, Stopwatch
from lexiseg_service.worker.decode import decode, shortest_of

logger = structlog.get_logger("lexiseg.engine")
PICTURE = (480, 640)  # height and width
MANY_THINGS = 2.0  # times as long as of squares large pictures may take
BOXES = (Prompt(box=(70.0, 230.0, 110.0, 270.0)), Prompt(box=(390.0, 230.0, 430.0, 270.0)))  # small ones
QUICK_FIRST: tuple[Task, ...] = ("prompt", "instance", "panoptic", "everything")
PATIENCE = 1.5  # seconds for all of it but what has begun
OnDevice = Callable[[Callable[[], object]], Future[None]]


class Trial:
    """Of one model, on one thread.

    Args:
        segmenter: the model; its buckets are warm.
        on_device: has something done on the thread that owns the device.
        words: classes whose rows are in memory.
        rows_of: where they are.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        on_device: OnDevice,
        words: Sequence[ClassEntry],
        rows_of: RowsOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._stopwatch = Stopwatch(clock)
        self._segmenter = segmenter
        self._card = segmenter.card
        self.digest = segmenter.digest
        self._on_device = on_device
        self._vocabulary = Vocabulary(tuple(words))
        self._rows_of = rows_of
        self._until = clock() + PATIENCE

    def speed(self) -> Speed:
        """What came of it; raises whatever the model raises."""
        pixels = _squares()
        photograph = simplejpeg.encode_jpeg(pixels, 85)
        planned, plan = self._stopwatch.timed(lambda: self._plan(photograph, pixels))
        encoded, tile_features = self._encode(plan)
        usual = decode_cost(PICTURE, photograph, shortest=shortest_of(self._card))
        speed = Speed(decode=1e3 * planned / usual, image=1e3 * encoded / IMAGE, tiles=len(plan.tiles))
        questions = Questions(self._segmenter, plan, tile_features, self._vocabulary, self._rows_of, self._stopwatch)
        if "semantic" in self._card.tasks:
            speed = self._with_finish(speed, questions)
        speed, clicks = self._with_others(speed, questions)
        if clicks is None or self._is_over:
            return speed
        return self._with_prompts(speed, questions, clicks)

    def texts(self) -> tuple[int, float]:
        """Of a chunk for the text tower: how many, and the seconds that they took."""
        texts = [f"a warm-up {number}" for number in range(WHOLE)]
        return WHOLE, self._stopwatch.timed(lambda: self._segmenter.encode_texts(texts))[0]

    @property
    def _is_over(self) -> bool:
        return self._clock() > self._until

    def _plan(self, photograph: bytes, pixels: NDArray[np.uint8]) -> Plan:
        decode(photograph, _limits_of(photograph), shortest_of(self._card))
        return self._segmenter.plan(pixels)

    def _encode(self, plan: Plan) -> tuple[float, TileFeatures]:
        """Seconds of the image pass, and what it made."""
        passes: list[tuple[float, TileFeatures]] = []
        self._on_device(lambda: passes.append(self._stopwatch.timed(lambda: self._whole_pass(plan)))).result()
        return passes[0]

    def _whole_pass(self, plan: Plan) -> TileFeatures:
        features = self._segmenter.encode_tiles(plan.tiles)
        if features[0].is_cuda:  # which has been told, and has not done it yet
            torch.cuda.synchronize(features[0].device)
        return features

    def _with_finish(self, speed: Speed, questions: Questions) -> Speed:
        """Of few words and many."""
        n_words = len(self._vocabulary.classes)
        usual = sum(finish_cost(_megapixels(size), n_words) for size in (PICTURE, LARGE))
        speed = replace(speed, finish=1e3 * (questions.plain + questions.plain_of_large) / usual)
        if self._is_over:
            return speed
        beyond = max(0.0, questions.about_many_words() - questions.plain)
        return replace(speed, word=1e3 * beyond / max(1, MANY - n_words))

    def _with_others(self, speed: Speed, questions: Questions) -> tuple[Speed, float | None]:
        """Of each task and refinement beyond plain; and the milliseconds of `CLICKS`, where there was time for them."""
        extra, of_pixels = dict(ORDINARY.extra), dict(ORDINARY.pixels)
        for name, task, refine in self._others():
            if self._is_over:
                break
            try:
                extra[name] = 1e3 * max(0.0, questions.ask(task, refine) - questions.plain)
                if name in OF_EACH_TEXT and extra[name] < 1e3 * LONG:
                    beyond = questions.ask(task, refine, size=LARGE) - questions.plain_of_large
                    more = max(0.0, 1e3 * beyond - extra[name])
                    of_pixels[name] = MANY_THINGS * more / (_megapixels(LARGE) - _megapixels(PICTURE))
            except ModelError:  # a model may not do to this picture what it does to others
                continue
        clicks = extra.pop("prompt", None)
        return replace(speed, extra=extra, pixels=of_pixels, words=len(self._vocabulary.classes)), clicks

    def _others(self) -> list[tuple[str, Task, Refinement | None]]:
        """What else can be asked, each with a name, the quick first."""
        refined: list[tuple[str, Task, Refinement | None]] = [
            (refine, "semantic", refine) for refine in self._card.refinements if "semantic" in self._card.tasks
        ]
        rest = [(task, task, None) for task in QUICK_FIRST if task in self._card.tasks]
        return refined + rest

    def _with_prompts(self, speed: Speed, questions: Questions, clicks: float) -> Speed:
        """Of prompts: what they share, each of them, and a closer look at a small box.

        Args:
            clicks: milliseconds of `CLICKS`, beyond a plain answer.
        """
        one = 1e3 * max(0.0, questions.ask("prompt", prompts=CLICKS[:1]) - questions.plain)
        each = min(max(0.0, clicks - one) / (len(CLICKS) - 1), one)
        speed = replace(speed, prompt=each, shared=one - each)
        if self._is_over:
            return speed
        box, boxes = (questions.ask("prompt", prompts=BOXES[:n]) for n in (1, 2))
        return replace(speed, look=max(0.0, 1e3 * (boxes - box) - each))


def try_out(trial: Trial, costs: Costs) -> None:
    """Runs a trial as the stages run their work: on one thread, which does its own work for torch.

    A model that cannot do what is tried is served nevertheless, as if it were an ordinary one.
    """
    with ThreadPoolExecutor(1, "trial", partial(torch.set_num_threads, 1)) as alone:
        try:
            costs.tried(trial.digest, alone.submit(trial.speed).result())
            costs.tried_texts(*alone.submit(trial.texts).result())
        except NotReady:  # the worker is going down
            raise
        except Exception as error:
            logger.warning("what the model takes could not be tried", digest=trial.digest, error=str(error))


def _limits_of(photograph: bytes) -> Limits:
    """Of our own picture: what others may send, which can be less, is not asked."""
    return Limits(max_image_bytes=len(photograph), max_pixels=PICTURE[0] * PICTURE[1], min_side=1)


def _squares() -> NDArray[np.uint8]:
    """A picture [480, 640, 3] of a few colours: what a model may look for is found soon."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return np.ascontiguousarray(colours.repeat(80, 0).repeat(80, 1))


def _megapixels(size: tuple[int, int]) -> float:
    return size[0] * size[1] / 1e6
