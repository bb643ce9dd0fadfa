"""Phrases over REST: a checkpoint in the hub's layout, imported, and served by the usual worker with tiny."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from lexiseg_labels.masks import rle
from lexiseg_model import tasks
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.masks import overlay
from lexiseg_model.types import ClassEntry, Rle, Segment, Vocabulary
from tests import pictures
from tests.falcon import small
from tests.integration.server import Server, form
from tests.waiting import SOON

PHRASES = ("red car left of the bus", "bus")
PHRASE = "woman in orange suit"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = {"LEXISEG_MODEL": "tiny,small", "LEXISEG_MODELS_DIR": str(small.imported(seed=1).parent)}
    log = tmp_path_factory.mktemp("phrases") / "log.jsonl"
    with Server(log, LEXISEG_PHRASES_MODEL="small", **models) as running:
        yield running


def test_phrases_are_answered_as_in_the_library_and_what_is_none_in_a_sentence(running: Server) -> None:
    folder = small.imported(seed=1)
    picture = pictures.encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)))
    model = catalogue.load_folder(folder, "cpu", "fast")
    features = model.encode(np.array(Image.open(io.BytesIO(picture)).convert("RGB")))
    expected = tasks.segment("instance", model, features, Vocabulary(tuple(map(ClassEntry, PHRASES)))).segments

    def ask(*phrases: str) -> httpx.Response:
        body = form(picture, *phrases, task="instance", model="small")
        return httpx.post(f"{running.url}/segment", files=body, timeout=SOON)

    answer, too_long, too_many = ask(*PHRASES), ask("dog " * 500, "bus"), ask("\N{DOG}" * 128, "bus")
    card = httpx.get(f"{running.url}/models/small", timeout=SOON).json()

    assert answer.status_code == 200, answer.text
    assert card["phrases"]
    served = [(each["label"], each["area"], each["bbox"], each["score"]) for each in answer.json()["segments"]]
    assert served
    assert served == [(each.label, each.area, list(each.bbox), round(each.score, 4)) for each in expected]
    assert (too_long.status_code, too_many.status_code) == (422, 422)
    assert too_long.json()["detail"] == "classes.0: expected at most 128, got '1999 characters'"
    assert "expected at most 160 tokens with its prompt, not 5" in too_many.json()["detail"]


def test_words_are_asked_of_the_default_model_and_phrases_of_theirs_in_one_answer(running: Server) -> None:
    picture = pictures.encoded(pictures.photograph("astronaut").resize((128, 96)))

    def ask(*classes: str, **fields: str) -> dict[str, Any]:
        answer = httpx.post(f"{running.url}/segment", files=form(picture, *classes, **fields), timeout=SOON)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    both = ask("person", PHRASE, "unicorn")
    [phrase], words = ask(PHRASE, model="small")["segments"], ask("person", "unicorn", model="tiny")["segments"]
    asked_by_name = ask("person", PHRASE, model="tiny")
    painted = ask("person", PHRASE, "unicorn", overlay="true")["overlay"]

    def pixels(segment: dict[str, Any]) -> Any:
        return rle.decode(segment["mask"]["counts"], segment["mask"]["size"])

    [person] = [each for each in words if each["label"] == "person"]
    left = pixels(person) & ~pixels(phrase)
    assert 0 < left.sum() < person["area"]
    [first, second] = both["segments"]
    assert [(each["id"], each["class_index"], each["label"]) for each in both["segments"]] == [
        (1, 0, "person"),
        (2, 1, PHRASE),
    ]
    assert np.array_equal(pixels(first), left)
    assert (first["area"], second["area"], second["score"]) == (left.sum(), phrase["area"], phrase["score"])
    assert (both["model"], both["absent"], asked_by_name["model"]) == ("tiny", ["unicorn"], "tiny")

    rgb, ids = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")), np.zeros((96, 128), np.uint8)
    for each in both["segments"]:
        ids[pixels(each)] = each["id"]
    shown = tuple(
        Segment(each["id"], each["label"], each["class_index"], each["score"], Rle((96, 128), "", 0, (0, 0, 0, 0)))
        for each in both["segments"]
    )
    expected = overlay.paint(rgb, ids, shown)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(painted)))), expected)
