"""Meanings of nouns as sentences, from WordNet 3.0 (Princeton University); the file holds its licence."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path

from lexiseg_model.types import Vocabulary

FILE = Path(__file__).with_name("glosses.json.gz")  # made by model/write_glosses.py
MAX_SENSES = 4  # of a word: the most frequent ones
# WordNet's rules for plurals (morphy(7WN)): an ending, and that of the singular.
PLURALS = (
    ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"),
)  # fmt: skip


def glosses_of(word: str) -> tuple[str, ...]:
    """The meanings of an English noun that photographs can show, at most `MAX_SENSES`; none for other words."""
    glosses, words = _read()
    word = word.lower()
    singulars = (word.removesuffix(ending) + singular for ending, singular in PLURALS if word.endswith(ending))
    noun = next((form for form in (word, *singulars) if form in words), None)
    return () if noun is None else tuple(glosses[number] for number in words[noun][:MAX_SENSES])


def with_senses(vocabulary: Vocabulary, indices: Collection[int]) -> Vocabulary:
    """The vocabulary with the `senses` of some of its classes, by index, where their names have any."""
    classes = list(vocabulary.classes)
    for index in indices:
        senses = next(filter(None, map(glosses_of, classes[index].names)), ())
        classes[index] = replace(classes[index], senses=senses)
    return replace(vocabulary, classes=tuple(classes))


@cache
def _read() -> tuple[list[str], dict[str, list[int]]]:
    """The glosses, and for each word the positions of its own there, the most frequent sense first."""
    content = json.loads(gzip.decompress(FILE.read_bytes()))
    return content["glosses"], content["words"]
