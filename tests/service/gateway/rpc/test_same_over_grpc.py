"""REST and gRPC agree: the same question asks the worker the same, the same mistake gets the same error."""

import base64
import json
from dataclasses import replace
from typing import Any

import grpc
import httpx
from google.protobuf.json_format import MessageToDict

from lexiseg_client.images import ImageId, ImageUrl, Source, Upload
from lexiseg_client.rpc.details import problem_in
from lexiseg_client.rpc.messages import segment_request
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2 import Problem
from lexiseg_model.types import Point, Prompt
from lexiseg_service.image.reader import read_header
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Limits
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rpc.calling import IMAGE, Gateway, calling, failure

PNG = IMAGE.content
TINY_PNG = pictures.encoded(pictures.small("china", 8))
GIF = pictures.encoded(pictures.small(), "GIF")
HEIGHT, WIDTH = read_header(PNG, Limits()).size
CLICK, BOX = {"x": 4.5, "y": 3}, [0, 0, 8, 5.5]
SOFA = {"name": "sofa", "synonyms": ["couch"], "threshold": 0.3}


def request_of(body: dict[str, Any], image: bytes = PNG) -> pb.SegmentRequest:
    """The message that says what a JSON body says, as the client writes it."""
    question = dict(body)
    match question.pop("image", {}):
        case {"url": url}:
            source: Source = ImageUrl(url)
        case {"id": image_id}:
            source = ImageId(image_id)
        case _:
            source = Upload(image, "")
    return segment_request(source, question)


async def ask_rest(gateway: Gateway, body: dict[str, Any], image: bytes = PNG) -> httpx.Response:
    content = json.dumps({"image": {"base64": base64.b64encode(image).decode()}, **body})  # with NaN, unlike httpx's
    return await gateway.rest.post("/segment", content=content, headers={"content-type": "application/json"})


def asked(backend: KnownBackend) -> list[WorkerRequest]:
    """What the backend was asked, without what differs from one request to the next."""
    return [replace(request, request_id="", deadline=0.0) for request in backend.asked]


GOOD: dict[str, dict[str, Any]] = {
    "one class": {"classes": ["sky"]},
    "synonyms and a threshold": {"classes": ["sky", SOFA]},
    "a named vocabulary": {"vocabulary": "voc21"},
    "a meaning": {"classes": ["sky", {"name": "crane", "gloss": "large wading bird"}]},
    "everything": {
        "classes": ["sky"], "task": "semantic", "model": "colours@1", "mask": "polygon", "refine": "none",
        "overlay": True, "confidence": True, "threshold": 0.2, "doubtful": True, "max_side": 64,
        "language": "es",
    },
    "a label map": {"classes": ["sky"], "mask": "png"},
    "no masks": {"classes": ["sky"], "mask": "none", "refine": "none"},
    "no background": {"classes": ["sky"], "background": False},
    "background": {"classes": ["sky"], "background": True},
    "a background threshold": {"classes": ["sky"], "background": {"threshold": 0.4}},
    "background words": {"classes": ["sky"], "background": {"words": ["wall", "sea"]}},
    "no background words": {"classes": ["sky"], "background": {"words": []}},
    "a name as long as may be": {"classes": ["x" * 128]},
    "names that are cleaned": {"classes": ["  sky ", "cafe\u0301"]},
    "panoptic": {"classes": ["sky"], "task": "panoptic"},
    "a click": {"prompts": [{"points": [CLICK]}]},
    "a click and what it names": {"prompts": [{"points": [CLICK]}], "vocabulary": "voc21", "threshold": 0.2},
    "clicks on and off, and a box": {
        "classes": ["sky", "sea"], "task": "prompt", "background": False, "overlay": True,
        "prompts": [{"points": [CLICK, {"x": 1, "y": 2.25, "positive": False}], "box": [0, 0, 9.5, 12]}],
    },
    "a negative point in a box": {"prompts": [{"points": [{**CLICK, "positive": False}], "box": [0, 0, 9, 12]}]},
    "several prompts": {"prompts": [{"box": [0, 0, WIDTH, HEIGHT]}, {"points": [{"x": WIDTH, "y": HEIGHT}]}]},
    "as many prompts and points as may be": {"prompts": [{"points": [CLICK] * 32, "box": [0, 0, 1, 1]}] * 256},
    "a score for prompts": {"prompts": [{"points": [CLICK]}], "threshold": 0.5},
    "no prompts": {"classes": ["sky"], "prompts": []},
    "an image sent before": {"classes": ["sky"], "image": {"id": "0" * 32}},
}  # fmt: skip
BAD: dict[str, tuple[dict[str, Any], bytes]] = {
    "no classes": ({}, PNG),
    "an empty class": ({"classes": [""]}, PNG),
    "a blank class": ({"classes": ["  "]}, PNG),
    "a class twice": ({"classes": ["sky", "Sky"]}, PNG),
    "a class twice in another form": ({"classes": ["caf\u00e9", " Cafe\u0301\t"]}, PNG),
    "a control character": ({"classes": ["a\x00b"]}, PNG),
    "a control character beyond ASCII": ({"classes": ["a\x85b"]}, PNG),
    "a long name": ({"classes": ["x" * 129]}, PNG),
    "an empty synonym": ({"classes": [{"name": "sofa", "synonyms": [""]}]}, PNG),
    "too many synonyms": ({"classes": [{"name": "sofa", "synonyms": [str(n) for n in range(9)]}]}, PNG),
    "too many classes": ({"classes": [str(number) for number in range(2049)]}, PNG),
    "a threshold out of range": ({"classes": ["sky"], "threshold": 1.5}, PNG),
    "a class's threshold out of range": ({"classes": [{"name": "sky", "threshold": -1.0}]}, PNG),
    "a threshold without background": ({"classes": ["sky"], "background": False, "threshold": 0.5}, PNG),
    "a background threshold out of range": ({"classes": ["sky"], "background": {"threshold": 2.0}}, PNG),
    "a language by its name": ({"classes": ["sky"], "language": "Spanish"}, PNG),
    "a side out of range": ({"classes": ["sky"], "max_side": 7}, PNG),
    "classes and a vocabulary": ({"classes": ["sky"], "vocabulary": "voc20"}, PNG),
    "an unknown vocabulary": ({"vocabulary": "nothing"}, PNG),
    "an unknown model": ({"classes": ["sky"], "model": "nothing"}, PNG),
    "an unknown version": ({"classes": ["sky"], "model": "colours@9"}, PNG),
    "a task that the model lacks": ({"classes": ["sky"], "task": "instance"}, PNG),
    "an empty image": ({"classes": ["sky"]}, b""),
    "no image at all": ({"classes": ["sky"]}, b"nothing of the kind"),
    "a kind that is not taken": ({"classes": ["sky"]}, GIF),
    "half an image": ({"classes": ["sky"]}, PNG[:20]),
    "an image that is too small": ({"classes": ["sky"]}, TINY_PNG),
    "a URL": ({"classes": ["sky"], "image": {"url": "https://lexiseg.test/a.png"}}, b""),
    "prompts for another task": ({"classes": ["sky"], "task": "panoptic", "prompts": [{"points": [CLICK]}]}, PNG),
    "prompts for the semantic task": ({"classes": ["sky"], "task": "semantic", "prompts": [{"box": BOX}]}, PNG),
    "the task without its prompts": ({"classes": ["sky"], "task": "prompt"}, PNG),
    "the task without anything": ({"task": "prompt"}, PNG),
    "a prompt that shows nothing": ({"prompts": [{"points": [CLICK]}, {}]}, PNG),
    "negative points alone": ({"prompts": [{"points": [{**CLICK, "positive": False}]}]}, PNG),
    "a box turned round": ({"prompts": [{"box": BOX}, {"box": [9, 0, 8, 5]}]}, PNG),
    "a box without height": ({"prompts": [{"box": [0, 5, 8, 5]}]}, PNG),
    "a point beside the image": ({"prompts": [{"points": [CLICK, {"x": WIDTH + 0.5, "y": 1}]}]}, PNG),
    "a point above the image": ({"prompts": [{"points": [{"x": 0, "y": -0.001}]}]}, PNG),
    "a box beyond the image": ({"prompts": [{"box": [0, 0, WIDTH, HEIGHT + 1]}]}, PNG),
    "several coordinates outside": (
        {"prompts": [{"points": [{"x": WIDTH + 0.5, "y": -3}, CLICK]}, {"box": [0, 0, WIDTH, HEIGHT + 1.5]}]}, PNG,
    ),
    "too many prompts": ({"prompts": [{"points": [CLICK]}] * 257}, PNG),
    "too many points": ({"prompts": [{"box": BOX}, {"points": [CLICK] * 33}]}, PNG),
    "no background without classes": ({"prompts": [{"box": BOX}], "background": False}, PNG),
    "background words without classes": ({"prompts": [{"box": BOX}], "background": {"words": ["wall"]}}, PNG),
    "a threshold of prompts without background": (
        {"prompts": [{"box": BOX}], "classes": ["sky"], "background": False, "threshold": 0.5}, PNG,
    ),
    "classes and a vocabulary for prompts": (
        {"prompts": [{"box": BOX}], "classes": ["sky"], "vocabulary": "voc20"}, PNG,
    ),
    "an empty URL": ({"classes": ["sky"], "image": {"url": ""}}, b""),
}  # fmt: skip


async def test_the_same_question_asks_the_worker_the_same() -> None:
    backend = KnownBackend()
    async with calling(backend=backend) as gateway:
        for name, body in GOOD.items():
            rest = await ask_rest(gateway, body)
            await gateway.stub.Segment(request_of(body))

            assert rest.status_code == 200, (name, rest.text)
            by_rest, by_grpc = asked(backend)[-2:]
            assert by_rest == by_grpc, name
    assert (by_grpc.image, by_grpc.image_id) == (None, "0" * 32)  # of the last question


async def test_the_same_mistake_gets_the_same_error() -> None:
    backend = KnownBackend()
    async with calling(backend=backend) as gateway:
        for name, (body, image) in BAD.items():
            over_rest = (await ask_rest(gateway, body, image)).json()
            problem = problem_of(await failure(gateway.stub.Segment(request_of(body, image))))

            same = ("type", "title", "status")
            assert [getattr(problem, field) for field in same] == [over_rest[field] for field in same], name
            errors = over_rest.get("errors", [])
            assert [entry.field for entry in problem.errors] == [entry["field"] for entry in errors], name
            if {"classes", "prompts"} & set(body) or not errors:  # an empty list of messages is no list
                assert problem.detail == over_rest["detail"], name
                assert [MessageToDict(entry) for entry in problem.errors] == errors, name
    assert backend.asked == []


async def test_a_coordinate_that_a_message_leaves_out_is_zero() -> None:
    backend = KnownBackend()
    message = pb.SegmentRequest(image=IMAGE)
    message.prompts.add(points=[pb.Point(y=3), pb.Point(x=4.5)], box=pb.Box(x1=8, y1=5))
    async with calling(backend=backend) as gateway:
        await gateway.stub.Segment(message)

    (request,) = backend.asked
    assert request.prompts == (Prompt((Point(0, 3), Point(4.5, 0)), (0, 0, 8, 5)),)


async def test_errors_that_only_messages_can_have_name_their_field() -> None:
    wrong = {
        "task": pb.SegmentRequest(image=IMAGE, classes=[pb.Class(name="sky")], task=99),  # type: ignore[arg-type]
        "image": pb.SegmentRequest(classes=[pb.Class(name="sky")]),
        "background.enabled": request_of({"classes": ["sky"], "background": {"threshold": 0.1}}),
    }
    wrong["background.enabled"].background.enabled = False
    async with calling() as gateway:
        for field, message in wrong.items():
            problem = problem_of(await failure(gateway.stub.Segment(message)))

            assert [entry.field for entry in problem.errors] == [field]


def problem_of(failed: grpc.aio.AioRpcError) -> Problem:
    """The problem among the details of a failed call."""
    problem = problem_in(failed.trailing_metadata())
    assert problem is not None
    assert "Traceback" not in (failed.details() or "")
    return problem
