"""Jobs whose question names a head."""

from pathlib import Path

from tests.service.batch.http.asking import PNG, create, finished, gateway, zipped
from tests.service.gateway.known_backend import KnownBackend

HEAD = {
    "name": "mugs",
    "classes": ["mug"],
    "pictures": [{"image": {"id": "1" * 32}, "objects": [{"class": "mug", "box": [0, 0, 2, 2]}]}],
}
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
