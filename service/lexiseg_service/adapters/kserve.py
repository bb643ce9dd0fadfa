"""The Open Inference Protocol (KServe's V2, Triton's): REST at /v2 with binary tensors, and gRPC.

The module goes from the tensors, which both share, to the REST routes and then to the gRPC servicer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import orjson
from fastapi import APIRouter, Depends, FastAPI
from google.protobuf.json_format import ParseDict
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from lexiseg_client.stubs import open_inference_pb2 as pb
from lexiseg_client.stubs.open_inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from lexiseg_service.adapters.kserve_statistics import Statistics
from lexiseg_service.adapters.tools import ask, image_in, read_as, run_lengths
from lexiseg_service.errors import InvalidValue, MalformedRequest, NotReady, ServiceError, SwitchedOff
from lexiseg_service.gateway.adapter import Adapter
from lexiseg_service.gateway.rest.body import refuse_compressed
from lexiseg_service.gateway.rest.routes import as_json, settings_of, use_case_of
from lexiseg_service.gateway.rpc.server import MoreService, check_answer_size, counted
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.question.messages import ImageSource, WorkerAnswer
from lexiseg_service.question.schemas import Question
from lexiseg_service.question.validation import off_event_loop, parse_json, parse_object, validate
from lexiseg_service.settings import Limits
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.server import Context

IMAGE, CLASSES = "image", "classes"  # names of the input tensors
# Parameters that are fields of a question: as they are, or as JSON in a string.
PLAIN = ("vocabulary", "task", "threshold", "refine", "max_side")
STRUCTURED = ("background", "classes", "prompts")
SHARED_MEMORY = "shared_memory_region"
HEADER = "inference-header-content-length"
MAX_DIMENSIONS = 8
PLATFORM = "lexiseg"
Datatype = Literal["BYTES", "FP32", "INT32"]
DATATYPES: dict[str, Datatype] = {"O": "BYTES", "i": "INT32", "f": "FP32"}  # by numpy's kind
LENGTH = struct.Struct("<I")  # of an element of BYTES, in front of it
FIELDS = {"INT32": "int_contents", "FP32": "fp32_contents", "BYTES": "bytes_contents"}
TRITON_TYPES = {"BYTES": "TYPE_STRING", "INT32": "TYPE_INT32", "FP32": "TYPE_FP32"}
INPUTS = (
    {"name": IMAGE, "datatype": "BYTES", "shape": [1]},
    {"name": CLASSES, "datatype": "BYTES", "shape": [-1]},
)
OUTPUTS = (
    {"name": "labels", "datatype": "BYTES", "shape": [-1]},
    {"name": "class_indices", "datatype": "INT32", "shape": [-1]},
    {"name": "scores", "datatype": "FP32", "shape": [-1]},
    {"name": "boxes", "datatype": "INT32", "shape": [-1, 4]},
    {"name": "areas", "datatype": "INT32", "shape": [-1]},
    {"name": "masks", "datatype": "BYTES", "shape": [-1]},
    {"name": "size", "datatype": "INT32", "shape": [2]},
)


class InputTensor(BaseModel):
    """An input tensor: `data`, or a parameter with the number of bytes that follow the JSON."""

    name: str
    datatype: str
    shape: list[Annotated[int, Field(ge=-1, lt=2**63)]] = Field(max_length=MAX_DIMENSIONS)
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}

    @property
    def binary_size(self) -> int | None:
        """The number of bytes of its data behind the JSON; None if the JSON holds them."""
        size = self.parameters.get("binary_data_size")
        return size if isinstance(size, int) and size >= 0 else None


# An input tensor over REST or gRPC, and its elements.
Tensor = InputTensor | pb.ModelInferRequest.InferInputTensor
Parts = list[bytes] | list[str]


class OutputTensor(NamedTuple):
    """An output tensor: an array of int32 or float32, or for BYTES an object array of bytes."""

    name: str
    values: NDArray[Any]

    @property
    def datatype(self) -> Datatype:
        """The protocol's name of the elements' type."""
        return DATATYPES[self.values.dtype.kind]

    def raw(self) -> bytes:
        """Row-major, little-endian; each element of BYTES with its length in front."""
        if self.datatype == "BYTES":
            return b"".join(LENGTH.pack(len(value)) + value for value in self.values)
        return self.values.tobytes()


def unpack(raw: bytes, field: str, max_parts: int) -> list[bytes]:
    """Decode a raw BYTES tensor into its elements.

    Raises:
        InvalidValue: the lengths do not add up to its size, or there are more than `max_parts` elements.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(parts) == max_parts:
            raise InvalidValue.of(field, f"more than {max_parts} elements", f"at most {max_parts}")
        if at + LENGTH.size > len(raw):
            raise InvalidValue.of(field, f"{len(raw)} bytes", "elements with their lengths in front, to the last byte")
        (length,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        if at + length > len(raw):
            raise InvalidValue.of(field, f"an element of {length} bytes", f"at most the {len(raw) - at} that are left")
        parts.append(raw[at : at + length])
        at += length
    return parts


def max_elements(tensor: Tensor, limits: Limits) -> int:
    """The largest number of elements of an input tensor.

    Raises:
        InvalidValue: its name or type is unknown, or it lies in shared memory.
    """
    if tensor.name not in (IMAGE, CLASSES) or tensor.datatype != "BYTES":
        raise InvalidValue.of(f"inputs.{tensor.name}", tensor.datatype, f"`{IMAGE}` or `{CLASSES}`, each BYTES")
    if SHARED_MEMORY in tensor.parameters:
        raise InvalidValue.of(f"inputs.{tensor.name}", SHARED_MEMORY, "elements in the request")
    return 1 if tensor.name == IMAGE else limits.max_classes


def inputs_of(tensors: Iterable[tuple[Tensor, Parts]]) -> tuple[ImageSource, list[str] | None]:
    """The image, and the classes if there is a tensor of them.

    Raises:
        InvalidValue: a tensor has another shape than its elements, a tensor comes twice, or there is no image.
    """
    image, classes = None, None
    names: list[str] = []
    for tensor, parts in tensors:
        field, n = f"inputs.{tensor.name}", len(parts)
        if len(tensor.shape) > MAX_DIMENSIONS or math.prod(tensor.shape) != n:
            raise InvalidValue.of(
                field, f"shape {list(tensor.shape[:MAX_DIMENSIONS])}", f"the shape of the {n} elements received"
            )
        if tensor.name in names:
            raise InvalidValue.of(field, "two tensors", "one")
        names.append(tensor.name)
        if tensor.name == CLASSES:
            classes = [part if isinstance(part, str) else part.decode("utf-8", "replace") for part in parts]
        elif n != 1:
            raise InvalidValue.of(field, f"{n} images", "one")
        else:
            (part,) = parts
            image = image_in(part, field) if isinstance(part, str) else ImageSource(part)
    if image is None:
        raise InvalidValue.of("inputs", ", ".join(names), f"`{IMAGE}`")
    return image, classes


def outputs_of(answer: WorkerAnswer, names: list[str]) -> list[OutputTensor]:
    """The requested output tensors, in that order; all if `names` is empty. A mask is JSON of COCO's run lengths.

    Raises:
        InvalidValue: there is no output of a name, or a name comes twice.
    """
    segments = answer.segments
    outputs: dict[str, tuple[Any, Any]] = {
        "labels": ([(segment.label or "").encode() for segment in segments], object),
        "class_indices": ([-1 if s.class_index is None else s.class_index for s in segments], "<i4"),
        "scores": ([segment.score for segment in segments], "<f4"),
        "boxes": ([segment.bbox for segment in segments] or np.empty((0, 4)), "<i4"),
        "areas": ([segment.area for segment in segments], "<i4"),
        "masks": ([orjson.dumps(run_lengths(segment)) for segment in segments], object),
        "size": (list(answer.size), "<i4"),
    }
    for name in names:
        if name not in outputs:
            raise InvalidValue.of("outputs", name, f"one of {', '.join(outputs)}")
    if len(names) > len(set(names)):  # repeated masks would make a huge answer of a small request
        raise InvalidValue.of("outputs", f"{len(names)} names", "each name once")
    return [OutputTensor(name, np.array(*outputs[name])) for name in names or outputs]


def fields_of(parameters: Mapping[str, Any], classes: list[str] | None, limits: Limits) -> dict[str, Any]:
    """Fields of a question from the parameters of a request and its tensor of classes."""
    fields = {name: parameters[name] for name in PLAIN if name in parameters}
    for name in STRUCTURED:
        if name in parameters:
            sent = parameters[name]
            fields[name] = parse_json(sent, limits) if isinstance(sent, str) else sent
    return fields if classes is None else {**fields, "classes": classes}


def full_name(name: str, version: str) -> str:
    """NAME or NAME@VERSION, as in a question; `version` may be empty."""
    return f"{name}@{version}" if version else name


def server_metadata(*extensions: str) -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": PLATFORM, "version": version("lexiseg"), "extensions": list(extensions)}


def repository_entries(cards: Iterable[Mapping[str, Any]], *, only_ready: bool) -> list[dict[str, Any]]:
    """Triton's index of the repository: every model, or the loaded ones; there is nothing that is loaded by request."""
    ready, not_ready = {"state": "READY", "reason": ""}, {"state": "UNAVAILABLE", "reason": "not loaded"}
    return [
        {"name": card["name"], "version": card["version"], **(ready if card["loaded"] else not_ready)}
        for card in cards
        if card["loaded"] or not only_ready
    ]


def model_metadata(card: Mapping[str, Any]) -> dict[str, Any]:
    """A model's tensors; `classes` may be left out for a vocabulary or for prompts."""
    return {
        "name": card["name"],
        "versions": [card["version"]],
        "platform": PLATFORM,
        "inputs": list(INPUTS),
        "outputs": list(OUTPUTS),
    }


def model_config(card: Mapping[str, Any]) -> dict[str, Any]:
    """A model's tensors as Triton's model configuration; one image a request."""

    def described(tensors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"name": tensor["name"], "data_type": TRITON_TYPES[tensor["datatype"]], "dims": tensor["shape"]}
            for tensor in tensors
        ]

    optional = [{**tensor, "optional": tensor["name"] != IMAGE} for tensor in described(INPUTS)]
    head = {"name": card["name"], "platform": PLATFORM, "backend": PLATFORM, "max_batch_size": 0}
    return {**head, "input": optional, "output": described(OUTPUTS)}


class Index(BaseModel):
    """A request for the index of the repository."""

    ready: bool = False


class WantedOutput(BaseModel):
    """A requested output; a parameter says whether it is sent as bytes."""

    name: str
    parameters: dict[str, Any] = {}


class Infer(BaseModel):
    """The JSON of a request."""

    id: str = ""
    inputs: list[InputTensor] = Field(fail_fast=True)
    outputs: list[WantedOutput] = Field([], fail_fast=True)
    parameters: dict[str, Any] = {}

    def raw_among(self, outputs: Iterable[OutputTensor]) -> set[str]:
        """Names of the outputs that are sent as bytes: those marked so, or all if the request is."""
        by_default = bool(self.parameters.get("binary_data_output"))
        if self.outputs:
            return {output.name for output in self.outputs if output.parameters.get("binary_data", by_default)}
        return {output.name for output in outputs} if by_default else set()


def read(content: bytes, header: str | None, limits: Limits) -> tuple[Infer, ImageSource, list[str] | None]:
    """Parse a REST request: its JSON, the image, and the classes if there are any.

    Args:
        content: the body: JSON, then binary tensors.
        header: HEADER, the number of bytes of the JSON; None: all.
        limits: of the request.

    Raises:
        MalformedRequest, TooLarge: the header or the JSON cannot be read.
        InvalidValue: a tensor or a field is missing or out of range.
    """
    n_digits = len(str(len(content)))  # a longer number is larger, and may be too long for int()
    if header is not None and not (
        header.isascii() and header.isdigit() and len(header) <= n_digits and int(header) <= len(content)
    ):
        raise MalformedRequest(f"{HEADER} {header[:20]!r}; expected at most the body's {len(content)} bytes")
    length = len(content) if header is None else int(header)
    body = validate(Infer, parse_object(content[:length], limits))
    return body, *inputs_of(_tensors(body, content[length:], limits))


def _tensors(body: Infer, behind: bytes, limits: Limits) -> Iterator[tuple[Tensor, Parts]]:
    at = 0
    for tensor in body.inputs:
        field, size = f"inputs.{tensor.name}", tensor.binary_size
        limit = max_elements(tensor, limits)
        if size is None:
            yield tensor, strings(tensor.data or [], field)
        else:
            yield tensor, unpack(behind[at : at + size], field, limit)
            at += size


def strings(data: list[Any], field: str, dimensions: int = MAX_DIMENSIONS) -> list[str]:
    """The elements of a BYTES tensor in JSON, flattened. Raises InvalidValue: one is no string, or lies too deep."""
    flat: list[str] = []
    for entry in data:
        if not isinstance(entry, (list, str)):
            raise InvalidValue.of(field, entry, "strings")
        if isinstance(entry, list) and dimensions == 1:
            raise InvalidValue.of(field, "a deeper list", f"at most {MAX_DIMENSIONS} dimensions")
        flat += strings(entry, field, dimensions - 1) if isinstance(entry, list) else [entry]
    return flat


def infer_response(head: dict[str, Any], outputs: list[OutputTensor], raw: set[str]) -> Response:
    """A REST response; the outputs named in `raw` are bytes behind its JSON."""
    described, tails = [], []
    for output in outputs:
        plain = {"name": output.name, "datatype": output.datatype, "shape": output.values.shape}
        if output.name in raw:
            tails.append(output.raw())
            described.append({**plain, "parameters": {"binary_data_size": len(tails[-1])}})
        else:
            data = output.values.ravel().tolist()
            described.append({**plain, "data": [v.decode() for v in data] if output.datatype == "BYTES" else data})
    described_answer = {**{name: value for name, value in head.items() if value is not None}, "outputs": described}
    if not tails:
        return as_json(described_answer)
    content = orjson.dumps(described_answer)
    headers = {"Inference-Header-Content-Length": str(len(content))}
    return Response(content + b"".join(tails), headers=headers, media_type="application/octet-stream")


async def with_error_field() -> AsyncIterator[None]:
    """Give problem documents the field `error`, which Triton's clients read."""
    try:
        yield
    except ServiceError as error:
        error.extra["error"] = error.detail
        raise


router = APIRouter(prefix="/v2", dependencies=[Depends(with_error_field)])


@router.get("")
async def server() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return server_metadata("binary_tensor_data", "model_configuration", "model_repository", "statistics")


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """Liveness of the process; /livez has details."""
    return {"live": True}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, bool]:
    """Whether requests are answered; 503 if not."""
    health = use_case_of(request).health()
    if not health.ready:
        raise NotReady(health.detail)
    return {"ready": True}


@router.post("/repository/index")
async def repository_index(request: Request) -> Response:
    """Every model and whether it is loaded; `{"ready": true}` lists the loaded ones alone."""
    only_ready = (await read_as(Index, request)).ready if await request.body() else False
    return as_json(repository_entries(use_case_of(request).models(), only_ready=only_ready))


@router.get("/models/stats")
async def all_statistics(request: Request) -> dict[str, Any]:
    """What inferences took, of every model."""
    return {"model_stats": [statistics_of(request).entry(card) for card in use_case_of(request).models()]}


@router.get("/models/{name}/stats")
@router.get("/models/{name}/versions/{version}/stats")
async def statistics(request: Request, name: str, version: str = "") -> dict[str, Any]:
    """What inferences took, of one model."""
    card = use_case_of(request).model(full_name(name, version))
    return {"model_stats": [statistics_of(request).entry(card)]}


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}")
async def model(request: Request, name: str, version: str = "") -> dict[str, Any]:
    """A model's inputs and outputs."""
    return model_metadata(use_case_of(request).model(full_name(name, version)))


@router.get("/models/{name}/config")
@router.get("/models/{name}/versions/{version}/config")
async def config(request: Request, name: str, version: str = "") -> dict[str, Any]:
    """Triton's extension for a model's configuration."""
    return model_config(use_case_of(request).model(full_name(name, version)))


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready")
async def model_ready(request: Request, name: str, version: str = "") -> dict[str, Any]:
    """Whether a model is loaded; 503 if not."""
    if not use_case_of(request).model(full_name(name, version))["loaded"]:
        raise NotReady(f"{full_name(name, version)} is not loaded")
    return {"name": name, "ready": True}


@router.post("/models/{name}/infer")
@router.post("/models/{name}/versions/{version}/infer")
async def infer(request: Request, name: str, version: str = "") -> Response:
    """Segments of one image. The image is an encoded file: bytes, or base64 in JSON."""
    refuse_compressed(request)
    content, limits = await request.body(), settings_of(request).limits
    reading = partial(read, content, request.headers.get(HEADER), limits)
    body, image, classes = await off_event_loop(len(content), reading)
    fields = {**fields_of(body.parameters, classes, limits), "model": full_name(name, version)}
    with statistics_of(request).counted(use_case_of(request).model(full_name(name, version))) as succeed:
        answer = await ask(request, fields, image)
        succeed(answer.timings_ms)
    outputs = outputs_of(answer, [output.name for output in body.outputs])
    digest = answer.model_digest
    head = {"model_name": name, "model_version": version or None, "id": body.id, "parameters": {"digest": digest}}
    return infer_response(head, outputs, body.raw_among(outputs))


@router.api_route("/repository/models/{name}/load", methods=["POST"])
@router.api_route("/repository/models/{name}/unload", methods=["POST"])
@router.api_route("/trace/setting", methods=["GET", "POST"])
@router.api_route("/models/{name}/trace/setting", methods=["GET", "POST"])
@router.api_route("/logging", methods=["GET", "POST"])
@router.api_route("/systemsharedmemory/{call:path}", methods=["GET", "POST"])
@router.api_route("/cudasharedmemory/{call:path}", methods=["GET", "POST"])
async def not_served(request: Request) -> None:
    """Triton's other extensions."""
    raise SwitchedOff(
        f"{request.url.path[:80]}: clients load no models here, and set up no shared memory, traces or logs"
    )


def statistics_of(request: Request) -> Statistics:
    """The statistics of the gateway."""
    statistics: Statistics = request.app.state.kserve_statistics
    return statistics


SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


def adapter(app: FastAPI) -> Adapter:
    """The routes, and the gRPC service."""
    app.state.kserve_statistics = Statistics()
    servicer = Servicer(app.state.use_case, app.state.settings.limits, app.state.metrics, app.state.kserve_statistics)
    added = MoreService(SERVICE, lambda server: add_GRPCInferenceServiceServicer_to_server(servicer, server))
    return Adapter([router], services=[added], use="curl -X POST ADDRESS/repository/index; gRPC at the port of gRPC")


class Servicer(GRPCInferenceServiceServicer):
    """The methods of `inference.GRPCInferenceService`."""

    def __init__(self, use_case: UseCase, limits: Limits, metrics: Metrics, statistics: Statistics) -> None:
        self._use_case = use_case
        self._limits = limits
        self._metrics = metrics
        self._statistics = statistics

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """Liveness of the process."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Whether questions are answered."""
        return pb.ServerReadyResponse(ready=self._use_case.health().ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Whether a model is loaded."""
        return pb.ModelReadyResponse(ready=self._use_case.model(full_name(request.name, request.version))["loaded"])

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        """Name, version and extensions of the server."""
        return pb.ServerMetadataResponse(**server_metadata())

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        """A model's inputs and outputs."""
        return pb.ModelMetadataResponse(
            **model_metadata(self._use_case.model(full_name(request.name, request.version)))
        )

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        """Triton's extension for a model's configuration."""
        config = model_config(self._use_case.model(full_name(request.name, request.version)))
        return pb.ModelConfigResponse(config=ParseDict(config, pb.ModelConfig()))

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        """Triton extension: every model and whether it is loaded."""
        entries = repository_entries(self._use_case.models(), only_ready=request.ready)
        return pb.RepositoryIndexResponse(models=[pb.RepositoryIndexResponse.ModelIndex(**entry) for entry in entries])

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        """Triton extension: what inferences took, of one model or of all."""
        name = full_name(request.name, request.version)
        cards = [self._use_case.model(name)] if name else self._use_case.models()
        return ParseDict({"model_stats": list(map(self._statistics.entry, cards))}, pb.ModelStatisticsResponse())

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """Segments of one image; output tensors are raw if the input tensors are."""
        async with counted(context, self._metrics) as caller:
            question, image = await off_event_loop(request.ByteSize(), partial(question_of, request, self._limits))
            head = pb.ModelInferResponse(
                model_name=request.model_name, model_version=request.model_version, id=request.id
            )
            names, raw = [output.name for output in request.outputs], bool(request.raw_input_contents)
            del request  # frees its copy of the image
            card = self._use_case.model(full_name(head.model_name, head.model_version))
            with self._statistics.counted(card) as succeed:
                answer = await self._use_case.segment(question, image, caller)
                succeed(answer.timings_ms)
            head.parameters["digest"].string_param = answer.model_digest
            for output in outputs_of(answer, names):
                add_output(head, output, raw)
            check_answer_size(head, self._limits)
        return head


def question_of(request: pb.ModelInferRequest, limits: Limits) -> tuple[Question, ImageSource]:
    """Convert a gRPC request to a question. Raises InvalidValue: a tensor or a field is missing or out of range."""
    image, classes = inputs_of(_rpc_tensors(request, limits))
    fields = fields_of(_values(request.parameters), classes, limits)
    fields["model"] = full_name(request.model_name, request.model_version) or None
    return validate(Question, fields), image


def _rpc_tensors(request: pb.ModelInferRequest, limits: Limits) -> Iterator[tuple[Tensor, Parts]]:
    """The inputs with their elements, from `contents` or `raw_input_contents`.

    Raises:
        InvalidValue: a tensor has its elements in both, or there is not one raw entry for each tensor.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidValue.of(
            "raw_input_contents", f"{len(raw)} entries", f"one for each of {len(request.inputs)} inputs"
        )
    for place, tensor in enumerate(request.inputs):
        field, limit = f"inputs.{tensor.name}", max_elements(tensor, limits)
        typed = tensor.contents.bytes_contents
        if raw and tensor.HasField("contents"):
            raise InvalidValue.of(field, "contents beside raw_input_contents", "one of the two")
        if len(typed) > limit:
            raise InvalidValue.of(field, f"{len(typed)} elements", f"at most {limit}")
        yield tensor, unpack(raw[place], field, limit) if raw else list(typed)


def _values(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    kinds = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], kind) for name, kind in kinds.items() if kind is not None}


def add_output(answer: pb.ModelInferResponse, output: OutputTensor, raw: bool) -> None:
    """Add an output tensor to a gRPC answer: raw, or in the field of its type."""
    described = answer.outputs.add(name=output.name, datatype=output.datatype, shape=output.values.shape)
    if raw:
        answer.raw_output_contents.append(output.raw())
        return
    getattr(described.contents, FIELDS[output.datatype]).extend(output.values.ravel().tolist())
