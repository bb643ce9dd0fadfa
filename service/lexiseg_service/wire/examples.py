"""Questions about regions as messages: rows of examples, and lessons."""

from __future__ import annotations

from lexiseg_client.rpc.fields import read, write
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_service.question.backend import Exemplified, Taught
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.wire.messages import KINDS, write_about, write_region


def encode_exemplify(request: WorkerRequest) -> internal.ExemplifyRequest:
    return write(internal.ExemplifyRequest, request, regions=_regions(request), **write_about(request))


def encode_teach(request: WorkerRequest) -> internal.TeachRequest:
    return write(internal.TeachRequest, request, regions=_regions(request), **write_about(request))


def encode_exemplified(exemplified: Exemplified) -> internal.ExemplifyResponse:
    return write(internal.ExemplifyResponse, exemplified, regions=map(write_region, exemplified.regions))


def decode_exemplified(message: internal.ExemplifyResponse) -> Exemplified:
    return Exemplified(**read(message, KINDS))


def encode_taught(taught: Taught) -> internal.TeachResponse:
    return write(internal.TeachResponse, taught)


def decode_taught(message: internal.TeachResponse) -> Taught:
    return Taught(**read(message, KINDS))


def _regions(request: WorkerRequest) -> list[internal.ExampleRegion]:
    return [internal.ExampleRegion(region=write_region(each.region), field=each.field) for each in request.regions]
