"""The client against the service's own schemas: what one side learns, the other must."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import BaseModel

import lexiseg_client
from lexiseg_client import Point, Prompt, errors, segmentation, segments
from lexiseg_client.question.options import Options
from lexiseg_client.rpc.messages import ENUMS
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import StreamOptions
from lexiseg_service import errors as service_errors
from lexiseg_service.question import schemas


def kinds_below(root: type[service_errors.ServiceError]) -> list[type[service_errors.ServiceError]]:
    return [kind for child in root.__subclasses__() for kind in (child, *kinds_below(child))]


def test_every_problem_of_the_service_has_an_error_here() -> None:
    problems = {
        kind.type: kind.status
        for kind in kinds_below(service_errors.ServiceError)
        if kind.__module__ == service_errors.__name__
    }

    assert problems.keys() == errors.BY_TYPE.keys()
    for name, status in problems.items():
        by_status = errors.BY_STATUS.get(status, errors.ProblemError)
        assert issubclass(errors.BY_TYPE[name], by_status) or status == 422, name


def test_every_field_of_a_question_can_be_asked() -> None:
    assert Options.__annotations__.keys() | {"classes"} == schemas.Question.model_fields.keys()


def test_every_field_of_a_stream_can_be_asked() -> None:
    fields = {field.name for field in pb.StreamConfig.DESCRIPTOR.fields}

    assert StreamOptions.__annotations__.keys() | {"classes"} == fields


def test_every_field_of_a_prompt_can_be_said() -> None:
    ours = [{field.name for field in dataclasses.fields(kind)} for kind in (Prompt, Point)]

    assert ours[0] == schemas.PromptInput.model_fields.keys()
    assert ours[1] == {field.name for field in dataclasses.fields(schemas.PointInput)}


def test_every_word_of_the_wire_is_known() -> None:
    numbers = {name: set(words.values()) for name, words in ENUMS.items()}

    for name, kind in {
        "task": pb.Task,
        "mask": pb.MaskFormat,
        "refine": pb.Refine,
        "drop_policy": pb.DropPolicy,
    }.items():
        assert numbers[name] | {0} == set(kind.values())


def test_every_field_of_an_answer_can_be_read() -> None:
    # What was asked about is not told again by a server.
    own = {segmentation.Segmentation: {"image"}}
    renamed = {"label_map": "map_file", "confidence": "confidence_png", "mask": "shape"}

    pairs: list[tuple[type[Any], type[BaseModel]]] = [
        (segmentation.Segmentation, schemas.SegmentAnswer),
        (segments.Segment, schemas.SegmentOutput),
        (segments.Timings, schemas.TimingsOutput),
        (segments.CacheUse, schemas.CacheOutput),
        (segments.AnswerWarning, schemas.WarningOutput),
    ]
    for ours, theirs in pairs:
        names = {field.name for field in dataclasses.fields(ours)}
        assert names - own.get(ours, set()) == {renamed.get(name, name) for name in theirs.model_fields}


def test_all_public_names_are_there_and_sorted() -> None:
    assert lexiseg_client.__all__ == sorted(lexiseg_client.__all__)
    assert all(hasattr(lexiseg_client, name) for name in lexiseg_client.__all__)


def test_every_error_is_public() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}

    assert kinds <= set(lexiseg_client.__all__)
