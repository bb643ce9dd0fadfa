"""Keys and vocabularies of a real server, over a restart."""

import json
from pathlib import Path

import httpx

from lexiseg_service.gateway.admission.keys import line_of
from tests import pictures
from tests.integration.server import Server, form

IMAGE = pictures.encoded(pictures.small("china", 160), "JPEG")
KEY = {"X-API-Key": "right"}


def test_a_users_vocabulary_outlives_the_server_and_needs_a_key(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(line_of("camera", "right"))
    settings = {"LEXISEG_API_KEYS_FILE": str(keys), "LEXISEG_STATE_DIR": str(tmp_path / "state")}
    room = {"classes": ["sky", {"name": "pagoda", "synonyms": ["temple"]}]}

    with Server(tmp_path / "first.jsonl", **settings) as server:
        url = f"{server.url}/vocabularies/palace"
        refused = httpx.post(f"{server.url}/segment", files={"image": bytes(15 * 2**20)}, timeout=60)
        put = httpx.put(url, json=room, headers=KEY, timeout=60)
        built_in = httpx.post(f"{server.url}/segment", files=form(IMAGE, vocabulary="ade20k"), headers=KEY, timeout=60)
    (tmp_path / "state" / "vocabularies" / "broken.json").write_text("{")
    with Server(tmp_path / "second.jsonl", **settings) as server:
        listed = httpx.get(f"{server.url}/vocabularies", headers=KEY, timeout=60).json()["vocabularies"]
        answer = httpx.post(f"{server.url}/segment", files=form(IMAGE, vocabulary="palace"), headers=KEY, timeout=60)

    assert (refused.status_code, refused.json()["type"]) == (401, "unauthorized")
    assert put.status_code == 201
    size = built_in.json()["size"]
    assert sum(segment["area"] for segment in built_in.json()["segments"]) == size[0] * size[1]
    assert [entry["name"] for entry in listed if not entry["built_in"]] == ["palace"]
    assert {segment["label"] for segment in answer.json()["segments"]} <= {"sky", "pagoda"}
    log = [json.loads(line) for line in (tmp_path / "second.jsonl").read_text().splitlines()]
    assert {line["key_id"] for line in log if line.get("route") == "/segment"} == {"camera"}
    assert [line["vocabulary"] for line in log if "vocabulary" in line] == ["broken"]
