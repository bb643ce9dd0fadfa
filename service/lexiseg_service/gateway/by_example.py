"""Classes by example: each image with examples is one request to a worker; the embeddings join the vocabulary.

The worker caches its results per API key.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from lexiseg_model.types import Region, Shown, Vocabulary
from lexiseg_service.errors import InvalidValue, NotReady, ServiceError
from lexiseg_service.gateway.image_requests import gather_limited, with_field
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.image.reader import Images
from lexiseg_service.question.backend import Exemplified
from lexiseg_service.question.messages import ImageSource, WorkerRequest
from lexiseg_service.question.prompts import ClassExample, examples_of
from lexiseg_service.question.schemas import ClassInput, ExampleInput, ImageInput, MaskInput, PointInput
from lexiseg_service.settings import Limits

Exemplify = Callable[[WorkerRequest], Awaitable[Exemplified]]
# A picture is stored once for each example in it: this many times `max_example_bytes` in all.
MAX_REPETITION = 4


class ExampleDesk:
    def __init__(self, exemplify: Exemplify, limits: Limits, images: Images) -> None:
        self._exemplify = exemplify
        self._limits = limits
        self._images = images

    async def with_examples(self, request: WorkerRequest, examples: Sequence[ClassExample]) -> WorkerRequest:
        """A request with a vocabulary that contains the model's embeddings of its classes' examples."""
        embedded = await self._embedded(examples, request, keep=False)
        digests = {each.digest for each, _ in embedded}
        if len(digests) > 1:
            raise NotReady("the model changed while the examples were embedded; send the request again")
        rows: dict[tuple[int, bool], list[bytes]] = defaultdict(list)
        for each, of_image in embedded:
            for example, row in zip(of_image, each.rows, strict=True):
                rows[example.place, example.positive].append(row)
        classes = tuple(
            replace(entry, shown=Shown(tuple(rows[place, True]), tuple(rows[place, False]), *digests))
            if (place, True) in rows
            else entry
            for place, entry in enumerate(request.vocabulary.classes)
        )
        return replace(request, vocabulary=replace(request.vocabulary, classes=classes))

    async def stored_form(self, class_list: VocabularyInput, request: WorkerRequest) -> VocabularyInput:
        """A class list with examples that contain small pictures in place of ids, URLs and large files."""
        examples = examples_of(class_list.classes, self._limits)
        for example in examples:
            if example.image.is_empty:
                raise InvalidValue.of(
                    f"{example.example.field}.image", "none", "an image: a vocabulary has none itself"
                )
        embedded = await self._embedded(examples, request, keep=True)
        pictures = [(len(each.picture), len(of_image)) for each, of_image in embedded]
        limit, size = self._limits.max_example_bytes, sum(n_bytes for n_bytes, _ in pictures)
        if size > limit:
            raise InvalidValue.of("classes", f"{size:,} bytes of pictures of examples", f"at most {limit:,}")
        repeated = sum(n_bytes * n_examples for n_bytes, n_examples in pictures)
        if repeated > MAX_REPETITION * limit:
            came = f"{repeated:,} bytes of pictures, each as often as it has examples"
            raise InvalidValue.of("classes", came, f"at most {MAX_REPETITION * limit:,}")
        by_field: dict[str, ExampleInput] = {}
        for each, of_image in embedded:
            image = ImageInput(base64=base64.b64encode(each.picture).decode(), url=None, id=None)
            for example, region in zip(of_image, each.regions, strict=True):
                by_field[example.example.field] = _stored_example(region, image)
        return class_list.model_copy(
            update={"classes": [_with_stored(entry, place, by_field) for place, entry in enumerate(class_list.classes)]}
        )

    async def _embedded(
        self, examples: Sequence[ClassExample], request: WorkerRequest, *, keep: bool
    ) -> list[tuple[Exemplified, list[ClassExample]]]:
        by_image: dict[ImageSource, list[ClassExample]] = defaultdict(list)
        for example in examples:
            by_image[example.image].append(example)

        async def ask(source: ImageSource, of_image: list[ClassExample]) -> Exemplified:
            question = replace(
                request,
                vocabulary=Vocabulary(()),
                task="semantic",
                prompts=(),
                overlay=False,
                regions=tuple(example.example for example in of_image),
                keep_picture=keep,
            )
            field = f"{of_image[0].example.field}.image"
            try:
                return await self._exemplify(await self._images.with_image(question, source, field))
            except ServiceError as error:
                raise (error if source.is_empty else with_field(error, field)) from None

        asks = [partial(ask, source, of_image) for source, of_image in by_image.items()]
        embedded = await gather_limited(asks, request.deadline)
        return list(zip(embedded, by_image.values(), strict=True))


def _with_stored(entry: str | ClassInput, place: int, by_field: dict[str, ExampleInput]) -> str | ClassInput:
    if isinstance(entry, str):
        return entry
    update = {
        name: [by_field[f"classes.{place}.{name}.{number}"] for number in range(len(examples))]
        for name, examples in (("examples", entry.examples), ("negatives", entry.negatives))
    }
    return entry.model_copy(update=update)


def _stored_example(region: Region, image: ImageInput) -> ExampleInput:
    if region.mask is not None:
        return ExampleInput(image=image, mask=MaskInput(size=region.mask.size, counts=region.mask.counts))
    assert region.prompt is not None
    points = [PointInput(point.x, point.y, point.positive) for point in region.prompt.points]
    return ExampleInput(image=image, points=points, box=region.prompt.box and list(region.prompt.box))
