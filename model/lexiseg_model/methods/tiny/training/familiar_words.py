"""Puts the words of training beside weights: `familiar.safetensors`, for warnings about words far from all of them.

    python -m lexiseg_model.methods.tiny.training.familiar_words FOLDER ../shared/data/voc/classes.json ...

FOLDER is a model directory; the lists are JSON, as data sets have them. The words of the background rule and the
synonyms of the recipe are added. The bound is where one in twenty synonyms would lie, had it been left out of training.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml

from lexiseg_model import catalog
from lexiseg_model.data.indexed import BACKGROUND, CLASSES
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import write_familiar
from lexiseg_model.methods.tiny.words.text_tower import MiniLM, load_text_tower

STRANGERS = 5  # percent of the synonyms that would be strangers


def write(folder: Path, names: Iterable[str], synonyms: dict[str, list[str]], tower: MiniLM) -> float:
    """Writes the file and returns the bound.

    Args:
        folder: a model directory.
        names: of the classes that training asked for.
        synonyms: other words for some of them; those of names that were not asked for do not count.
        tower: of the model.
    """
    own = list(dict.fromkeys(name for name in names if name != BACKGROUND))
    others = [word for name in own for word in synonyms.get(name, []) if word not in own]
    words = list(dict.fromkeys([*own, *others]))
    rows = tower.encode([TEMPLATE.format(word) for word in words]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    left_out = cosines.max(1)[len(own) :]
    bound = float(np.percentile(left_out if len(left_out) else cosines.max(1), STRANGERS))
    write_familiar(folder, words, rows, round(bound, 2), tower.digest)
    return round(bound, 2)


def names_of(data: Path, sets: Iterable[str]) -> list[str]:
    """The names that data sets have: of their class lists, or of photographs as wholes."""
    names: list[str] = []
    for folder in (data / name for name in sets):
        if (folder / CLASSES).exists():
            names += json.loads((folder / CLASSES).read_text())
        if (folder / "labels.json").exists():
            names += [name for of_file in json.loads((folder / "labels.json").read_text()).values() for name in of_file]
    return names


def main(folder: Path, lists: list[Path], texts: Path) -> None:
    """Reads the lists and writes the file."""
    names = [name for path in lists for name in json.loads(path.read_text())]
    names += catalog.read_card(folder).background.words
    bound = write(folder, names, yaml.safe_load(texts.read_text())["synonyms"], load_text_tower())
    print(f"{len(set(names))} names; a word is familiar from a likeness of {bound}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]], Path(__file__).parent / "texts.yaml")
