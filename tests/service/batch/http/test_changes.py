"""A job asks what it was given: nothing that is changed or deleted while it runs changes its answers."""

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from lexiseg_labels.exports import formats
from tests.service.batch.http.asking import PNG, create, finished, gateway, lines, zipped
from tests.service.batch.telling import Telling, head, vocabulary
from tests.waiting import until

COUNT, BEFORE = 8, 3
ARCHIVE = zipped({f"{number:02d}.png": PNG for number in range(COUNT)})
CONFIG = """<View>
  <Image name="image" value="$photo"/><BrushLabels name="tag" toName="image"><Label value="sky"/></BrushLabels>
</View>"""
IN_TEXT = base64.b64encode(PNG).decode()


SOFA = {"name": "sofa", "synonyms": ["couch"], "threshold": 0.4, "gloss": "a seat for two"}
MUG = {"name": "mug", "examples": [{"image": {"base64": IN_TEXT}, "box": [2, 2, 9, 9]}]}
WORDS = vocabulary("sky", SOFA, MUG, background={"threshold": 0.3})
LESSON = head([0, 0, 2, 2])
NAMED, TAUGHT = {"vocabulary": "mine"}, {"head": "mugs", "classes": ["sky"]}
# What a question names, and what becomes of it while the job runs.
CHANGES = {
    "all of a list is another": (WORDS, NAMED, vocabulary({**MUG, "negatives": MUG["examples"]}, "sofa", "sky")),
    "the head is corrected": (LESSON, TAUGHT, head([1, 1, 3, 3], [0, 0, 4, 4])),
}


def unpacked(content: bytes) -> Any:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def results(client: httpx.Client, identity: str) -> dict[str, Any]:
    """What a job has found, in every form."""
    rows = [line | {"answer": line["answer"] and line["answer"] | {"id": ""}} for line in lines(client, identity)]
    path = f"/v1/jobs/{identity}/results"
    labels = {to: unpacked(client.get(path, params={"to": to}).content) for to in formats()}
    return {"jsonl": sorted(rows, key=lambda line: line["number"]), **labels}


@pytest.mark.parametrize("change", CHANGES)
def test_a_job_goes_on_with_the_words_and_lessons_of_its_beginning(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexiseg_service.batch.runner.LANES", 1)  # one lane: the pictures come in order
    before, question, after = CHANGES[change]
    with gateway(tmp_path, backend := Telling()) as client:
        assert before(client).is_success
        undisturbed = finished(client, create(client, ARCHIVE, question=question))
        backend.open_for = len(backend.answered) + BEFORE
        job = create(client, ARCHIVE, question=question)
        until(lambda: backend.held)
        assert after(client).is_success
        backend.open_for = float("inf")
        disturbed = finished(client, job)

        assert (disturbed["done"], disturbed["classes"]) == (COUNT, undisturbed["classes"])
        assert question is NAMED or disturbed["classes"] == ["spoon", "mug", "sky"]
        assert results(client, disturbed["id"]) == results(client, undisturbed["id"])


EXCHANGES = {"another version": ("version", "2", "unknown-model"), "other weights": ("weights", "new", "model-changed")}


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_no_picture_of_a_job_is_answered_by_another_model(tmp_path: Path, exchange: str) -> None:
    attribute, value, problem = EXCHANGES[exchange]
    with gateway(tmp_path, backend := Telling(open_for=BEFORE)) as client:
        created = create(
            client, zipped({f"{number:02d}.png": PNG for number in range(40)})
        )  # more than there are lanes
        until(lambda: backend.held)
        weights = backend.weights
        setattr(backend, attribute, value)
        backend.open_for = float("inf")
        job = finished(client, created)
        rows = lines(client, job["id"])

    assert set(backend.answered) == {"colours@1"}
    assert {row["answer"]["model_digest"] for row in rows if row["answer"]} == {weights}
    assert {row["problem"]["type"] for row in rows if row["problem"]} == {problem}
    assert "colours@1" in next(row["problem"]["detail"] for row in rows if row["problem"])


def test_what_a_job_stores_counts_and_is_erased_with_it(tmp_path: Path) -> None:
    with gateway(tmp_path, job_bytes_per_client=2000) as client:
        vocabulary(*(f"word {number}" for number in range(200)))(client)
        refused = create(client, zipped({"a.png": PNG}), question=NAMED)
        job = finished(client, create(client, zipped({"a.png": PNG})))
        stored = tmp_path / "jobs" / job["id"]
        names = {path.name for path in stored.iterdir()}
        client.delete("/v1/data")

        assert (refused.status_code, "question and archive" in refused.json()["detail"]) == (413, True)
        assert (names, stored.exists()) == ({"archive", "parts", "question"}, False)
        assert json.loads(client.get("/v1/jobs").content) == {"jobs": []}
