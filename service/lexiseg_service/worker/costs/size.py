"""How large a request is to each stage, before anything of it is done: from its pixels and its words, beside others.

Sizes are in milliseconds of an ordinary core of 2025, and know the speed of the model that will work, as its `trial`
measured it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lexiseg_model.masks.overlay import MAX_PIXELS, MAX_WIDTH
from lexiseg_model.tasks.negative_points import n_asked
from lexiseg_model.tasks.prompts import CLOSE
from lexiseg_model.types import Prompt
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.worker.costs.decoding import decode_cost
from lexiseg_service.worker.costs.speed import ORDINARY, SYNONYM, Speed

IMAGE = 30.0  # the image pass of one photograph
LARGE = 60.0  # a finish of so many milliseconds or more is large: some megapixels, or thousands of texts
LARGE_IMAGE = 16.0  # likewise of an image that is decoded
SMALL = 0.08  # of the image: a smaller box may be looked at closer
POINTS = 40.0  # of a prompt beyond its first, that take as long as one prompt more
# Milliseconds of a megapixel: of the answer in each format, of how sure it is, and of a picture that is painted.
MAPS = {"png": 8.0, "polygon": 2.0}
CONFIDENCE, PAINTED = 28.0, 220.0
# Of each prompt, and of it in each megapixel: it may mean several masks, of the size of the image.
PROMPTED = {"polygon": (2.0, 0.4)}
PROMPTED_RUNS = 0.0, 0.1  # likewise, in any other format
# Pixels of the longer side of the picture that a vocabulary keeps of an example, and of the shorter side, where the
# longer has so many; milliseconds of each megapixel of it, which is shrunk and written.
KEPT_LONGEST, KEPT_SHORTEST = 1024, 512
KEPT_PICTURE = 5.0
LAID_OUT = 0.3  # of a prompt and a megapixel, where its masks are laid over each other for a picture


class Size(NamedTuple):
    """Milliseconds of an ordinary core, or how many."""

    decode: float = 0.0
    image: float = 0.0
    finish: float = 0.0  # of the pixels
    texts: float = 0.0  # that will have to be encoded
    prompts: int = 0  # that the head is asked
    extra: float = 0.0  # milliseconds here, of its task and refinement
    speed: Speed = ORDINARY
    looks: int = 0  # prompts that may be looked at closer
    points: int = 0  # of prompts, beyond the first of each
    words: float = 0.0  # that are competing, a synonym for less than a class
    pictures: float = 0.0  # that are written: what no model has a part in
    regions: int = 0  # of examples

    @property
    def large(self) -> bool:
        """Whether small requests should not wait for its finish. Examples come many at a time, and each of them takes
        several times as long as an answer about words.
        """
        if self.regions:
            return True
        plain = self.finish + self.pictures + ORDINARY.word * self.words
        return plain + ORDINARY.prompt * self.prompts + ORDINARY.look * self.looks + self.extra >= LARGE

    def of_known_image(self) -> Size:
        """What is left of it where the features of its image are kept."""
        return self._replace(decode=0.0, image=0.0)

    @property
    def large_image(self) -> bool:
        """Whether small requests should not wait for it to be decoded."""
        return self.decode >= LARGE_IMAGE

    @property
    def finish_seconds(self) -> float:
        """Of a plain finish here: without what its task or refinement takes beyond one."""
        speed = self.speed
        shared = speed.shared if self.prompts else 0.0
        prompts = shared + speed.prompt * (self.prompts + self.points / POINTS) + speed.look * self.looks
        pixels = speed.finish * self.finish + speed.decode * self.pictures
        return 1e-3 * (pixels + speed.word * self.words + prompts)

    @property
    def seconds(self) -> float:
        """Of all but the text tower, alone here."""
        speed = self.speed
        return 1e-3 * (speed.decode * self.decode + speed.image * self.image + self.extra) + self.finish_seconds


def finish_cost(megapixels: float, n_classes: int) -> float:
    """Of the pixels of a plain answer: milliseconds of an ordinary core."""
    return 8 + megapixels * (8 + n_classes / 50)


def size_of(
    request: WorkerRequest,
    image_size: tuple[int, int],
    missing: float,
    speed: Speed = ORDINARY,
    *,
    shortest: int | None = None,
    kept: bytes | None = None,
) -> Size:
    """The size of a request.

    Args:
        request: what is asked.
        image_size: height and width of the image as sent; zeros where nobody knows.
        missing: texts that no cache in memory knows.
        speed: of its model.
        shortest: pixels that the model wants of the shorter side; None is all.
        kept: the file of an image that is known, and sent by its id; only an overlay has it decoded once more.
    """
    megapixels = image_size[0] * image_size[1] / 1e6
    classes = request.vocabulary.classes
    n_synonyms = sum([len(entry.synonyms) for entry in classes])
    words = len(classes) + SYNONYM * n_synonyms
    extra = speed.beyond_plain(request.task, len(classes), n_synonyms, megapixels)
    if request.prompts and request.refine == "pamr":
        extra += speed.refined(len(request.prompts))
    else:
        extra += speed.beyond_plain(request.refine, len(classes), n_synonyms, megapixels)
    if request.regions:  # of an image that is new, as a rule: what prompts share is made first
        extra += speed.shared + speed.prompt * len(request.regions)
    if kept is not None and not request.overlay:
        decode = decode_cost((0, 0))
    else:
        file = request.image if kept is None else kept
        decode = decode_cost(image_size, file, shortest=shortest, whole=request.overlay)
    pictures = _pictures(request, image_size)
    if request.keep_picture:  # it is decoded once more, for itself
        file = request.image if kept is None else kept
        pictures += _kept_picture(image_size, file, max(KEPT_SHORTEST, shortest or 0))
    prompts = request.prompts
    return Size(
        decode=decode,
        image=IMAGE,
        finish=finish_cost(megapixels, len(classes)),
        texts=missing,
        prompts=sum(map(n_asked, prompts)),
        extra=extra,
        speed=speed,
        looks=_looks(prompts, image_size) if prompts else 0,
        points=sum([len(prompt.points) - 1 for prompt in prompts if len(prompt.points) > 1]),
        words=words,
        pictures=pictures,
        regions=len(request.regions),
    )


def _pictures(request: WorkerRequest, image_size: tuple[int, int]) -> float:
    """Of what is written of an answer: milliseconds of an ordinary core."""
    megapixels = image_size[0] * image_size[1] / 1e6
    anywhere, of_pixels = PROMPTED.get(request.mask, PROMPTED_RUNS)
    laid_out = LAID_OUT if request.overlay or request.confidence else 0.0
    each = (anywhere + (of_pixels + laid_out) * megapixels) * len(request.prompts)
    written = MAPS.get(request.mask, 0.0) + (CONFIDENCE if request.confidence else 0.0)
    painted = PAINTED * _painted(image_size) if request.overlay else 0.0
    return each + megapixels * written + painted


def _kept_picture(image_size: tuple[int, int], file: bytes | None, shortest: int) -> float:
    """Of the picture that a vocabulary keeps of an example: milliseconds of an ordinary core."""
    megapixels = min(image_size[0] * image_size[1], KEPT_LONGEST * KEPT_SHORTEST) / 1e6
    return decode_cost(image_size, file, shortest=shortest) + KEPT_PICTURE * megapixels


def _painted(image_size: tuple[int, int]) -> float:
    """Megapixels of an overlay."""
    height, width = image_size
    factor = min(1.0, MAX_WIDTH / max(1, width))
    return min(height * factor * width * factor, MAX_PIXELS) / 1e6


def _looks(prompts: Sequence[Prompt], image_size: tuple[int, int]) -> int:
    """How many of the prompts may be looked at closer; all boxes, where nobody knows the size of the image."""
    pixels = image_size[0] * image_size[1]
    boxes = [prompt.box for prompt in prompts[:CLOSE] if prompt.box is not None]
    return sum(not pixels or (x1 - x0) * (y1 - y0) < SMALL * pixels for x0, y0, x1, y1 in boxes)
