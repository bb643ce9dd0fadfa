"""A job asks what it was given: nothing that is changed or deleted while it runs changes its answers."""

import asyncio
import base64
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from lexiseg_labels.exports import formats
from lexiseg_labels.masks import rle
from lexiseg_model.types import ClassEntry, ModelCard, Rle, Segment
from lexiseg_service.question.messages import Exemplified, WorkerAnswer, WorkerRequest
from tests.service.batch.http.asking import PNG, create, finished, gateway, lines, zipped
from tests.service.gateway.known_backend import KnownBackend, answer
from tests.waiting import until

SIDE, COUNT, BEFORE = 32, 40, 3
ARCHIVE = zipped({f"{number:02d}.png": PNG for number in range(COUNT)})
CONFIG = """<View>
  <Image name="image" value="$photo"/><BrushLabels name="tag" toName="image"><Label value="sky"/></BrushLabels>
</View>"""
IN_TEXT = base64.b64encode(PNG).decode()


@dataclass
class Telling(KnownBackend):
    """One segment for each class, whose pixels follow from all that is asked of it; `open_for` images, then none."""

    open_for: float = float("inf")
    version: str = "1"
    held: bool = False
    answered: list[str] = field(default_factory=list)  # names of models

    def cards(self) -> list[ModelCard]:
        return [card.model_copy(update={"version": self.version}) for card in super().cards()]

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.asked.append(request)
        while len(self.answered) >= self.open_for:
            self.held = True
            await asyncio.sleep(0.005)
        self.answered.append(request.model)
        segments = [_segment(request, place, entry) for place, entry in enumerate(request.vocabulary.classes)]
        return replace(answer(), size=(SIDE, SIDE), segments=tuple(segments), model_digest=self.weights)

    async def exemplify(self, request: WorkerRequest) -> Exemplified:
        exemplified = await super().exemplify(request)
        return replace(exemplified, picture=PNG) if request.keep_picture else exemplified


def _segment(request: WorkerRequest, place: int, entry: ClassEntry) -> Segment:
    asked = (entry, request.vocabulary.background, request.threshold, request.language)
    corner = 1 + sha256(repr(asked).encode()).digest()[0] % (SIDE - 1)
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[:corner, :corner] = True
    mask = Rle((SIDE, SIDE), rle.encode(pixels), corner**2, (0, 0, corner, corner))
    return Segment(place + 1, entry.name, place, 0.9, mask)


def vocabulary(*classes: Any, **fields: Any) -> Callable[[httpx.Client], httpx.Response]:
    """A vocabulary that the classes replace; none is deleted."""
    if not classes:
        return lambda client: client.delete("/v1/vocabularies/mine")
    return lambda client: client.put("/v1/vocabularies/mine", json={"classes": classes, **fields})


def head(*boxes: list[int]) -> Callable[[httpx.Client], httpx.Response]:
    """A head that reviewed pictures correct, each with a mug in a box; without any it is deleted."""
    if not boxes:
        return lambda client: client.delete("/v1/heads/mugs")
    shown = [
        {"image": {"id": f"{number}" * 32}, "objects": [{"class": "mug", "box": box}]}
        for number, box in enumerate(boxes)
    ]
    return lambda client: client.put("/v1/heads/mugs", json={"classes": ["spoon", "mug"], "pictures": shown})


SOFA = {"name": "sofa", "synonyms": ["couch"], "threshold": 0.4, "gloss": "a seat for two"}
MUG = {"name": "mug", "examples": [{"image": {"base64": IN_TEXT}, "box": [2, 2, 9, 9]}]}
WORDS = vocabulary("sky", SOFA, MUG, background={"threshold": 0.3})
LESSON = head([0, 0, 2, 2])
NAMED, TAUGHT = {"vocabulary": "mine"}, {"head": "mugs", "classes": ["sky"]}
# What a question names, and what becomes of it while the job runs.
CHANGES = {
    "classes change places": (WORDS, NAMED, vocabulary(SOFA, "sky", MUG, background={"threshold": 0.3})),
    "another background": (WORDS, NAMED, vocabulary("sky", SOFA, MUG, background={"words": ["wall"]})),
    "another threshold, synonym and gloss": (WORDS, NAMED, vocabulary("sky", "sofa", MUG, background=True)),
    "another example": (WORDS, NAMED, vocabulary("sky", SOFA, {**MUG, "negatives": MUG["examples"]})),
    "the vocabulary is deleted": (WORDS, NAMED, vocabulary()),
    "the head is corrected": (LESSON, TAUGHT, head([1, 1, 3, 3], [0, 0, 4, 4])),
    "the head is deleted": (LESSON, TAUGHT, head()),
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
    for module in ("runner", "turns"):  # one lane: the pictures come in order
        monkeypatch.setattr(f"lexiseg_service.batch.{module}.LANES", 1)
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
        assert results(client, disturbed["id"]) == results(client, undisturbed["id"])


def of_label_studio(client: httpx.Client) -> httpx.Response:
    tasks = [{"id": number, "data": {"photo": f"data:image/png;base64,{IN_TEXT}"}} for number in range(COUNT)]
    return client.post("/adapters/label-studio/jobs", json={"tasks": tasks, "label_config": CONFIG})


DOORS = {"http": lambda client: create(client, ARCHIVE), "label-studio": of_label_studio}
EXCHANGES = {"another version": ("version", "2", "unknown-model"), "other weights": ("weights", "new", "model-changed")}


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("door", DOORS)
def test_no_picture_of_a_job_is_answered_by_another_model(tmp_path: Path, door: str, exchange: str) -> None:
    attribute, value, problem = EXCHANGES[exchange]
    with gateway(tmp_path, backend := Telling(open_for=BEFORE), adapters=["label-studio"]) as client:
        created = DOORS[door](client)
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
