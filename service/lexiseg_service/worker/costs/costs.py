"""What a request will cost before anything of it is done: from its pixels and its words, beside others.

Sizes are in milliseconds of an ordinary core of 2025, and know the speed of the model that will work, as its `trial`
measured it. How much is done at a time, and beside what else runs here, is the pace of the `forecast`. What a text
takes in the tower is learned here, and so is the least that any work takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lexiseg_model.tasks.prompts import CLOSE
from lexiseg_model.types import Prompt
from lexiseg_service.image.jpeg_scans import in_one_scan
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.worker.costs.speed import ORDINARY, Speed

IMAGE = 30.0  # the image pass of one photograph
LARGE = 60.0  # a finish of so many milliseconds or more is large: some megapixels, or thousands of texts
LARGE_IMAGE = 16.0  # likewise of an image that is decoded
JPEG = b"\xff\xd8"
# Milliseconds of a megapixel and of a megabyte where no smaller picture can be decoded instead: JPEG of several scans,
# PNG, WebP, AVIF. Of 40 megapixels they take 0.4 to 1.5 s, a JPEG of one scan 0.06.
SLOW_PIXELS, SLOW_BYTES = 20.0, 10.0
WHOLE_PIXELS = 7.0  # likewise, of a JPEG of one scan
LEARNING = 0.1  # weight of the latest chunk in what a text takes
SURPRISE = 4.0  # times as long; what takes longer was held up by something else, as the first of its kind is
DOUBT = 0.5  # of what the trial took: what came before it may have made it slow
SMALL = 0.08  # of the image: a smaller box may be looked at closer
FIRST_PROMPTS = 4  # prompts that a trial divides what they share by
WHOLE = 64  # texts up to which each is looked for; of more, so many are


class Size(NamedTuple):
    """How large a request is to each stage, beside others."""

    decode: float = 0.0
    image: float = 0.0
    finish: float = 0.0
    texts: float = 0.0  # that will have to be encoded
    prompts: int = 0
    extra: float = 0.0  # milliseconds here, of its task and refinement
    speed: Speed = ORDINARY
    looks: int = 0  # prompts that may be looked at closer

    @property
    def large(self) -> bool:
        """Whether small requests should not wait for its finish."""
        asked = ORDINARY.prompt * self.prompts + ORDINARY.look * self.looks
        return self.finish + asked + self.extra >= LARGE

    def of_known_image(self) -> Size:
        """What is left of it where the features of its image are kept."""
        return self._replace(decode=0.0, image=0.0)

    @property
    def large_image(self) -> bool:
        """Whether small requests should not wait for it to be decoded."""
        return self.decode >= LARGE_IMAGE


def decode_cost(megapixels: float, image: bytes | None = None, *, whole: bool = False) -> float:
    """Of an image as sent: milliseconds of an ordinary core.

    Args:
        megapixels: of it.
        image: the file; None is a photograph as cameras write them.
        whole: all its pixels are wanted.
    """
    if image is not None and not (image.startswith(JPEG) and in_one_scan(image)):
        return 2 + SLOW_PIXELS * megapixels + SLOW_BYTES * len(image) / 1e6
    return 2 + (WHOLE_PIXELS if whole else 2) * megapixels


def finish_cost(megapixels: float, n_classes: int, n_texts: int) -> float:
    """Of a plain answer: milliseconds of an ordinary core."""
    return 8 + megapixels * (8 + n_classes / 25) + n_texts / 20


def size_of(
    request: WorkerRequest, pixels: int, missing: float, speed: Speed = ORDINARY, kept: bytes | None = None
) -> Size:
    """The size of a request.

    Args:
        request: what is asked.
        pixels: of the image as sent.
        missing: texts that no cache in memory knows.
        speed: of its model.
        kept: the file of an image that is known, and sent by its id; only an overlay has it decoded once more.
    """
    megapixels = pixels / 1e6
    n_classes = len(request.vocabulary.classes)
    n_texts = n_classes + sum([len(entry.synonyms) for entry in request.vocabulary.classes])
    finish = finish_cost(megapixels, n_classes, n_texts)
    painted = 40 * min(megapixels, 1.0) if request.overlay else 0.0
    extra = speed.beyond_plain(request.task, n_classes) + speed.beyond_plain(request.refine, n_classes)
    if request.regions:  # of an image that is new, as a rule: what prompts share is made first
        extra += FIRST_PROMPTS * speed.prompt
    prompts = len(request.prompts) + len(request.regions)
    # Each click may mean several masks, of the size of the image.
    drawn = len(request.prompts) * megapixels * (3.0 if request.mask == "polygon" else 0.2)
    looks = _looks(request.prompts, pixels) if request.prompts else 0
    if kept is not None and not request.overlay:
        decode = decode_cost(0.0)
    else:
        decode = decode_cost(megapixels, request.image if kept is None else kept, whole=request.overlay)
    return Size(decode, IMAGE, finish + painted + drawn, missing, prompts, extra, speed, looks)


def _looks(prompts: Sequence[Prompt], pixels: int) -> int:
    """How many of the prompts may be looked at closer; all boxes, where nobody knows the size of the image."""
    boxes = [prompt.box for prompt in prompts[:CLOSE] if prompt.box is not None]
    return sum(not pixels or (x1 - x0) * (y1 - y0) < SMALL * pixels for x0, y0, x1, y1 in boxes)


def missing_texts(texts: list[str], known: Callable[[list[str]], int]) -> float:
    """How many of the texts are not known; of a long list, judged by some of them.

    Args:
        texts: of a question.
        known: counts those of a list that are in memory.
    """
    step = max(1, len(texts) // WHOLE)
    some = texts[::step]
    return len(texts) * (1 - known(some) / len(some)) if some else 0.0


class Costs:
    """Seconds by size; safe to use from any thread."""

    def __init__(self) -> None:
        self._seconds_per_text = 1.5e-3
        self._least_per_text: float | None = None
        self._speeds: dict[str, Speed] = {}  # by the digest of a model
        self._least_finish: dict[str, float] = {}  # times what was expected, at best
        self._least_per_tile: dict[str, float] = {}
        self._guard = threading.Lock()

    def tried(self, digest: str, speed: Speed) -> None:
        """A model is this fast, alone."""
        with self._guard:
            self._speeds[digest] = speed
            self._least_finish[digest] = DOUBT
            self._least_per_tile[digest] = DOUBT * 1e-3 * IMAGE * speed.image / speed.tiles

    def tried_texts(self, n_texts: int, seconds: float) -> None:
        """The text tower took so long, alone; of the first tower of a worker it stands instead of a guess."""
        with self._guard:
            if self._least_per_text is None:
                self._seconds_per_text = seconds / n_texts
                self._least_per_text = DOUBT * seconds / n_texts

    def speed_of(self, digest: str) -> Speed:
        """Of a model; an ordinary one where it has not been tried."""
        return self._speeds.get(digest, ORDINARY)

    def learn(self, n_texts: int, seconds: float) -> None:
        """The text tower took so long for so many texts."""
        with self._guard:
            before = self._seconds_per_text
            self._seconds_per_text += LEARNING * (min(seconds / n_texts, SURPRISE * before) - before)
            if n_texts >= WHOLE // 2:  # of a few texts, each takes longer
                least = self._least_per_text
                self._least_per_text = seconds / n_texts if least is None else min(least, seconds / n_texts)

    def encoded(self, digest: str, n_tiles: int, seconds: float) -> None:
        """An image pass of a model took so long."""
        with self._guard:
            if digest in self._least_per_tile:
                self._least_per_tile[digest] = min(self._least_per_tile[digest], seconds / n_tiles)

    def finished(self, digest: str, size: Size, seconds: float) -> None:
        """A finish of a model took so long."""
        with self._guard:
            if digest in self._least_finish:
                self._least_finish[digest] = min(self._least_finish[digest], seconds / _finish(size))

    def least(self, n_texts: int) -> float:
        """Seconds that so many texts take at the best speed that there was ever; 0 while nobody knows."""
        with self._guard:
            return n_texts * (self._least_per_text or 0.0)

    def least_finish(self, digest: str, size: Size) -> float:
        """Likewise, of a finish. What a task or refinement takes beyond that may be remembered, and does not count."""
        with self._guard:
            return self._least_finish.get(digest, 0.0) * _finish(size)

    def least_image(self, digest: str, n_tiles: int) -> float:
        """Likewise, of an image pass."""
        with self._guard:
            return self._least_per_tile.get(digest, 0.0) * n_tiles

    def work(self, size: Size) -> float:
        """Seconds alone here for all but the text tower."""
        speed = size.speed
        return 1e-3 * (speed.decode * size.decode + speed.image * size.image + size.extra) + _finish(size)

    def reading(self, size: Size) -> float:
        """Seconds in the text tower."""
        return size.texts * self._seconds_per_text


def _finish(size: Size) -> float:
    """Seconds that a plain finish is expected to take."""
    speed = size.speed
    return 1e-3 * (speed.finish * size.finish + speed.prompt * size.prompts + speed.look * size.looks)
