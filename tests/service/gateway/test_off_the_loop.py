"""What is large is checked and written beside the event loop, so that other requests go on."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import httpx
import pytest

from lexiseg_service.gateway import app, use_case
from lexiseg_service.gateway.rest import body, large_bodies, rendering, vocabulary_routes
from lexiseg_service.gateway.rpc import question
from lexiseg_service.question.messages import Exemplified, KeptPicture, WorkerAnswer, WorkerRequest
from lexiseg_service.stubs import segmentation_pb2 as pb
from lexiseg_service.vocabularies import collection, readings
from lexiseg_service.wire import relay
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend, answer
from tests.service.gateway.rpc.calling import calling
from tests.service.gateway.serving import IMAGE, form, serving

T = TypeVar("T")
SOON = 20.0  # seconds that nothing here should need
FEW, MANY = [f"class {index}" for index in range(3)], [f"class number {index}" for index in range(1000)]
PNG = pictures.encoded(pictures.small("china", 192))  # larger than what is checked here: an image does not count
POINTS = [{"points": [{"x": 1, "y": 1}] * 30}] * 10


class Threads:
    """In which threads a function ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.seen: list[threading.Thread] = []
        monkeypatch.setattr(module, name, self._watched(getattr(module, name)))

    def _watched(self, work: Callable[..., T]) -> Callable[..., T]:
        def watched(*given: Any, **named: Any) -> T:
            self.seen.append(threading.current_thread())
            return work(*given, **named)

        return watched

    @property
    def on_the_loop(self) -> list[bool]:
        return [thread is threading.current_thread() for thread in self.seen]


async def test_the_description_is_written_once_and_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(monkeypatch, app, "described")
    async with serving() as client:
        answers = await asyncio.gather(*(client.get("/openapi.json") for _ in range(4)))

    assert len({answer.text for answer in answers}) == 1
    assert threads.on_the_loop == [False]


@pytest.mark.parametrize(("classes", "here"), [(FEW, True), (MANY, False)])
async def test_a_long_class_list_is_checked_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, classes: list[str], here: bool
) -> None:
    backend = KnownBackend()
    threads = Threads(monkeypatch, use_case, "resolve")
    async with serving(backend=backend) as client:
        answers = [
            await client.post("/v1/segment", files=form(*classes)),
            await client.post("/v1/segment", json={"image": {"id": "abc"}, "classes": classes}),
        ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert threads.on_the_loop == [here, here]
    assert [len(asked.vocabulary.classes) for asked in backend.asked] == [len(classes)] * 2


@pytest.mark.parametrize(("prompts", "here"), [(POINTS[:1], True), (POINTS, False)])
async def test_many_points_are_checked_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, prompts: list[Any], here: bool
) -> None:
    resolved = Threads(monkeypatch, use_case, "resolve_prompts")
    inside = Threads(monkeypatch, use_case, "check_inside")
    image = {"base64": base64.b64encode(pictures.encoded(pictures.small())).decode()}
    async with serving() as client:
        answer = await client.post("/v1/segment", json={"image": image, "prompts": prompts})

    assert answer.status_code == 200, answer.text
    assert resolved.on_the_loop == inside.on_the_loop == [here]


@pytest.mark.parametrize(("classes", "here"), [(FEW, True), (MANY, False)])
async def test_a_long_form_is_validated_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, classes: list[str], here: bool
) -> None:
    threads = Threads(monkeypatch, body, "validate")
    whole = [*IMAGE, ("request", (None, json.dumps({"classes": classes})))]
    async with serving() as client:
        answers = [await client.post("/v1/segment", files=files) for files in (form(*classes), whole)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert threads.on_the_loop == [here, here]


@pytest.mark.parametrize(("n_names", "here"), [(3, True), (2000, False)])
async def test_a_long_query_is_taken_apart_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, n_names: int, here: bool
) -> None:
    of_forms = Threads(monkeypatch, body, "_refuse_fields_of")
    of_files = Threads(monkeypatch, body, "_question_of_query")
    query = "&".join(f"unknown{number}=" for number in range(n_names))
    async with serving() as client:
        await client.post(f"/v1/segment?{query}", files=form(*FEW))
        await client.post(f"/v1/segment?{query}", content=PNG, headers={"content-type": "image/png"})

    assert of_forms.on_the_loop == [here]
    assert of_files.on_the_loop == [False]


@pytest.mark.parametrize(("classes", "here"), [(FEW, True), (MANY, False)])
async def test_long_json_is_validated_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, classes: list[str], here: bool
) -> None:
    threads = Threads(monkeypatch, body, "validate")
    async with serving() as client:
        answer = await client.post("/v1/segment", json={"image": {"id": "abc"}, "classes": classes})

    assert answer.status_code == 200
    assert threads.on_the_loop == [here]


@pytest.mark.parametrize(("classes", "here"), [(FEW, True), (MANY, False)])
async def test_a_long_message_is_validated_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, classes: list[str], here: bool
) -> None:
    threads = Threads(monkeypatch, question, "validate")
    named = [pb.Class(name=name) for name in classes]
    messages = [
        pb.SegmentVideoRequest(config=pb.StreamConfig(classes=named)),
        pb.SegmentVideoRequest(frame=pb.Frame(image=PNG)),
    ]
    async with calling() as gateway:
        await gateway.stub.Segment(pb.SegmentRequest(image=pb.Image(content=PNG), classes=named))
        frames = [frame async for frame in gateway.stub.SegmentVideo(iter(messages))]

    assert len(frames) == 1
    assert threads.on_the_loop == [here, here]


async def test_what_is_wrong_with_a_long_form_is_told_as_of_a_short_one() -> None:
    async with serving() as client:
        answer = await client.post("/v1/segment", files=form(*MANY, threshold="7"))

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "threshold")


@pytest.mark.parametrize(("n_bytes", "here"), [(1000, True), (2**20, False)])
async def test_large_pictures_are_written_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, n_bytes: int, here: bool
) -> None:
    class Painting(KnownBackend):
        async def segment(self, request: WorkerRequest) -> WorkerAnswer:
            return replace(answer(), overlay=bytes(n_bytes))

    threads = Threads(monkeypatch, rendering, "content_of_answer")
    async with serving(backend=Painting()) as client:
        painted = await client.post("/v1/segment", files=form("sky", overlay="true"))

    assert len(base64.b64decode(painted.json()["overlay"])) == n_bytes
    assert threads.on_the_loop == [here]


@pytest.mark.parametrize(("length", "here"), [(1000, True), (2**20, False)])
async def test_large_masks_are_written_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, length: int, here: bool
) -> None:
    class Fine(KnownBackend):
        async def segment(self, request: WorkerRequest) -> WorkerAnswer:
            (segment,) = answer().segments
            return replace(answer(), segments=(replace(segment, mask=replace(segment.mask, counts="0" * length)),))

    of_rest, of_grpc = (
        Threads(monkeypatch, rendering, "content_of_answer"),
        Threads(monkeypatch, relay, "encode_answer"),
    )
    async with serving(backend=Fine()) as client:
        await client.post("/v1/segment", files=form("sky"))
    async with calling(backend=Fine()) as gateway:
        await gateway.stub.Segment(pb.SegmentRequest(image=pb.Image(content=PNG), classes=[pb.Class(name="sky")]))

    assert of_rest.on_the_loop == of_grpc.on_the_loop == [here]


async def test_a_vocabulary_that_another_gateway_wrote_is_read_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    async with serving(state_dir=tmp_path) as client:
        await client.put("/v1/vocabularies/room", json={"classes": MANY})
    threads = Threads(monkeypatch, readings, "named")

    async with serving(state_dir=tmp_path) as client:
        answers = [await client.get("/v1/vocabularies/room") for _ in range(2)]

    assert [answer.json()["n_classes"] for answer in answers] == [len(MANY)] * 2
    assert threads.on_the_loop == [False]  # once: its bytes are known then


@pytest.mark.parametrize(("n_bytes", "on_the_loop"), [(1000, []), (2**20, [False, False])])
async def test_vocabularies_with_large_pictures_are_written_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, n_bytes: int, on_the_loop: list[bool]
) -> None:
    class Keeping(KnownBackend):
        async def exemplify(self, request: WorkerRequest) -> Exemplified:
            known = await super().exemplify(request)
            return replace(known, picture=KeptPicture(bytes(n_bytes), tuple(each.region for each in request.regions)))

    threads = Threads(monkeypatch, vocabulary_routes, "_in_pieces")
    cup = {"name": "cup", "examples": [{"box": [1, 1, 9, 9], "image": {"id": "0" * 32}}]}
    async with serving(backend=Keeping()) as client:
        put = await client.put("/vocabularies/cups", json={"classes": ["table", cup]})
        got = await client.get("/vocabularies/cups")

    (example,) = got.json()["classes"][1]["examples"]
    assert base64.b64decode(example["image"]["base64"]) == bytes(n_bytes)
    assert put.json() == got.json()
    assert threads.on_the_loop == on_the_loop


async def test_a_photograph_with_some_words_passes_bodies_of_thousands_of_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_go_on, begun = threading.Event(), asyncio.Event()
    loop, real = asyncio.get_running_loop(), body._read_json

    def watched(content: bytes, limits: Any) -> Any:
        if b"prompts" in content:
            loop.call_soon_threadsafe(begun.set)
            may_go_on.wait()
        return real(content, limits)

    monkeypatch.setattr(body, "_read_json", watched)
    image = {"base64": base64.b64encode(PNG + bytes(large_bodies.LONG)).decode()}
    async with serving() as client:
        many = {"image": image, "prompts": [{"points": [{"x": 1, "y": 1}] * 32}] * 32}
        asking = [asyncio.ensure_future(client.post("/segment", json=many)) for _ in range(2)]
        try:
            await begun.wait()
            async with asyncio.timeout(SOON):
                few = await client.post("/segment", json={"image": image, "classes": FEW})
        finally:
            may_go_on.set()
        await asyncio.gather(*asking)

    assert few.status_code == 200


class OneAtATime:
    """In the place of a function that checks questions: those of points wait in it, and it knows how many at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self._real, self._loop = getattr(module, name), asyncio.get_running_loop()
        self._may_go_on = threading.Event()
        self.begun = asyncio.Event()
        self.inside = self.most = 0
        monkeypatch.setattr(module, name, self)

    def __call__(self, asked: Any, limits: Any) -> Any:
        if "points" not in str(asked):
            return self._real(asked, limits)
        self.inside += 1
        self.most = max(self.most, self.inside)
        self._loop.call_soon_threadsafe(self.begun.set)
        self._may_go_on.wait()
        self.inside -= 1
        return self._real(asked, limits)

    def go_on(self) -> None:
        self._may_go_on.set()


async def test_of_forms_of_thousands_of_points_one_is_checked_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = OneAtATime(monkeypatch, body, "_question")
    many = [*IMAGE, ("request", (None, json.dumps({"prompts": [{"points": [{"x": 0.5, "y": 0.5}] * 32}] * 256})))]
    async with serving() as client:
        asking = [asyncio.ensure_future(client.post("/segment", files=many)) for _ in range(3)]
        try:
            await checked.begun.wait()
            async with asyncio.timeout(SOON):
                few = await client.post("/segment", files=form(*FEW))
        finally:
            checked.go_on()
        answers = await asyncio.gather(*asking)

    assert few.status_code == 200
    assert [answer.status_code for answer in answers] == [200] * 3
    assert checked.most == 1


async def test_of_messages_of_thousands_of_points_one_is_checked_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = OneAtATime(monkeypatch, question, "asked_of")
    image = pb.Image(content=PNG)
    points = [pb.Point(x=0.5, y=0.5, positive=True)] * 32
    many = pb.SegmentRequest(image=image, prompts=[pb.Prompt(points=points)] * 256)
    few = pb.SegmentRequest(image=image, classes=[pb.Class(name=name) for name in FEW])
    async with calling() as gateway:
        asking = [gateway.stub.Segment(many) for _ in range(3)]
        try:
            await checked.begun.wait()
            async with asyncio.timeout(SOON):
                await gateway.stub.Segment(few)
        finally:
            checked.go_on()
        answers = await asyncio.gather(*asking)

    assert len(answers) == 3
    assert checked.most == 1


@pytest.mark.parametrize("asked", ["PUT", "GET"])
async def test_of_long_vocabularies_one_is_checked_at_a_time_and_short_ones_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, asked: str
) -> None:
    module: Any = collection if asked == "PUT" else readings
    long = {"classes": [{"name": f"class {index}", "synonyms": [f"word {index}"]} for index in range(2000)]}
    async with serving(state_dir=tmp_path) as client:  # another gateway's
        for n in range(3):
            await client.put(f"/vocabularies/long-{n}", json=long)
        await client.put("/vocabularies/short", json={"classes": FEW})
    may_go_on, begun, inside, most = threading.Event(), asyncio.Event(), list[str](), list[int]()
    loop, real = asyncio.get_running_loop(), module.named

    def watched(name: str, class_list: Any, *given: Any, **more: Any) -> Any:
        if name != "short":
            inside.append(name)
            most.append(len(inside))
            loop.call_soon_threadsafe(begun.set)
            may_go_on.wait()
            inside.remove(name)
        return real(name, class_list, *given, **more)

    async with serving(state_dir=tmp_path) as client:
        if asked == "PUT":  # what is there is known
            for name in ("long-0", "long-1", "long-2", "short"):
                await client.get(f"/vocabularies/{name}")
        monkeypatch.setattr(module, "named", watched)

        def ask(name: str, content: Any) -> Awaitable[httpx.Response]:
            return client.request(asked, f"/vocabularies/{name}", **({"json": content} if asked == "PUT" else {}))

        asking = [asyncio.ensure_future(ask(f"long-{n}", long)) for n in range(3)]
        try:
            await begun.wait()
            async with asyncio.timeout(SOON):
                short = await ask("short", {"classes": FEW})
        finally:
            may_go_on.set()
        answers = await asyncio.gather(*asking)

    assert [answer.status_code for answer in (short, *answers)] == [200] * 4
    assert most == [1, 1, 1]


async def test_small_bodies_pass_large_ones_of_which_one_is_parsed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on, begun = threading.Event(), asyncio.Event()
    loop, real, large = asyncio.get_running_loop(), body._read_json, list[int]()

    def watched(content: bytes, limits: Any) -> Any:
        if len(content) > large_bodies.LARGE:
            large.append(len(content))
            loop.call_soon_threadsafe(begun.set)
            may_go_on.wait()
        return real(content, limits)

    monkeypatch.setattr(body, "_read_json", watched)
    kind, content = {"content-type": "application/json"}, b" " * (large_bodies.LARGE + 1)
    async with serving() as client:
        asking = [asyncio.ensure_future(client.post("/segment", content=content, headers=kind)) for _ in range(3)]
        try:
            await begun.wait()
            small = await client.post("/segment", content=b"{", headers=kind)
            at_a_time = len(large)
        finally:
            may_go_on.set()
        answers = await asyncio.gather(*asking)

    assert (small.status_code, at_a_time) == (400, 1)
    assert [answer.status_code for answer in answers] == [400] * 3
    assert len(large) == 3
