"""Messages of the gRPC protocol: tensors go as they came, raw or by their type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lexiseg_client.stubs import open_inference_pb2 as pb
from lexiseg_service.adapters.kserve.describing import named
from lexiseg_service.adapters.kserve.elements import unpacked
from lexiseg_service.adapters.kserve.inputs import Input, inputs_of, most_of
from lexiseg_service.adapters.kserve.parameters import fields_of
from lexiseg_service.adapters.kserve.tensors import DTYPES, OutputTensor
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.asked import Asked
from lexiseg_service.question.findings import validate
from lexiseg_service.question.schemas import Question
from lexiseg_service.settings import Limits

FIELDS = {"INT32": "int_contents", "FP32": "fp32_contents", "BYTES": "bytes_contents"}


def asked_of(request: pb.ModelInferRequest, limits: Limits) -> Asked:
    """An image and a question.

    Raises:
        InvalidValue: a tensor or a field is missing or out of range.
    """
    image, url, classes = inputs_of(_tensors(request, limits))
    fields = fields_of(_values(request.parameters), classes, limits)
    fields["model"] = named(request.model_name, request.model_version) or None
    return Asked(image, validate(Question, fields), image_url=url)


def _tensors(request: pb.ModelInferRequest, limits: Limits) -> Iterator[Input]:
    """The inputs with their elements, which stand in one place or the other.

    Raises:
        InvalidValue: they stand in both, or in neither.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidValue.of(
            "raw_input_contents", f"{len(raw)} entries", f"one for each of {len(request.inputs)} inputs"
        )
    for place, tensor in enumerate(request.inputs):
        field, most = f"inputs.{tensor.name}", most_of(tensor.name, tensor.datatype, limits)
        typed = tensor.contents.bytes_contents
        if raw and tensor.HasField("contents"):
            raise InvalidValue.of(field, "contents beside raw_input_contents", "one of the two")
        if len(typed) > most:
            raise InvalidValue.of(field, f"{len(typed)} elements", f"at most {most}")
        parts = unpacked(raw[place], field, most) if raw else list(typed)
        yield Input(tensor.name, tensor.datatype, tensor.shape, parts)


def _values(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    kinds = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], kind) for name, kind in kinds.items() if kind is not None}


def add(answer: pb.ModelInferResponse, output: OutputTensor, raw: bool) -> None:
    """Puts an output into an answer, as bytes or by its type."""
    described = answer.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
    if raw:
        answer.raw_output_contents.append(output.raw())
        return
    values: Any = output.values
    if output.datatype != "BYTES":
        values = np.asarray(values, DTYPES[output.datatype]).reshape(-1).tolist()
    getattr(described.contents, FIELDS[output.datatype]).extend(values)
