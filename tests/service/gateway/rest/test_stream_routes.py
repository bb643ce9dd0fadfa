"""Follow objects by one REST request for each frame, over a real engine of colours."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from lexiseg_model.masks.rle import decode
from lexiseg_model.types import Rle
from lexiseg_service.gateway.admission.key_file import line_of
from tests import pictures
from tests.model.video.moving import Corner, Mask, box, iou, scene, square
from tests.service.gateway.rpc.streaming import following

GOOD = 0.5  # intersection over union of a mask that is on its object
HERE, THERE = (4, 4), (40, 20)
UNKNOWN = (404, "unknown-stream")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with following() as gateway:
        yield gateway.rest


async def opened(client: httpx.AsyncClient, asked: dict[str, Any] | None = None, /, **headers: str) -> str:
    answer = await client.post("/v1/streams", json=asked or {}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["stream"])


def shown(number: int, corner: Corner) -> dict[str, Any]:
    return {"track_id": number, "prompt": {"box": list(box(corner))}}


def frame(*follow: dict[str, Any], unfollow: tuple[int, ...] = (), **squares: Corner) -> dict[str, Any]:
    content = pictures.encoded(Image.fromarray(scene(**squares)))
    return {"image": {"base64": base64.b64encode(content).decode()}, "follow": follow, "unfollow": unfollow}


async def ask(client: httpx.AsyncClient, stream: str, content: dict[str, Any], **headers: str) -> httpx.Response:
    return await client.post(f"/v1/streams/{stream}/frames", json=content, headers=headers)


def numbers(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [segment["track_id"] for segment in answer.json()["segments"]]


def mask_of(answer: httpx.Response, number: int) -> Mask:
    (segment,) = (each for each in answer.json()["segments"] if each["track_id"] == number)
    rle = segment["mask"]
    return np.asarray(decode(Rle(tuple(rle["size"]), rle["counts"], 0, (0, 0, 0, 0))), np.bool_)


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


async def test_an_object_keeps_its_number_from_frame_to_frame(client: httpx.AsyncClient) -> None:
    stream = await opened(client)
    first = await ask(client, stream, frame(shown(7, HERE), red=HERE))

    second = await ask(client, stream, frame(red=(8, 6)))

    assert (numbers(first), numbers(second)) == ([7], [7])
    assert iou(mask_of(second, 7), square((8, 6))) > GOOD
    assert second.json()["lost"] == []
    assert second.json()["id"] == second.headers["x-request-id"]


RED_AND_GREEN = ["red", {"name": "plant", "synonyms": ["green"], "threshold": 0.1}]


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ({}, [None, None]),
        ({"classes": RED_AND_GREEN}, ["red", "plant"]),
        ({"classes": ["red"], "background": {"words": ["green"]}}, ["red", None]),
    ],
)
async def test_the_classes_of_a_stream_label_its_objects_in_each_frame(
    client: httpx.AsyncClient, asked: dict[str, Any], labels: list[str | None]
) -> None:
    stream = await opened(client, asked)
    await ask(client, stream, frame(shown(1, HERE), shown(2, THERE), red=HERE, green=THERE))

    answer = await ask(client, stream, frame(red=(8, 6), green=THERE))

    assert labels_of(answer) == dict(enumerate(labels, 1))


def labels_of(answer: httpx.Response) -> dict[int, str | None]:
    return dict(zip(numbers(answer), [segment["label"] for segment in answer.json()["segments"]], strict=True))


async def test_new_classes_label_the_same_objects(client: httpx.AsyncClient) -> None:
    stream = await opened(client, {"classes": ["red", "green"]})
    first = await ask(client, stream, frame(shown(1, HERE), shown(2, THERE), red=HERE, green=THERE))

    changed = await client.put(f"/v1/streams/{stream}", json={"classes": ["green"], "background": False})

    second = await ask(client, stream, frame(red=HERE, green=THERE))
    assert (changed.status_code, changed.content) == (204, b"")
    assert labels_of(first) == {1: "red", 2: "green"}
    assert labels_of(second) == {1: "green", 2: "green"}
    assert second.json()["state_reset"] is False


async def test_what_words_find_keeps_its_number_from_frame_to_frame(client: httpx.AsyncClient) -> None:
    stream = await opened(client, {"classes": ["red", "green"], "task": "semantic"})
    first = await ask(client, stream, frame(red=HERE, green=THERE))

    second = await ask(client, stream, frame(red=(8, 6), green=THERE))

    assert sorted(labels_of(first).values(), key=str) == ["green", "red"]
    assert labels_of(second) == labels_of(first)


async def test_a_refused_config_leaves_the_stream_as_it_was(client: httpx.AsyncClient) -> None:
    stream = await opened(client, {"classes": ["red"]})
    await ask(client, stream, frame(shown(1, HERE), red=HERE))

    refused = [
        await client.put(f"/v1/streams/{stream}", json=asked)
        for asked in (
            {"classes": ["green", "green"]}, {"vocabulary": "unheard-of"}, {"model": "none"}, {"task": "everything"},
        )
    ]  # fmt: skip

    assert [kind(answer) for answer in refused] == [
        (422, "invalid-value"), (404, "unknown-vocabulary"), (404, "unknown-model"), (422, "invalid-value"),
    ]  # fmt: skip
    assert labels_of(await ask(client, stream, frame(red=HERE))) == {1: "red"}


@pytest.mark.parametrize(
    ("asked", "status"), [({"classes": ["red"], "smoothing": 0.5}, 422), ({"vocabulary": "unheard-of"}, 404)]
)
async def test_an_invalid_question_opens_no_stream(
    client: httpx.AsyncClient, asked: dict[str, Any], status: int
) -> None:
    assert (await client.post("/v1/streams", json=asked)).status_code == status


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (frame(*(shown(number, HERE) for number in range(1, 300)), red=HERE), "follow"),
        (frame(shown(1, HERE), shown(1, THERE), red=HERE), "follow.1.track_id"),
        (frame(shown(1, HERE), shown(2, (900, 4)), red=HERE), "follow.1.prompt.box"),
        (frame(unfollow=tuple(range(1, 300)), red=HERE), "unfollow"),
    ],
    ids=["too many", "a number twice", "outside", "too many to end"],
)
async def test_an_invalid_frame_is_refused_and_the_stream_goes_on(
    client: httpx.AsyncClient, wrong: dict[str, Any], field: str
) -> None:
    stream = await opened(client)
    await ask(client, stream, frame(shown(1, HERE), red=HERE))

    refused = await ask(client, stream, wrong)

    assert kind(refused) == (422, "invalid-value")
    assert [error["field"] for error in refused.json()["errors"]] == [field]
    assert numbers(await ask(client, stream, frame(red=HERE))) == [1]


async def test_a_stream_that_is_ended_is_unknown(client: httpx.AsyncClient) -> None:
    stream = await opened(client)

    assert (await client.delete(f"/v1/streams/{stream}")).status_code == 204
    assert kind(await ask(client, stream, frame(red=HERE))) == UNKNOWN
    assert kind(await client.delete(f"/v1/streams/{stream}")) == UNKNOWN


async def test_an_idle_stream_releases_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.gateway.admission.access.MAX_STREAMS", 1)
    for seconds in (0.2, 2, 10):  # on a slow machine the first stream may be over before there is a second
        monkeypatch.setattr("lexiseg_service.gateway.video.STREAM_IDLE_SECONDS", seconds)
        async with following() as gateway:
            client = gateway.rest
            first = await opened(client)
            refused = await client.post("/v1/streams", json={})
            if refused.status_code == 201:
                continue
            while (second := await client.post("/v1/streams", json={})).status_code == 429:
                await asyncio.sleep(0)

            assert second.status_code == 201
            assert kind(await ask(client, first, frame(red=HERE))) == UNKNOWN
            break

    assert kind(refused) in ((429, "rate-limited"), (429, "queue-full"))


async def test_a_full_worker_refuses_a_stream_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexiseg_service.worker.video.MAX_STREAMS", 1)
    async with following() as gateway:
        client = gateway.rest
        await ask(client, await opened(client), frame(red=HERE))

        refused = await client.post("/v1/streams", json={})
        if refused.status_code == 201:  # the worker hears of it with the first frame
            refused = await ask(client, refused.json()["stream"], frame(red=HERE))

    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0


async def test_a_stream_belongs_to_its_key_and_needs_the_segment_scope_only() -> None:
    keys = f"{line_of('one', 'first')} segment\n{line_of('two', 'second')}"
    async with following(api_keys=keys) as gateway:
        client = gateway.rest
        none = await client.post("/v1/streams", json={})
        stream = await opened(client, **{"x-api-key": "first"})

        assert kind(none) == (401, "unauthorized")
        assert kind(await ask(client, stream, frame(red=HERE))) == (401, "unauthorized")
        assert kind(await ask(client, stream, frame(red=HERE), **{"x-api-key": "second"})) == UNKNOWN
        assert kind(await client.put(f"/v1/streams/{stream}", json={}, headers={"x-api-key": "second"})) == UNKNOWN
        changed = await client.put(f"/v1/streams/{stream}", json={}, headers={"x-api-key": "first"})
        assert changed.status_code == 204
        assert numbers(await ask(client, stream, frame(shown(1, HERE), red=HERE), **{"x-api-key": "first"})) == [1]
        ended = await client.delete(f"/v1/streams/{stream}", headers={"x-api-key": "first"})
        assert ended.status_code == 204
