"""The order in which labelling pictures helps a head: the ones that it is least sure of first.

Before all others come pictures with a class that no reviewed picture shows, as words find it there.
"""

from __future__ import annotations

import asyncio
import io
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from lexiseg_labels.picture_names import is_picture_name
from lexiseg_model.files.archives import PLAIN, open_zip
from lexiseg_model.files.names import is_hidden
from lexiseg_model.vocabulary.heads import MAX_PICTURES
from lexiseg_service.errors import InvalidValue, ServiceError
from lexiseg_service.gateway.heads.reviewed_set import MAX_UNPACKED_BYTES
from lexiseg_service.gateway.image_requests import Count, Pace, gather_limited, with_field
from lexiseg_service.gateway.uploaded_archive import ARCHIVE, BYTES_PER_ENTRY, MAX_FILES, parts_inside, unpacked_bytes
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.messages import ImageSource, WorkerRequest

_P = np.arange(1, 255) / 255
# In bits, by the confidence of a pixel in 1/255: of the class that won it against all others.
ENTROPY = np.concatenate([[0.0], -_P * np.log2(_P) - (1 - _P) * np.log2(1 - _P), [0.0]])


class Source(NamedTuple):
    """A picture that could be labelled: its key, None for the id of its image, how it is read, and its field."""

    key: str | None
    open: Callable[[], ImageSource]
    field: str


class Ranked(NamedTuple):
    """A picture in the order: whether it shows a class without pictures, and the mean entropy of its pixels in bits."""

    key: str
    shows_unseen: bool
    entropy: float


def sources_in(content: BinaryIO, max_image_bytes: int) -> list[Source]:
    """The pictures of a client's zip, which is not closed before they are read."""
    unpacked_bytes(content, MAX_UNPACKED_BYTES)
    archive, lock = open_zip(content, MAX_FILES * BYTES_PER_ENTRY), threading.Lock()

    def read(entry: zipfile.ZipInfo, field: str) -> ImageSource:
        if entry.compress_type not in PLAIN:
            raise InvalidValue.of(field, f"compression {entry.compress_type}", "a stored or deflated file")
        try:
            with lock, archive.open(entry) as member:
                picture = member.read(max_image_bytes + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise InvalidValue.of(field, f"a file that cannot be read ({error})", "a picture") from None
        if len(picture) > max_image_bytes:
            raise InvalidValue.of(field, f"more than {max_image_bytes} bytes", "a smaller picture")
        return ImageSource(picture)

    sources = []
    for entry in archive.infolist():
        name, field = entry.filename, f"{ARCHIVE}: {entry.filename[:80]!r}"
        if is_picture_name(name) and not any(map(is_hidden, parts_inside(name))):
            sources.append(Source(name, partial(read, entry, field), field))
    return sources


def mean_entropy(confidence: bytes) -> float:
    """The mean entropy of pixels in bits, by their confidence as a PNG."""
    counts = Image.open(io.BytesIO(confidence)).histogram()[:256]
    return float(np.dot(counts, ENTROPY) / sum(counts))


async def ranked(
    use_case: UseCase, sources: Sequence[Source], request: WorkerRequest, unseen: Set[str], count: Count
) -> list[Ranked]:
    """The pictures in order. `request` asks with the head; `unseen` are its classes without pictures.

    `count` as of `gather_limited`.
    """
    if not 1 <= len(sources) <= MAX_PICTURES:
        raise InvalidValue.of("images", f"{len(sources)} pictures", f"1 to {MAX_PICTURES}")
    question = replace(request, mask="none", confidence=True)
    pace = Pace("images", len(sources), request.deadline, 1.0, "order the others by another request")

    async def rank(source: Source) -> Ranked:
        image = await asyncio.to_thread(source.open)
        try:
            answer = await use_case.backend.segment(await use_case.images.with_image(question, image, source.field))
        except ServiceError as error:
            raise with_field(error, source.field) from None
        pace.check()
        entropy = await asyncio.to_thread(mean_entropy, answer.confidence or b"")
        shows_unseen = any(segment.label in unseen for segment in answer.segments)
        return Ranked(source.key or answer.image_id, shows_unseen, entropy)

    of_each = await gather_limited([partial(rank, source) for source in sources], request.deadline, count)
    return sorted(of_each, key=lambda one: (not one.shows_unseen, -one.entropy))
