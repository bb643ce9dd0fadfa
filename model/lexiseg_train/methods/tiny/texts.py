"""The texts of training: names, synonyms and templates of classes, encoded once by the frozen text tower.

They are written beside the weights, too, in `familiar.safetensors`, for warnings about words unlike all of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import save_file

from lexiseg_model.methods.tiny.weights import FOLDER, TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import FILE, read_familiar, unit_rows
from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from lexiseg_model.types import StrictModel
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import CLASSES

TEXTS = Path(__file__).with_name("texts.yaml")  # names and synonyms of things
INT8_SCALE = 127  # of the components of unit rows in the file; cosines are accurate to 0.01
UNFAMILIAR_PERCENT = 5  # of the held-out synonyms, whose cosine is below the fitted bound


class TextEncoder(Protocol):
    """Anything that turns strings into rows [T, D]."""

    def encode(self, texts: list[str]) -> NDArray[np.float32]: ...


class TextBook(StrictModel):
    """Synonyms, templates and the concepts that may share a pixel; read from YAML."""

    templates: list[str]
    synonyms: dict[str, list[str]]
    overlaps: list[list[str]]
    rare: list[str]
    nouns: list[str] = Field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> TextBook:
        return cls.model_validate(yaml.safe_load(path.read_text()))


class Named(Protocol):
    """A set of photographs and what its classes are called."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...


class TextTable:
    """Rows of every string that training may draw, and which concepts exclude each other.

    `rows` is [N, 384]; `strings[concept]` lists the rows of one concept, its own name in the first half of the draws.
    """

    def __init__(
        self,
        book: TextBook,
        datasets: Sequence[Named],
        background: list[str],
        template: str,
        encoder: TextEncoder,
        names: Collection[str] = (),
    ) -> None:
        self.concepts = sorted(
            {name for data in datasets for name in data.classes if name != BACKGROUND} | set(background) | set(names)
        )
        self.index = {name: position for position, name in enumerate(self.concepts)}
        self.background = np.array([self.index[word] for word in background])
        self.rare = np.array([name in book.rare for name in self.concepts])
        self.objects = np.array([name in set(names) for name in self.concepts])
        texts: list[str] = []
        self._own: list[range] = []
        self._others: list[range] = []
        for name in self.concepts:
            self._own.append(self._add(texts, [name], book.templates))
            self._others.append(self._add(texts, book.synonyms.get(name, []), book.templates))
        self.concept_of = np.empty(len(texts), np.int64)  # [N] of each row
        for concept, (own, others) in enumerate(zip(self._own, self._others, strict=True)):
            self.concept_of[[*own, *others]] = concept
        plain = [template.format(name) for name in self.concepts]
        encoded = encoder.encode(texts + plain)
        self.rows = encoded[: len(texts)]
        self.plain_rows = encoded[len(texts) :]
        self.likeness = self.plain_rows @ self.plain_rows.T
        self.exclusive = self._exclusive(book, datasets)

    @staticmethod
    def _add(texts: list[str], names: list[str], templates: list[str]) -> range:
        first = len(texts)
        texts.extend(template.format(name) for name in names for template in templates)
        return range(first, len(texts))

    def _exclusive(self, book: TextBook, datasets: Sequence[Named]) -> NDArray[np.bool_]:
        """[C, C]: a pixel of the row's concept is certainly not of the column's."""
        exclusive = self.likeness < 0.7
        members = {data.name: [name for name in data.classes if name != BACKGROUND] for data in datasets}
        for group in book.overlaps:
            names = [name for entry in group for name in (members.get(entry[1:], []) if entry[0] == "@" else [entry])]
            positions = [self.index[name] for name in names if name in self.index]
            exclusive[np.ix_(positions, positions)] = False
        return exclusive

    def draw(self, concept: int, random: np.random.Generator) -> int:
        """A row of `concept`: half the time under its own name, else a synonym; any template."""
        others = self._others[concept]
        chosen = others if len(others) and random.random() < 0.5 else self._own[concept]
        return int(random.integers(chosen.start, chosen.stop))


def write_words(folder: Path, names: Iterable[str], synonyms: dict[str, list[str]], tower: MiniLM) -> None:
    """Write the names of classes and their synonyms, with a bound fitted on the synonyms.

    The regression that tells words of other languages depends on the text tower alone: it is that of the bundled model.

    Args:
        folder: a model directory.
        names: of the classes in training.
        synonyms: other words for a name; those of other names do not count.
        tower: of the model.
    """
    trained = list(dict.fromkeys(name for name in names if name != BACKGROUND))
    others = [word for name in trained for word in synonyms.get(name, []) if word not in trained]
    words = list(dict.fromkeys([*trained, *others]))
    rows = unit_rows(tower.encode([TEMPLATE.format(word) for word in words]))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    left_out = cosines.max(1)[len(trained) :]
    bound = float(np.percentile(left_out if len(left_out) else cosines.max(1), UNFAMILIAR_PERCENT))
    bundled = read_familiar(FOLDER, tower.digest)
    write_familiar(folder, words, rows, bound, tower.digest, None if bundled is None else bundled.foreign)


def write_familiar(
    folder: Path,
    words: Sequence[str],
    rows: NDArray[np.floating],
    bound: float,
    text_digest: str,
    foreign: NDArray[np.float32] | None = None,
) -> None:
    """Write words, rows [N, D], bound and the regression of foreign words [D + 1] beside the weights."""
    metadata = {
        "words": json.dumps(list(words), ensure_ascii=False),
        "bound": f"{bound:.2f}",
        "text_digest": text_digest,
    }
    tensors: dict[str, NDArray[Any]] = {
        "rows": np.rint(unit_rows(rows.astype(np.float32)) * INT8_SCALE).astype(np.int8)
    }
    save_file(tensors | ({} if foreign is None else {"foreign": foreign}), folder / FILE, metadata)


def names_of(data: Path, sets: Iterable[str]) -> list[str]:
    """Names of data sets: of their class lists, and the labels of whole photographs."""
    names: list[str] = []
    for folder in (data / name for name in sets):
        if (folder / CLASSES).exists():
            names += json.loads((folder / CLASSES).read_text())
        if (folder / "labels.json").exists():
            names += [name for of_file in json.loads((folder / "labels.json").read_text()).values() for name in of_file]
    return names
