"""Lessons of reviewed pictures: each is one request to a worker, which gives what a head is solved from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lexiseg_model.types import ClassEntry, Region, Vocabulary
from lexiseg_model.vocabulary.class_names import folded
from lexiseg_model.vocabulary.heads import MAX_CLASSES, MAX_PICTURES
from lexiseg_service.errors import InvalidValue, ServiceError
from lexiseg_service.gateway.heads.reviewed_set import ReviewedSet
from lexiseg_service.gateway.heads.schemas import HeadInput, PictureInput
from lexiseg_service.gateway.image_requests import Count, Pace, gather_limited, with_field
from lexiseg_service.gateway.uploaded_archive import ARCHIVE
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.backend import Taught
from lexiseg_service.question.classes import check, check_line
from lexiseg_service.question.messages import UNKNOWN, ExampleRegion, ImageSource, WorkerRequest
from lexiseg_service.question.prompts import check_runs, region_of, source_of
from lexiseg_service.question.schemas import ClassInput, MaskInput
from lexiseg_service.question.validation import off_event_loop
from lexiseg_service.settings import Limits

MAX_OBJECTS = 256  # labelled regions of a picture
KEY_LENGTH = 256  # characters
LESSONS_SHARE = 0.8  # of the time until the deadline; the rest is for the solve


@dataclass(frozen=True)
class ReviewedPicture:
    """A picture with its labelled regions, their classes by index in `reviewed` (or UNKNOWN), which were looked for."""

    key: str | None  # None: the id of its image
    image: ImageSource
    field: str  # of the request that names it
    regions: tuple[ExampleRegion, ...]
    region_classes: tuple[int, ...]
    reviewed: tuple[ClassEntry, ...]


async def lessons_of(
    use_case: UseCase, pictures: Sequence[ReviewedPicture], request: WorkerRequest, count: Count
) -> dict[str, bytes]:
    """Lessons by the keys of their pictures; `request` has the model, the sender and the deadline.

    `count` as of `gather_limited`.
    """
    pace = Pace("pictures", len(pictures), request.deadline, LESSONS_SHARE, "add further ones by PUT")

    async def teach(picture: ReviewedPicture) -> Taught:
        vocabulary, of_regions = Vocabulary(picture.reviewed), picture.region_classes
        question = replace(request, vocabulary=vocabulary, regions=picture.regions, region_classes=of_regions)
        field = f"{picture.field}.image"
        try:
            lesson = await use_case.backend.teach(await use_case.images.with_image(question, picture.image, field))
        except ServiceError as error:
            renamed = with_field(error, field)
            if not renamed.detail.startswith(picture.field):  # as of a full queue
                renamed.detail = f"{picture.field}: {renamed.detail}"
            raise renamed from None
        pace.check()
        return lesson

    taught = await gather_limited([partial(teach, picture) for picture in pictures], request.deadline, count)
    lessons: dict[str, bytes] = {}
    for picture, lesson in zip(pictures, taught, strict=True):
        key = picture.key or lesson.image_id
        if key in lessons:
            raise InvalidValue.of(f"{picture.field}.key", key, "another key for each picture")
        lessons[key] = lesson.lesson
    return lessons


async def reviewed_pictures(body: HeadInput, classes: tuple[ClassEntry, ...], limits: Limits) -> list[ReviewedPicture]:
    """The pictures of a request, for the classes of its head."""
    if len(body.pictures) > MAX_PICTURES:
        raise InvalidValue.of("pictures", f"{len(body.pictures)} pictures", f"at most {MAX_PICTURES} of a head")
    n_bytes = sum(
        len(picture.image.base64 or "") + sum(len(each.mask.counts) for each in picture.objects if each.mask)
        for picture in body.pictures
    )
    by_name = {folded(entry.name): entry for entry in classes}
    return await off_event_loop(n_bytes, partial(_pictures, body.pictures, by_name, limits))


def classes_of(body: HeadInput, before: Sequence[ClassEntry], limits: Limits) -> tuple[ClassEntry, ...]:
    """The classes that a head has, and the ones that a request adds."""
    names = {folded(entry.name) for entry in before}
    new = [
        ClassInput(name=entry) if isinstance(entry, str) else ClassInput(name=entry.name, synonyms=entry.synonyms)
        for entry in body.classes or ()
    ]
    entries = [
        *(ClassInput(name=entry.name, synonyms=list(entry.synonyms)) for entry in before),
        *(entry for entry in new if folded(entry.name) not in names),
    ]
    if not entries:
        raise InvalidValue.of("classes", body.classes, "at least one class of a head")
    if len(entries) > MAX_CLASSES:
        raise InvalidValue.of("classes", f"{len(entries)} classes", f"at most {MAX_CLASSES} of a head")
    return check(entries, True, limits).classes


def with_classes_of(body: HeadInput, reviewed: ReviewedSet) -> HeadInput:
    """A request for a head, with the classes of a set after its own."""
    own = body.classes or []
    names = {folded(entry if isinstance(entry, str) else entry.name) for entry in own}
    return body.model_copy(
        update={"classes": [*own, *(name for name in reviewed.classes if folded(name) not in names)]}
    )


def pictures_of(reviewed: ReviewedSet, classes: Sequence[ClassEntry]) -> list[ReviewedPicture]:
    """The pictures of a set, reviewed for its classes, which are among the head's."""
    in_set = {folded(name) for name in reviewed.classes}
    looked_for = tuple(entry for entry in classes if folded(entry.name) in in_set)
    index = {folded(entry.name): place for place, entry in enumerate(looked_for)}
    pictures = []
    for file in reviewed.pictures:
        field = f"{ARCHIVE}: {file.key[:80]!r}"
        key = check_line(file.key, field, KEY_LENGTH)
        regions = tuple(
            ExampleRegion(Region(mask=MaskInput(size=file.size, counts=counts).rle()), field)
            for _, counts in file.masks
        )
        region_classes = tuple(UNKNOWN if name is None else index[folded(name)] for name, _ in file.masks)
        pictures.append(ReviewedPicture(key, ImageSource(file.jpeg), field, regions, region_classes, looked_for))
    return pictures


def _pictures(
    pictures: Sequence[PictureInput], classes: Mapping[str, ClassEntry], limits: Limits
) -> list[ReviewedPicture]:
    shared: dict[ImageSource, ImageSource] = {}  # equal images are one object
    read = []
    for number, picture in enumerate(pictures):
        field = f"pictures.{number}" if picture.key is None else f"pictures: {picture.key[:80]!r}"
        image = source_of(picture.image, f"{field}.image")
        read.append(_picture(picture, shared.setdefault(image, image), field, classes, limits))
    return read


def _picture(
    picture: PictureInput, image: ImageSource, field: str, classes: Mapping[str, ClassEntry], limits: Limits
) -> ReviewedPicture:
    def named(name: str, where: str) -> str:
        if (key := folded(name)) not in classes:
            raise InvalidValue.of(where, name, "one of the head's classes")
        return key

    if len(picture.objects) > MAX_OBJECTS:
        raise InvalidValue.of(f"{field}.objects", f"{len(picture.objects)} objects", f"at most {MAX_OBJECTS}")
    check_runs((each.mask for each in picture.objects), f"{field}.objects")
    key = None if picture.key is None else check_line(picture.key, f"{field}.key", KEY_LENGTH)
    looked_for = (
        classes
        if picture.reviewed is None
        else ({named(name, f"{field}.reviewed.{place}") for place, name in enumerate(picture.reviewed)})
    )
    of_objects = [
        None if each.label is None else named(each.label, f"{field}.objects.{place}.class")
        for place, each in enumerate(picture.objects)
    ]
    reviewed = [name for name in classes if name in looked_for or name in of_objects]
    if not reviewed:
        raise InvalidValue.of(f"{field}.reviewed", "none", "at least one class that was looked for")
    index = {name: place for place, name in enumerate(reviewed)}
    regions = tuple(
        ExampleRegion(region_of(each, where := f"{field}.objects.{place}", limits), where)
        for place, each in enumerate(picture.objects)
    )
    region_classes = tuple(UNKNOWN if name is None else index[name] for name in of_objects)
    return ReviewedPicture(key, image, field, regions, region_classes, tuple(classes[name] for name in reviewed))
