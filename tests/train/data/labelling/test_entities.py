"""Entities of captions: found by rules or an endpoint, resumed, read beside the pairs."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.labelling.entities import (
    LISTING,
    Endpoint,
    WithEntities,
    from_captions,
    plain_phrases,
    read_entities,
    write_entities,
)
from lexiseg_train.data.pairs.files import open_pairs
from tests.http_server import Quiet, serving
from tests.train.training.pairs_folder import write_pairs


class Model(Quiet):
    """Says of a photograph how many bytes it has, in the manner of `manner`."""

    seen: list[dict[str, Any]]
    manner = "fenced"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).seen.append(body | {"path": self.path, "key": self.headers.get("authorization")})
        if self.manner == "busy":
            self.send_error(503, "busy")
            return
        url = body["messages"][0]["content"][1]["image_url"]["url"]
        said = json.dumps(
            {"description": "a square", "entities": ["red square", "grey\nwall", f"{len(url)} letters", "red square"]}
        )
        said = f"Here it is:\n```json\n{said}\n```" if self.manner == "fenced" else "I cannot see it"
        answer = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(Model, "seen", [], raising=False)
    with serving(Model) as address:
        yield Endpoint(f"{address}/v1", "describer", "secret", 20)


@pytest.mark.parametrize(
    ("caption", "entities"),
    [
        ("A child in a plaid shirt on the hay bales.", ("child", "plaid shirt", "hay bales")),
        ("Two men riding brown horses near the old brick building", ("men", "brown horses", "old brick building")),
        ("It is on top of them", ()),
    ],
)
def test_entities_keep_their_adjectives(caption: str, entities: tuple[str, ...]) -> None:
    assert plain_phrases(caption) == entities


def test_an_interrupted_listing_is_resumed(tmp_path: Path) -> None:
    source = open_pairs(write_pairs(tmp_path / "captions", 4))
    listing = tmp_path / LISTING
    describe = from_captions(plain_phrases)
    write_entities(source, listing, describe)
    whole = listing.read_text()
    lines = whole.splitlines(keepends=True)
    listing.write_text("".join(lines[:2]) + lines[2][:20])

    written = write_entities(source, listing, describe, workers=3)

    assert (written.new, written.before, written.failed) == (2, 2, 0)
    assert listing.read_text() == whole
    pair = WithEntities(source, read_entities(listing)).read(1)
    assert pair.captions == ("green square\ngreen\ngrey",)


def test_a_caption_with_a_line_separator_of_unicode_is_one_line_of_the_listing(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"not decoded")
    (tmp_path / "captions.json").write_text(json.dumps({"a": ["a red hat\u2028on a hook\x85"]}))

    write_entities(open_pairs(tmp_path), tmp_path / LISTING, from_captions(plain_phrases))

    assert read_entities(tmp_path / LISTING) == {"images/a.jpg": ("red hat", "hook")}


def test_the_endpoint_receives_the_photograph_and_a_request_for_json(tmp_path: Path, endpoint: Endpoint) -> None:
    source = open_pairs(write_pairs(tmp_path / "captions", 3))
    photograph = source.read(0).photograph

    assert write_entities(source, tmp_path / LISTING, endpoint.describe, workers=2).new == 3
    asked = next(body for body in Model.seen if base64.b64encode(photograph).decode() in json.dumps(body))
    assert (asked["path"], asked["model"], asked["key"]) == ("/v1/chat/completions", "describer", "Bearer secret")
    assert "a red square; something red on grey" in asked["messages"][0]["content"][0]["text"]
    found = read_entities(tmp_path / LISTING)["images/000.jpg"]
    assert found[:2] == ("red square", "grey wall")
    assert len(found) == 3


@pytest.mark.parametrize(("manner", "reason"), [("busy", "answered 503"), ("vague", "I cannot see it")])
def test_failed_pairs_are_logged_and_retried_by_the_next_run(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, manner: str, reason: str
) -> None:
    source = open_pairs(write_pairs(tmp_path / "captions", 2))
    monkeypatch.setattr(Model, "manner", manner)
    failed = write_entities(source, tmp_path / LISTING, endpoint.describe)
    monkeypatch.setattr(Model, "manner", "fenced")

    again = write_entities(source, tmp_path / LISTING, endpoint.describe)

    assert (failed.new, failed.failed) == (0, 2)
    assert reason in (tmp_path / f"{LISTING}.failed").read_text()
    assert again.new == 2


def test_an_unreachable_endpoint_ends_the_run(tmp_path: Path) -> None:
    source = open_pairs(write_pairs(tmp_path / "captions", 12))

    with pytest.raises(DatasetError, match="10 pairs in a row failed"):
        write_entities(source, tmp_path / LISTING, Endpoint("http://127.0.0.1:9/v1", "nobody").describe)
