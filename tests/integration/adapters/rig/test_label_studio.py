"""Label Studio's own server asks for the picture that was uploaded to it, as its pages have it do."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_service.gateway.admission.key_file import line_of, new_key
from loadtests.ports import free_port
from tests.integration.adapters.rig.installed import program
from tests.integration.server import Server, form
from tests.service.gateway.heads.labelled import HEIGHT, LEFTS, WIDTH, outline, photographs
from tests.waiting import until

pytestmark = pytest.mark.tools

TO_START = 300.0  # seconds, with its first migrations; an idle machine needs a tenth of it
TOKEN = "0123456789abcdef0123456789abcdef01234567"
KEY = new_key()
SETTINGS = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
}
CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="tag" toName="image"><Label value="building"/><Label value="sky"/></BrushLabels>
<KeyPointLabels name="click" toName="image" smart="true"><Label value="sky"/></KeyPointLabels></View>"""
CLICK = {
    "id": "a",
    "from_name": "click",
    "to_name": "image",
    "type": "keypointlabels",
    "value": {"x": 50.0, "y": 10.0, "width": 0.3, "keypointlabels": ["sky"]},
    "original_width": 640,
    "original_height": 427,
    "is_positive": True,
}


@pytest.fixture(scope="module")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of its server, with a token of its user."""
    folder = tmp_path_factory.mktemp("label-studio")
    url = f"http://127.0.0.1:{(port := free_port())}"
    user = ["--username", "somebody@example.org", "--password", "not-a-secret", "--user-token", TOKEN]
    command = [str(program("label-studio", "label-studio")), "start", "--no-browser", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder), *user], cwd=folder, stdout=log, stderr=log,
            env=os.environ | SETTINGS | {"LABEL_STUDIO_BASE_DATA_DIR": str(folder)},
        )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()[-3000:]
        try:
            return httpx.get(f"{url}/health").is_success
        except httpx.TransportError:
            return False

    try:
        until(answers, TO_START, lambda: (folder / "log").read_text()[-3000:])
        with httpx.Client(base_url=url, headers={"Authorization": f"Token {TOKEN}"}, timeout=300) as client:
            yield client
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def connected(label_studio: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that knows this Label Studio, and asks for a key."""
    settings = {
        "LEXISEG_ADAPTERS": "label-studio",
        "LEXISEG_LABEL_STUDIO_URL": str(label_studio.base_url).rstrip("/"),
        "LEXISEG_LABEL_STUDIO_API_KEY": TOKEN,
        "LEXISEG_API_KEYS": line_of("label-studio", KEY),
    }
    with Server(tmp_path_factory.mktemp("server") / "log.jsonl", **settings) as server:
        yield server


def sent(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, **body)
    assert answer.is_success, (path, answer.status_code, answer.text[:2000])
    return answer.json()


def gadget(left: int) -> dict[str, Any]:
    """An annotation's result: the object of one of the photographs."""
    points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in outline(left)]
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    value = {"points": points, "closed": True, "polygonlabels": ["gadget"]}
    return {"from_name": "tag", "to_name": "image", "type": "polygonlabels", "value": value, **size}


def labels_of(results: list[dict[str, Any]]) -> list[str]:
    return sorted(label for result in results for label in result["value"]["brushlabels"])


def connect(label_studio: httpx.Client, connected: Server, project: int) -> dict[str, Any]:
    """The model of a project."""
    model = {
        "project": project, "title": "lexiseg", "url": f"{connected.url}/adapters/label-studio", "is_interactive": True,
        "auth_method": "BASIC_AUTH", "basic_auth_user": "anybody", "basic_auth_pass": KEY,
    }  # fmt: skip
    backend: dict[str, Any] = sent(label_studio, "/api/ml", json=model)
    return backend


def retrieve(label_studio: httpx.Client, project: int) -> None:
    """Have its server retrieve the predictions of all tasks."""
    sent(
        label_studio,
        f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}",
        json={"selectedItems": {"all": True, "excluded": []}},
    )


def test_its_server_retrieves_predictions_of_an_upload_and_answers_a_click(
    label_studio: httpx.Client, connected: Server, photo: Path
) -> None:
    project = sent(label_studio, "/api/projects", json={"title": "photos", "label_config": CONFIG})["id"]
    sent(label_studio, f"/api/projects/{project}/import", files={"file": ("china.jpg", photo.read_bytes())})
    backend = connect(label_studio, connected, project)

    retrieve(label_studio, project)
    (task,) = label_studio.get(f"/api/projects/{project}/tasks").json()
    (prediction,) = label_studio.get("/api/predictions", params={"task": task["id"]}).json()
    clicked = sent(
        label_studio,
        f"/api/ml/{backend['id']}/interactive-annotating",
        json={"task": task["id"], "context": {"result": [CLICK]}},
    )

    answer = httpx.post(
        f"{connected.url}/segment",
        files=form(photo.read_bytes(), "building", "sky"),
        headers={"X-API-Key": KEY},
        timeout=60,
    ).json()
    assert backend["state"] == "CO", backend  # connected
    assert labels_of(prediction["result"]) == ["building", "sky"]
    assert prediction["score"] == pytest.approx(
        sum(segment["score"] for segment in answer["segments"]) / len(answer["segments"]), abs=0.05
    )
    assert labels_of(clicked["data"]["result"]) == ["sky"]


def test_start_training_teaches_what_the_next_predictions_are_asked_with(
    label_studio: httpx.Client, connected: Server, tmp_path: Path
) -> None:
    photographs(tmp_path / "pictures")
    config = CONFIG.replace("building", "gadget")
    project = sent(label_studio, "/api/projects", json={"title": "gadgets", "label_config": config})["id"]
    for path in sorted((tmp_path / "pictures").iterdir()):
        sent(label_studio, f"/api/projects/{project}/import", files={"file": (path.name, path.read_bytes())})
    backend = connect(label_studio, connected, project)
    tasks = sorted(label_studio.get(f"/api/projects/{project}/tasks").json(), key=lambda task: int(task["id"]))
    for task, left in zip(tasks, LEFTS, strict=True):
        sent(label_studio, f"/api/tasks/{task['id']}/annotations", json={"result": [gadget(left)]})

    trained = label_studio.post(f"/api/ml/{backend['id']}/train", json={})
    retrieve(label_studio, project)

    assert trained.is_success, trained.text
    state = label_studio.get(f"/api/ml/{backend['id']}").json()
    assert state["state"] != "ER", state
    predictions = label_studio.get("/api/predictions", params={"task": tasks[0]["id"]}).json()
    assert f"+label-studio-{project}@" in predictions[-1]["model_version"]
    assert "gadget" in labels_of(predictions[-1]["result"])
