"""A running lexiseg server as the command line asks it: through the client. No model and no torch here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lexiseg_client import (
    LexisegError,
    ProblemError,
    Segmentation,
    Unauthorized,
    Unreachable,
    UnreadableAnswer,
)
from lexiseg_client import Segment as ClientSegment
from lexiseg_client.address import PRINTABLE, read_address
from lexiseg_model.types import AnswerWarning, Rle, Segment, Task
from lexiseg_service.errors import InvalidValue, ServiceError
from lexiseg_service.question.messages import CacheUse, Timings, WorkerAnswer
from lexiseg_service.settings import Settings

TASKS: dict[str, Task] = {
    "semantic": "semantic",
    "instance": "instance",
    "panoptic": "panoptic",
    "prompt": "prompt",
    "everything": "everything",
}


class ServerFailure(ServiceError):
    """What a server said instead of the answer, or that it said nothing."""


@dataclass(frozen=True)
class Server:
    """Where a server is, as the client takes it, and the key that it is shown."""

    url: str
    key: str | None = field(repr=False)

    @classmethod
    def of(cls, url: str, settings: Settings) -> Server:
        """A URL, or HOST:PORT of gRPC, with the key of the settings.

        Raises:
            InvalidValue: the address or the key cannot be one.
        """
        key = None if settings.api_key is None else settings.api_key.get_secret_value()
        if key is not None and not PRINTABLE.fullmatch(key):
            raise InvalidValue.of("--api-key / LEXISEG_API_KEY", "***", "printable characters without blanks")
        try:
            read_address(url, None, key)
        except ValueError as error:
            raise InvalidValue(f"--server: {error}") from None
        return cls(url.rstrip("/"), key)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """The client's errors as those of a command.

        Raises:
            ServerFailure: the server refused, or did not answer, or is none of ours.
        """
        try:
            yield
        except LexisegError as error:
            raise self.failure(error) from None

    def failure(self, error: LexisegError) -> ServerFailure:
        """What an error means to whoever typed the command."""
        if isinstance(error, Unauthorized):
            why = error.problem.detail
            return ServerFailure(
                f"the server lets only its API keys in; give one by LEXISEG_API_KEY or --api-key ({why})"
            )
        if isinstance(error, ProblemError):
            return ServerFailure(error.problem.detail)
        if isinstance(error, Unreachable):
            question = "; is it running?" if str(error).startswith("no server answers") else ""
            return ServerFailure(f"{error}{question}")
        if isinstance(error, UnreadableAnswer):
            return ServerFailure(f"what answers at {self.url} is no lexiseg server")
        return ServerFailure(str(error))


def answer_of(segmentation: Segmentation) -> WorkerAnswer:
    """A server's answer as one that was computed here.

    Raises:
        UnreadableAnswer: a mask is missing.
    """
    times, cache = segmentation.timings_ms, segmentation.cache
    return WorkerAnswer(
        image_id=segmentation.image_id,
        model=segmentation.model,
        model_digest=segmentation.model_digest,
        task=TASKS.get(segmentation.task, "semantic"),
        size=segmentation.size,
        segments=tuple(map(_segment, segmentation.segments)),
        timings=Timings(times.decode, times.queue, times.text, times.image, times.post, times.total),
        cache=CacheUse(cache.text_hits, cache.text_misses, cache.features),
        overlay=segmentation.overlay,
        absent=segmentation.absent,
        warnings=tuple(AnswerWarning(warning.type, warning.detail, warning.field) for warning in segmentation.warnings),
    )


def _segment(segment: ClientSegment) -> Segment:
    rle = segment.rle
    if rle is None:
        raise UnreadableAnswer("a mask came in another format than asked for")
    height, width = rle["size"]
    return Segment(
        id=segment.id,
        label=segment.label,
        class_index=segment.class_index,
        score=segment.score,
        mask=Rle((height, width), rle["counts"], segment.area, segment.bbox),
        is_thing=segment.is_thing,
        prompt_index=segment.prompt_index,
        mask_index=segment.mask_index,
        quality=segment.quality,
    )
