"""Captions as weak labels: what one of them says is somewhere in the photograph."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lexiseg_model.methods.tiny.training.texts import TextBook


def caption_concepts(listing: Path, book: TextBook) -> dict[str, tuple[str, ...]]:
    """Photograph's stem -> concepts of `book.nouns` that a caption of it names, by a synonym or in the plural too."""
    captions = json.loads(listing.read_text())
    patterns = {noun: _pattern([noun, *book.synonyms.get(noun, [])]) for noun in book.nouns}
    return {
        Path(name).stem: tuple(noun for noun in book.nouns if patterns[noun].search(" ; ".join(entry["captions"])))
        for name, entry in captions.items()
    }


def _pattern(words: list[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})(?:s|es)?\b", re.IGNORECASE)
