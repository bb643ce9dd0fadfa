"""Prompts and panoptic segments through a real gateway and real engines, in one process and apart, by both doors."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from PIL import Image

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.types import Task
from lexiseg_service.fleet.remote import RemoteBackend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.server import GrpcServer
from lexiseg_service.worker.grpc_server import worker_server
from tests import coco, pictures
from tests.model.stand_in import QUALITIES, SURE, ColourSegmenter, picture
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.rpc.calling import Gateway, calling
from tests.service.gateway.rpc.test_same_over_grpc import ask_rest, problem_in, request_of

TASKS: tuple[Task, ...] = ("semantic", "instance", "panoptic", "prompt")
SOON = 20.0  # seconds; a hundredth is usual
CELL = 8  # pixels
ROWS = ["rrkbbkrr", "rrkbbkrr", "kkkkkkkk"]
HEIGHT, WIDTH = CELL * len(ROWS), CELL * len(ROWS[0])
PICTURE = pictures.encoded(Image.fromarray(np.kron(picture(ROWS), np.ones((CELL, CELL, 1), np.uint8))))
ON_RED = {"x": 4, "y": 4}
ON_BLUE = {"x": 30.5, "y": 9}
SQUARE = 4 * CELL**2  # pixels of a region


@asynccontextmanager
async def in_one_process() -> AsyncIterator[tuple[Gateway, list[EngineBackend]]]:
    engine = EngineBackend(ColourSegmenter(tasks=TASKS))
    try:
        async with asyncio.timeout(SOON), calling(backend=engine) as gateway:
            yield gateway, [engine]
    finally:
        engine.engine.close(SOON)


@asynccontextmanager
async def apart() -> AsyncIterator[tuple[Gateway, list[EngineBackend]]]:
    """Three workers, so that a question that went anywhere would be seen to."""
    engines = [EngineBackend(ColourSegmenter(tasks=TASKS)) for _ in range(3)]
    servers = [worker_server(engine, Settings(worker_port=0, drain_seconds=5), Metrics()) for engine in engines]
    async with asyncio.timeout(SOON), AsyncExitStack() as stack:
        for engine in engines:
            stack.callback(engine.engine.close, SOON)
        stack.push_async_callback(close_all, servers)
        for server in servers:
            await server.start()
        backend = RemoteBackend(Settings(workers=tuple(f"127.0.0.1:{server.port}" for server in servers)), Metrics())
        gateway = await stack.enter_async_context(calling(backend=backend))
        while not backend.health().detail.startswith("3 of"):
            await asyncio.sleep(0.01)
        yield gateway, engines


async def close_all(servers: list[GrpcServer]) -> None:
    """At once: each waits for what may be on its way to it."""
    await asyncio.gather(*(server.close() for server in servers))


@pytest.fixture(params=[in_one_process, apart], ids=["in one process", "apart"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Gateway, list[EngineBackend]]]:
    async with request.param() as gateway_and_engines:
        yield gateway_and_engines


@pytest.fixture
def gateway(served: tuple[Gateway, list[EngineBackend]]) -> Gateway:
    return served[0]


@pytest.fixture
def segmenters(served: tuple[Gateway, list[EngineBackend]]) -> list[ColourSegmenter]:
    all_segmenters = [engine.engine.models.acquire("colours").result().segmenter for engine in served[1]]
    return [segmenter for segmenter in all_segmenters if isinstance(segmenter, ColourSegmenter)]


async def ask(gateway: Gateway, **body: Any) -> dict[str, Any]:
    """The answer of REST, after that of gRPC was found to be the same."""
    rest = await ask_rest(gateway, body, PICTURE)
    assert rest.status_code == 200, rest.text
    answer: dict[str, Any] = rest.json()
    over_grpc = await gateway.stub.Segment(request_of(body, PICTURE))
    assert [segment_of(segment) for segment in over_grpc.segments] == [
        {name: value for name, value in segment.items() if name not in ("mask", "track_id")}
        for segment in answer["segments"]
    ]
    assert [segment.mask.coco_rle.counts for segment in over_grpc.segments] == [
        (segment["mask"] or {}).get("counts", "") for segment in answer["segments"]
    ]
    assert pb.Task.Name(over_grpc.task) == f"TASK_{answer['task'].upper()}"
    return answer


def segment_of(message: pb.Segment) -> dict[str, Any]:
    """A message's segment under the names of the JSON, without its mask."""
    fields = MessageToDict(message, preserving_proto_field_name=True)
    optional = ("label", "class_index", "prompt_index", "mask_index", "quality", "is_thing")
    box = message.bbox
    return {
        "id": message.id,
        "score": message.score,
        "area": message.area,
        "bbox": [box.x, box.y, box.width, box.height],
        **{name: fields.get(name) for name in optional},
    }


async def refused(gateway: Gateway, **body: Any) -> dict[str, Any]:
    """The problem of REST, after that of gRPC was found to be the same."""
    rest = await ask_rest(gateway, body, PICTURE)
    assert rest.status_code == 422, rest.text
    problem: dict[str, Any] = rest.json()
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await gateway.stub.Segment(request_of(body, PICTURE))
    assert problem_in(failed.value).detail == problem["detail"]
    return problem


async def test_a_click_has_every_mask_that_it_may_mean_best_first(gateway: Gateway) -> None:
    answer = await ask(gateway, prompts=[{"points": [ON_RED]}])

    assert answer["task"] == "prompt"
    assert [segment["area"] for segment in answer["segments"]] == [SQUARE, 2 * SQUARE, HEIGHT * WIDTH]
    assert [segment["quality"] for segment in answer["segments"]] == list(QUALITIES)
    assert [segment["score"] for segment in answer["segments"]] == list(QUALITIES)
    assert [(s["prompt_index"], s["mask_index"]) for s in answer["segments"]] == [(0, 0), (0, 1), (0, 2)]
    assert [(s["label"], s["class_index"]) for s in answer["segments"]] == [(None, None)] * 3
    assert answer["segments"][0]["bbox"] == [0, 0, 2 * CELL, 2 * CELL]
    assert coco.decode(answer["segments"][0]["mask"])[: 2 * CELL, : 2 * CELL].all()
    assert (answer["cache"]["text_hits"], answer["cache"]["text_misses"]) == (0, 0)


async def test_prompts_are_answered_in_their_order_whatever_they_are(gateway: Gateway) -> None:
    prompts = [
        {"box": [0, 0, WIDTH, 2 * CELL]},
        {"points": [ON_BLUE, {**ON_RED, "positive": False}]},
        {"points": [ON_RED]},
    ]

    answer = await ask(gateway, prompts=prompts)

    assert [s["prompt_index"] for s in answer["segments"]] == [0, 1, 2, 2, 2]
    assert [s["quality"] for s in answer["segments"]][:2] == [SURE, SURE]
    assert answer["segments"][1]["bbox"] == [3 * CELL, 0, 2 * CELL, 2 * CELL]


async def test_classes_name_what_a_prompt_shows(gateway: Gateway) -> None:
    answer = await ask(gateway, prompts=[{"box": [24, 0, 40, 16]}, {"box": [0, 0, 16, 16]}], classes=["red", "blue"])

    assert [(s["label"], s["class_index"]) for s in answer["segments"]] == [("blue", 1), ("red", 0)]
    assert all(0.9 < s["score"] <= 1 and s["quality"] == SURE for s in answer["segments"])


async def test_a_threshold_drops_masks_by_their_quality(gateway: Gateway) -> None:
    answer = await ask(gateway, prompts=[{"points": [ON_RED]}], threshold=0.5)

    assert [segment["quality"] for segment in answer["segments"]] == [0.9, 0.6]


async def test_panoptic_segments_say_what_is_a_thing(gateway: Gateway) -> None:
    answer = await ask(gateway, classes=["red", "blue"], task="panoptic")

    assert [(s["label"], s["area"]) for s in answer["segments"]] == [("red", SQUARE), ("red", SQUARE), ("blue", SQUARE)]
    assert all(segment["is_thing"] is True for segment in answer["segments"])
    assert {segment["prompt_index"] for segment in answer["segments"]} == {None}


async def test_a_stream_is_asked_for_panoptic_segments(gateway: Gateway) -> None:
    classes = [pb.Class(name="red"), pb.Class(name="blue")]
    call = gateway.stub.SegmentVideo()
    await call.write(pb.SegmentVideoRequest(config=pb.StreamConfig(classes=classes, task=pb.TASK_PANOPTIC)))
    await call.write(pb.SegmentVideoRequest(frame=pb.Frame(image=PICTURE)))
    answer = await call.read()
    await call.done_writing()

    assert isinstance(answer, pb.SegmentVideoResponse)
    assert [(segment.label, segment.is_thing) for segment in answer.answer.segments] == [
        ("red", True),
        ("red", True),
        ("blue", True),
    ]


async def test_a_stream_refuses_the_task_everything(gateway: Gateway) -> None:
    call = gateway.stub.SegmentVideo()
    await call.write(pb.SegmentVideoRequest(config=pb.StreamConfig(task=pb.TASK_EVERYTHING)))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call.read()

    expected = "semantic, instance, panoptic or prompt in a stream"
    assert problem_in(failed.value).detail == f"task: expected {expected}, got 'everything'"


async def test_a_click_on_an_image_sent_before_runs_no_image_pass_wherever_workers_are(
    gateway: Gateway, segmenters: list[ColourSegmenter]
) -> None:
    first = (await ask_rest(gateway, {"prompts": [{"points": [ON_RED]}]}, PICTURE)).json()
    again = {"image": {"id": first["image_id"]}}

    answers = [await ask(gateway, **again, prompts=[{"points": [point]}]) for point in (ON_RED, ON_BLUE, ON_RED)]
    uploaded = await ask(gateway, prompts=[{"points": [ON_RED]}])

    assert first["cache"]["features"] is False
    assert all(answer["cache"]["features"] for answer in (*answers, uploaded))
    assert answers[0]["segments"] == uploaded["segments"] == first["segments"]
    assert sum(segmenter.looked for segmenter in segmenters) == 1
    assert [text for segmenter in segmenters for text in segmenter.asked] == []


async def test_a_click_beside_an_image_is_told_alike_by_gateway_and_worker(gateway: Gateway) -> None:
    beside = [{"points": [ON_RED]}, {"points": [ON_RED, {"x": WIDTH + 1, "y": 4}]}]
    known = (await ask_rest(gateway, {"prompts": [{"points": [ON_RED]}]}, PICTURE)).json()["image_id"]

    sent = await refused(gateway, prompts=beside)
    by_id = await refused(gateway, prompts=beside, image={"id": known})
    elsewhere = await refused(gateway, prompts=beside, image={"id": known}, max_side=48)  # whose features are not kept

    assert sent["errors"][0]["field"] == "prompts.1.points.1.x"
    assert f"0 to {WIDTH}" in sent["detail"]
    assert sent["detail"] == by_id["detail"] == elsewhere["detail"]
    assert sent["errors"] == by_id["errors"] == elsewhere["errors"]


async def test_one_label_map_cannot_hold_masks_that_overlap(gateway: Gateway) -> None:
    problem = await refused(gateway, prompts=[{"points": [ON_RED]}], mask="png")

    assert problem["errors"][0]["field"] == "mask"


async def test_masks_that_do_not_overlap_fit_a_label_map(gateway: Gateway) -> None:
    answer = await ask(gateway, prompts=[{"box": [0, 0, 16, 16]}, {"box": [24, 0, 40, 16]}], mask="png")

    with Image.open(io.BytesIO(base64.b64decode(answer["label_map"]["base64"]))) as label_map:
        ids = np.asarray(label_map)
    assert (ids[4, 4], ids[4, 30], ids[20, 20]) == (1, 2, 0)


async def test_outlines_overlay_and_confidence_come_for_prompts_too(gateway: Gateway) -> None:
    answer = await ask(gateway, prompts=[{"points": [ON_RED]}], mask="polygon", overlay=True, confidence=True)

    (ring,) = answer["segments"][0]["mask"]["rings"]
    assert sorted(ring["exterior"][::2]) == [0, 0, 16, 16]
    for drawn in (answer["overlay"], answer["confidence"]):
        with Image.open(io.BytesIO(base64.b64decode(drawn))) as shown:
            assert shown.size == (WIDTH, HEIGHT)
