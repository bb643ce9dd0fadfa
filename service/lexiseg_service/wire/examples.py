"""Examples of classes on the wire: regions from gateway to worker, and what the worker made of them."""

from __future__ import annotations

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_model.types import Prompt, Region, Rle
from lexiseg_service.question.examples import ExampleRegion
from lexiseg_service.question.messages import Exemplified, KeptPicture, WorkerRequest
from lexiseg_service.wire.request import (
    decode_question,
    decode_size,
    encode_image,
    encode_origin,
    encode_prompt,
    encode_question,
    read_prompt,
)


def encode_exemplify(request: WorkerRequest) -> internal.ExemplifyRequest:
    """The message; exactly one of image and image id travels."""
    message = internal.ExemplifyRequest(
        question=encode_question(request),
        origin=encode_origin(request),
        regions=[
            internal.ExampleRegion(region=encode_region(shown.region), field=shown.field) for shown in request.regions
        ],
        keep_picture=request.keep_picture,
    )
    encode_image(message, request)
    return message


def decode_exemplify(message: internal.ExemplifyRequest, deadline: float) -> WorkerRequest:
    """The request; `deadline` as time.monotonic() of this process says."""
    image = message.content if message.HasField("content") else None
    image_id = message.image_id if message.HasField("image_id") else None
    regions = tuple(ExampleRegion(read_region(shown.region), shown.field) for shown in message.regions)
    return decode_question(
        message.question,
        message.origin,
        image,
        image_id,
        deadline,
        regions,
        keep_picture=message.keep_picture,
        size=decode_size(message),
    )


def encode_exemplified(made: Exemplified) -> internal.ExemplifyResponse:
    """What a worker made of regions."""
    return internal.ExemplifyResponse(
        image_id=made.image_id,
        digest=made.digest,
        rows=made.rows,
        picture=b"" if made.picture is None else made.picture.image,
        regions=[] if made.picture is None else [encode_region(region) for region in made.picture.regions],
    )


def decode_exemplified(message: internal.ExemplifyResponse) -> Exemplified:
    """What `encode_exemplified` wrote."""
    picture = None
    if message.picture:
        picture = KeptPicture(message.picture, tuple(read_region(region) for region in message.regions))
    return Exemplified(message.image_id, message.digest, tuple(message.rows), picture)


def encode_region(region: Region) -> pb.Example:
    """A region without its image."""
    if region.mask is not None:
        height, width = region.mask.size
        return pb.Example(mask=pb.CocoRle(size=pb.Size(height=height, width=width), counts=region.mask.counts))
    prompt = encode_prompt(region.prompt or Prompt())
    return pb.Example(points=prompt.points, box=prompt.box if prompt.HasField("box") else None)


def read_region(message: pb.Example) -> Region:
    """What `encode_region` wrote."""
    if message.HasField("mask"):
        height, width = message.mask.size.height, message.mask.size.width
        return Region(mask=Rle((height, width), message.mask.counts, 0, (0, 0, width, height)))
    return Region(read_prompt(pb.Prompt(points=message.points, box=message.box if message.HasField("box") else None)))
