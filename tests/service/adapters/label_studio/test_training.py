"""What people annotate in Label Studio teaches the head of their project, and predictions are asked with it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http_server import Quiet, serving
from tests.service.adapters.label_studio.predicting import CONFIG, URL, asked
from tests.service.gateway.heads.labelled import HEIGHT, LEFTS, WIDTH, outline, photographs
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import ANN, BOB, KEYS, on_ports
from tests.waiting import SOON, until

TOKEN = {"label_studio_api_key": "its-token"}
TRAIN = "START_TRAINING"


def task(number: int, left: int) -> dict[str, Any]:
    """A task with a submitted polygon, as the JSON export has it."""
    points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in outline(left)]
    result = {
        **{"type": "polygonlabels", "from_name": "tag", "to_name": "image"},
        **{"original_width": WIDTH, "original_height": HEIGHT},
        "value": {"points": points, "closed": True, "polygonlabels": ["Strawberry"]},
    }
    annotation = {"id": number, "was_cancelled": False, "result": [result]}
    return {"id": number, "data": {"photo": f"/data/upload/{number}.jpg"}, "annotations": [annotation]}


class Studio:
    """A Label Studio with annotated tasks of three pictures: its address, and the paths that were asked for."""

    def __init__(self, folder: Path) -> None:
        photographs(folder)
        self.folder = folder
        self.tasks = [task(number, left) for number, left in enumerate(LEFTS)]
        self.asked: list[tuple[str, str | None]] = []
        self.home = ""

    def content(self, path: str) -> bytes | None:
        if path == "/api/projects/5/export?exportType=JSON":
            return json.dumps(self.tasks).encode()
        picture = self.folder / Path(path).name
        return picture.read_bytes() if picture.exists() else None


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "pictures")

    class Handler(Quiet):
        def do_GET(self) -> None:
            studio.asked.append((self.path, self.headers.get("Authorization")))
            content = studio.content(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

    with serving(Handler) as studio.home:
        yield studio


@pytest.fixture
def backend() -> KnownBackend:
    return KnownBackend()


@pytest.fixture
def client(studio: Studio, backend: KnownBackend, tmp_path: Path) -> Iterator[httpx.Client]:
    settings = {"state_dir": tmp_path / "state", "label_studio_url": studio.home, **TOKEN}
    here = on_ports(backend, adapters=("label-studio",), **settings)
    with here as ports, httpx.Client(base_url=ports.url, timeout=60) as client:
        yield client


def event(action: str, number: int = 5, n_annotations: int = 3) -> dict[str, Any]:
    project = {"id": number, "label_config": CONFIG, "total_annotations_number": n_annotations}
    return {"action": action, "project": project}


def test_training_makes_a_head_that_predictions_are_asked_with(
    client: httpx.Client, backend: KnownBackend, studio: Studio
) -> None:
    before = client.post(f"{URL}/predict", json=asked() | {"project": "5.1790000000"}).json()["model_version"]
    trained = client.post(f"{URL}/webhook", json=event(TRAIN))
    head = client.get("/v1/heads/label-studio-5").json()
    after = client.post(f"{URL}/predict", json=asked() | {"project": "5.1790000000"}).json()

    assert trained.status_code == 201, trained.text
    assert trained.json()["model_version"] == f"label-studio-5@{head['version']}"
    assert [(entry["name"], entry["synonyms"], entry["pictures"]) for entry in head["classes"]] == [
        ("Strawberry", ["red"], 3),
        ("blue", [], 0),
    ]
    assert head["expires"] is not None
    assert {token for _, token in studio.asked} == {"Token its-token"}
    assert [entry.is_taught for entry in backend.asked[-1].vocabulary.classes] == [True, False]
    assert after["model_version"] == f"{before}+label-studio-5@{head['version']}"
    assert after["results"][0]["model_version"].endswith(f"+label-studio-5@{head['version']}")
    backend.weights = "of a new release"  # the head is of weights that are gone
    del studio.tasks[0]
    anew = client.post(f"{URL}/webhook", json=event(TRAIN))

    assert anew.status_code == 201, anew.text
    assert client.get("/v1/heads/label-studio-5").json()["pictures"] == 2  # of the present annotations alone


def test_a_task_without_a_picture_is_left_out(client: httpx.Client, studio: Studio) -> None:
    studio.tasks[0]["data"] = {"photo": "/data/upload/deleted.jpg"}
    studio.tasks.append(task(3, LEFTS[0]) | {"data": {"text": "no picture"}})

    trained = client.post(f"{URL}/webhook", json=event(TRAIN))

    assert trained.status_code == 201, trained.text
    assert client.get("/v1/heads/label-studio-5").json()["pictures"] == 2


def test_marks_on_another_picture_of_a_task_teach_nothing(client: httpx.Client, studio: Studio) -> None:
    for each in studio.tasks:
        (mark,) = each["annotations"][0]["result"]
        other = mark["value"] | {"polygonlabels": ["of the other"]}
        each["annotations"][0]["result"].append(mark | {"to_name": "second", "value": other})

    client.post(f"{URL}/webhook", json=event(TRAIN))

    head = client.get("/v1/heads/label-studio-5").json()
    assert [entry["name"] for entry in head["classes"]] == ["Strawberry", "blue"]


def test_every_tenth_annotation_trains(client: httpx.Client, studio: Studio) -> None:
    for n_annotations in (9, 11):
        assert client.post(f"{URL}/webhook", json=event("ANNOTATION_CREATED", 5, n_annotations)).status_code == 201
    assert client.post(f"{URL}/webhook", json={"action": "PROJECT_DELETED", "project": {"id": 5}}).status_code == 201
    assert studio.asked == []

    assert client.post(f"{URL}/webhook", json=event("ANNOTATION_CREATED", 5, 10)).status_code == 201

    until(lambda: client.get("/v1/heads/label-studio-5").status_code == 200)


def test_one_key_leaves_a_place_for_trainings_to_another(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    monkeypatch.setattr(studio, "content", lambda _: may_go_on.wait(SOON) and None)
    settings = {"adapters": ["label-studio"], "label_studio_url": studio.home, "api_keys": KEYS, **TOKEN}
    with on_ports(KnownBackend(), **settings) as ports, httpx.Client(base_url=ports.url) as client:
        for number, key in ((5, ANN), (6, ANN), (7, BOB)):
            answer = client.post(f"{URL}/webhook", json=event("ANNOTATION_CREATED", number, 10), headers=key)
            assert answer.status_code == 201

        until(lambda: len(studio.asked) == 2)
        may_go_on.set()

    assert {path.split("/")[3] for path, _ in studio.asked} == {"5", "7"}


def test_why_a_project_is_not_trained_stands_in_the_answer(client: httpx.Client, studio: Studio) -> None:
    def refused(number: int = 5) -> str:
        tool = {"User-Agent": "heartex/1.23"}
        answer = client.post(f"{URL}/webhook", json=event(TRAIN, number), headers=tool, follow_redirects=True)
        assert answer.status_code in (403, 404, 422), answer.text
        return str(answer.json()["detail"])

    assert "Label Studio: expected status 200, got 404" in refused(6)  # another project
    for each in studio.tasks:
        each["annotations"][0]["was_cancelled"] = True
    assert "archive" in refused()
    for each in studio.tasks:
        each["data"] = {"photo": "/data/upload/deleted.jpg"}
    assert "Label Studio: expected status 200, got 404" in refused()
    studio.tasks.clear()
    assert "annotated tasks" in refused()
    assert client.get("/v1/heads/label-studio-5").status_code == 404


def test_a_head_that_gains_nothing_is_declined(client: httpx.Client, backend: KnownBackend) -> None:
    backend.by_words = 9

    answer = client.post(f"{URL}/webhook", json=event(TRAIN))

    assert answer.status_code == 422
    assert "no gain" in answer.json()["detail"]
