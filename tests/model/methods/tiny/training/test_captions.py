"""Concepts named by captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexiseg_model.methods.tiny.training.sources import caption_concepts
from lexiseg_model.methods.tiny.training.texts import TextBook

BOOK = TextBook(
    templates=["{}"], synonyms={"sea": ["ocean"]}, overlaps=[], rare=[], nouns=["grass", "sea", "bench", "road"]
)


@pytest.mark.parametrize(
    ("caption", "concepts"),
    [
        ("A dog on the grass.", ("grass",)),
        ("Waves of the OCEAN, and benches", ("sea", "bench")),
        ("A grasshopper abroad", ()),
        ("A broad roadside", ()),
    ],
)
def test_a_caption_names_concepts_by_whole_words_synonyms_and_plurals(
    tmp_path: Path, caption: str, concepts: tuple[str, ...]
) -> None:
    listing = tmp_path / "captions.json"
    listing.write_text(json.dumps({"000.jpg": {"captions": ["Something.", caption]}}))

    assert caption_concepts(listing, BOOK) == {"000": concepts}
