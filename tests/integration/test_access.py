"""Keys and vocabularies of a real server, and what an earlier one has kept."""

import asyncio
import json
from pathlib import Path

import httpx

from lexiseg_service.gateway.admission.keys import line_of
from lexiseg_service.gateway.vocabularies.collection import Principal, open_vocabularies
from lexiseg_service.gateway.vocabularies.named import Preconditions
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.integration.server import Server, form

IMAGE = pictures.encoded(pictures.small("china", 160), "JPEG")
KEY = {"X-API-Key": "right"}


async def keep(state: Path) -> None:
    """A vocabulary of the key, as an earlier server left it, and a damaged one."""
    room = {"classes": ["sky", {"name": "pagoda", "synonyms": ["temple"]}]}
    vocabularies = open_vocabularies(Settings(state_dir=state), Metrics())
    await vocabularies.put("palace", VocabularyInput.model_validate(room), Preconditions(), Principal("camera"))
    await vocabularies.store.close()
    (state / "vocabularies" / "broken.json").write_text("{")


def test_a_users_vocabulary_outlives_the_server_and_needs_a_key(tmp_path: Path) -> None:
    keys, state = tmp_path / "keys.txt", tmp_path / "state"
    keys.write_text(line_of("camera", "right"))
    asyncio.run(keep(state))

    settings = {"LEXISEG_API_KEYS_FILE": str(keys), "LEXISEG_STATE_DIR": str(state)}
    with Server(tmp_path / "log.jsonl", **settings) as server:
        refused = httpx.post(f"{server.url}/segment", files={"image": bytes(15 * 2**20)}, timeout=60)
        built_in = httpx.post(f"{server.url}/segment", files=form(IMAGE, vocabulary="ade20k"), headers=KEY, timeout=60)
        listed = httpx.get(f"{server.url}/vocabularies", headers=KEY, timeout=60).json()["vocabularies"]
        answer = httpx.post(f"{server.url}/segment", files=form(IMAGE, vocabulary="palace"), headers=KEY, timeout=60)

    assert (refused.status_code, refused.json()["type"]) == (401, "unauthorized")
    size = built_in.json()["size"]
    assert sum(segment["area"] for segment in built_in.json()["segments"]) == size[0] * size[1]
    assert [entry["name"] for entry in listed if not entry["built_in"]] == ["palace"]
    assert {segment["label"] for segment in answer.json()["segments"]} <= {"sky", "pagoda"}
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {line["key_id"] for line in log if line.get("route") == "/segment"} == {"camera"}
    assert [line["vocabulary"] for line in log if "vocabulary" in line] == ["broken"]
