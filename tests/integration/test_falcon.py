"""Phrases over REST: a checkpoint in the hub's layout, imported, and served by the usual worker."""

import io
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from lexiseg_model import tasks
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.types import ClassEntry, Vocabulary
from tests import pictures
from tests.falcon import small
from tests.integration.server import Server, form

PHRASES = ("red car left of the bus", "bus")


def test_phrases_are_answered_as_in_the_library_and_what_is_none_in_a_sentence(tmp_path: Path) -> None:
    folder = small.imported(seed=1)
    picture = pictures.encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)))
    model = catalogue.load_folder(folder, "cpu", "fast")
    features = model.encode(np.array(Image.open(io.BytesIO(picture)).convert("RGB")))
    expected = tasks.segment("instance", model, features, Vocabulary(tuple(map(ClassEntry, PHRASES)))).segments

    own = {"LEXISEG_MODEL": "small", "LEXISEG_MODELS_DIR": str(folder.parent)}
    with Server(tmp_path / "log.jsonl", **own) as running:

        def ask(*phrases: str) -> httpx.Response:
            body = form(picture, *phrases, task="instance")
            return httpx.post(f"{running.url}/segment", files=body, timeout=60)

        answer, too_long, too_many = ask(*PHRASES), ask("dog " * 500, "bus"), ask("\N{DOG}" * 128, "bus")
        card = httpx.get(f"{running.url}/models/small", timeout=60).json()

    assert answer.status_code == 200, answer.text
    assert card["phrases"]
    served = [(each["label"], each["area"], each["bbox"], each["score"]) for each in answer.json()["segments"]]
    assert served
    assert served == [(each.label, each.area, list(each.bbox), round(each.score, 4)) for each in expected]
    assert (too_long.status_code, too_many.status_code) == (422, 422)
    assert too_long.json()["detail"] == "classes.0: expected at most 128, got '1999 characters'"
    assert "expected at most 160 tokens with its prompt, not 5" in too_many.json()["detail"]
