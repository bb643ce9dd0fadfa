"""The words of requests and answers as the enums of the wire. What is unspecified there has no word here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.types import Refinement, Task
from lexiseg_service.question.messages import MaskFormat
from lexiseg_service.question.stream_messages import DropPolicy

TASKS: Final[Mapping[Task, pb.Task.ValueType]] = {
    "semantic": pb.TASK_SEMANTIC,
    "instance": pb.TASK_INSTANCE,
    "panoptic": pb.TASK_PANOPTIC,
    "prompt": pb.TASK_PROMPT,
    "everything": pb.TASK_EVERYTHING,
}
MASKS: Final[Mapping[MaskFormat, pb.MaskFormat.ValueType]] = {
    "rle": pb.MASK_FORMAT_RLE,
    "polygon": pb.MASK_FORMAT_POLYGON,
    "png": pb.MASK_FORMAT_PNG,
    "none": pb.MASK_FORMAT_NONE,
}
REFINEMENTS: Final[Mapping[Refinement, pb.Refine.ValueType]] = {
    "none": pb.REFINE_NONE,
    "pamr": pb.REFINE_PAMR,
    "regions": pb.REFINE_REGIONS,
}
DROP_POLICIES: Final[Mapping[DropPolicy, pb.DropPolicy.ValueType]] = {
    "none": pb.DROP_POLICY_NONE,
    "latest": pb.DROP_POLICY_LATEST,
}
Word = TypeVar("Word", bound=str)


def word_of(words: Mapping[Word, int], number: int) -> Word | None:
    """The word of an enum's number; None for "unspecified" and for a number that a newer release may know."""
    return next((word for word, known in words.items() if known == number), None)
