"""Jobs whose question names a head."""

from dataclasses import replace
from pathlib import Path

from tests.service.batch.http.asking import PNG, create, finished, gateway, lines, zipped
from tests.service.gateway.known_backend import WARM, KnownBackend

HEAD = {
    "name": "mugs",
    "classes": ["mug"],
    "pictures": [{"image": {"id": "1" * 32}, "objects": [{"class": "mug", "box": [0, 0, 2, 2]}]}],
}
WAITING = replace(WARM, ready=False)
QUESTION = {"head": "mugs", "classes": ["sky"]}


def test_a_job_asks_about_the_classes_of_its_head(tmp_path: Path) -> None:
    backend = KnownBackend()
    with gateway(tmp_path, backend) as client:
        client.post("/v1/heads", json=HEAD)

        job = finished(client, create(client, zipped({"a.png": PNG, "b.png": PNG}), question=QUESTION))
        labels = client.get(f"/v1/jobs/{job['id']}/results", params={"to": "coco"})

    assert (job["classes"], job["failed"]) == (["mug", "sky"], 0)
    asked = [[entry.learned is not None for entry in request.vocabulary.classes] for request in backend.asked[-2:]]
    assert asked == [[True, False]] * 2
    assert [category["name"] for category in labels.json()["categories"]] == ["mug", "sky"]


def test_a_job_of_no_head_is_refused(tmp_path: Path) -> None:
    with gateway(tmp_path) as client:
        answer = create(client, zipped({"a.png": PNG}), question=QUESTION)

    assert (answer.status_code, answer.json()["type"]) == (404, "unknown-head")


def test_pictures_that_are_asked_after_a_head_changed_say_so(tmp_path: Path) -> None:
    with gateway(tmp_path, backend := KnownBackend()) as client:
        client.post("/v1/heads", json=HEAD)
        version = client.get("/v1/heads/mugs").json()["version"]
        backend.now = WAITING
        answer = create(client, zipped({"a.png": PNG}), question=QUESTION)
        client.put("/v1/heads/mugs", json={"classes": ["spoon"]})
        backend.now = WARM

        job = finished(client, answer)
        (line,) = lines(client, job["id"])

    assert job["classes"] == ["mug", "sky"]
    assert line["problem"]["type"] == "unknown-head"
    assert f"not '{version}'" in line["problem"]["detail"]
