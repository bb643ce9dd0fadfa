"""Write the meanings of nouns that ship with the model: `python model/write_glosses.py WORDNET PICTURES`.

WORDNET is the folder of WordNet 3.0's database (`dict` of its archive, /usr/share/wordnet of Debian's wordnet-base),
PICTURES a list of its noun synsets that photographs can show, as n02084071 a line (those of ImageNet-22k, as timm ships
them in data/_info/imagenet22k_synsets.txt).

A word has the senses that the pictures show, and its most frequent one if that is of a concrete thing, in WordNet's
order; a word without any has those of concrete things.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

from lexiseg_model.vocabulary.glosses import FILE

# WordNet's files of concrete nouns (lexnames(5WN)): tops, animals, artifacts, bodies, food, locations, objects, people,
# phenomena, plants, shapes, substances.
CONCRETE = frozenset({3, 5, 6, 8, 13, 15, 17, 18, 19, 20, 25, 27})
INSTANCE = "@i"  # pointer of a synset of one person or place


class Synset(NamedTuple):
    """A sense: whether it is of a concrete thing, and its gloss without examples."""

    is_concrete: bool
    gloss: str


def read_synsets(path: Path) -> dict[str, Synset]:
    """The senses of data.noun by their offsets (wndb(5WN))."""
    synsets = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):  # the licence
            continue
        head, _, text = line.partition(" | ")
        offset, file, *fields = head.split()
        gloss = re.split(r';\s*"', text)[0].strip().rstrip(";")
        synsets[offset] = Synset(int(file) in CONCRETE and INSTANCE not in fields, gloss)
    return synsets


def read_words(path: Path) -> dict[str, list[str]]:
    """The offsets of each word's senses of index.noun, the most frequent first."""
    words = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):
            word, _, count, *rest = line.split()
            words[word.replace("_", " ")] = rest[len(rest) - int(count) :]
    return words


def licence(path: Path) -> str:
    """WordNet's licence, which heads its files."""
    lines = [line[5:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("  ")]
    return "\n".join(lines)


def main(wordnet: Path, pictures: Path) -> None:
    shown = {line.strip().removeprefix("n") for line in pictures.read_text().splitlines()}
    synsets = read_synsets(wordnet / "data.noun")
    numbers: dict[str, int] = {}  # of the glosses, by synset
    words = {}
    for word, offsets in read_words(wordnet / "index.noun").items():
        concrete = [one for one in offsets if synsets[one].is_concrete]
        pictured = [one for one in offsets if one in shown or one == offsets[0] in concrete]
        senses = pictured or concrete
        if senses:
            words[word] = [numbers.setdefault(one, len(numbers)) for one in senses]
    content = {
        "licence": licence(wordnet / "data.noun"),
        "glosses": [synsets[one].gloss for one in numbers],
        "words": words,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    FILE.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
