"""The texts of training: names, synonyms, glosses and templates of classes, encoded once by the frozen text tower.

They are written next to the weights, too, in `familiar.safetensors`, for warnings about words unlike all of them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import save_file

from lexiseg_model.cards import StrictModel
from lexiseg_model.methods.tiny.weights import FOLDER, TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import FILE, Familiar, read_familiar, unit_rows
from lexiseg_model.methods.tiny.words.text_tower import MiniLM, load_text_tower
from lexiseg_model.segmenter import RowsOf
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_model.vocabulary.glosses import glosses_of
from lexiseg_train.data.indexed import CLASSES

TEXTS = Path(__file__).with_name("texts.yaml")  # names and synonyms of things
INT8_SCALE = 127  # of the components of unit rows in the file; cosines are accurate to 0.01
GLOSSED = 0.3  # share of draws of a concept with a gloss that say it
GLOSS_TEXTS = ("a photo of a {gloss}.", "{gloss}", "a photo of a {name}, {gloss}.")  # the first as served
WIDER = 0.3  # share of draws of a lone object that call it by a wider word
N_RIVALS = 16
SIBLING = 0.2  # added to the cosine of two names of one kind
UNFAMILIAR_PERCENT = 5  # of the held-out synonyms: their cosine is below the fitted bound


class TextBook(StrictModel):
    """Synonyms, templates and the concepts that may share a pixel; read from YAML."""

    templates: list[str]
    synonyms: dict[str, list[str]]
    finer: dict[str, list[str]] = Field(default_factory=dict)
    overlaps: list[list[str]]
    rare: list[str]
    nouns: list[str] = Field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> TextBook:
        return cls.model_validate(yaml.safe_load(path.read_text()))


class TextTable:
    """Rows [N, 384] of every string that training may draw, and which concepts exclude each other.

    Concepts are the classes of `sets`, by name, words of the `background`, and more `names`, which are compared by
    `template`. `kinds` are wider words for a name in lower case, from the narrowest on; `glossed`: names with one
    meaning are drawn with it, too.
    """

    def __init__(
        self,
        book: TextBook,
        sets: Mapping[str, Sequence[str]],
        background: list[str],
        template: str,
        encode: RowsOf,
        names: Collection[str] = (),
        kinds: Mapping[str, Sequence[str]] = MappingProxyType({}),
        glossed: bool = False,
    ) -> None:
        members = {name: [each for each in classes if each != BACKGROUND] for name, classes in sets.items()}
        self.concepts = sorted({each for classes in members.values() for each in classes} | {*background, *names})
        self.index = {name: position for position, name in enumerate(self.concepts)}
        self.background = np.array([self.index[word] for word in background])
        self.rare = np.array([name in book.rare for name in self.concepts])
        self.objects = np.array([name in set(names) for name in self.concepts])
        texts: list[str] = []
        self._own: list[range] = []
        self._others: list[range] = []
        self._wider: list[range] = []
        self._meanings: list[range] = []
        self._names: dict[int, int] = {}  # rows of synonyms that are names of concepts themselves
        for name in self.concepts:
            self._own.append(self._add(texts, [name], book.templates))
            synonyms = list(dict.fromkeys([*book.synonyms.get(name, []), *book.finer.get(name, [])]))
            self._others.append(self._add(texts, synonyms, book.templates))
            spoken = [synonym for synonym in synonyms for _ in book.templates]
            rows = zip(self._others[-1], spoken, strict=True)
            self._names |= {row: self.index[word] for row, word in rows if word in self.index}
            self._wider.append(self._add(texts, kinds.get(name.lower(), ()), book.templates))
            senses = glosses_of(name) if glossed else ()
            one = senses if len(senses) == 1 else ()  # of several, photographs show any
            meanings = [text.format(name=name, gloss=gloss) for gloss in one for text in GLOSS_TEXTS]
            self._meanings.append(self._add(texts, meanings, ["{}"]))
        self.concept_of = np.empty(len(texts), np.int64)  # [N] of each row
        for concept, ranges in enumerate(zip(self._own, self._others, self._wider, self._meanings, strict=True)):
            for rows_of_concept in ranges:
                self.concept_of[rows_of_concept] = concept
        plain = [template.format(name) for name in self.concepts]
        encoded = np.asarray(encode(texts + plain), np.float32)
        self.rows = encoded[: len(texts)]
        self.plain_rows = encoded[len(texts) :]
        self.likeness = self.plain_rows @ self.plain_rows.T
        self.exclusive = self._exclusive(book, members, kinds)
        self._siblings = self._of_one_kind(kinds)

    @staticmethod
    def _add(texts: list[str], names: Sequence[str], templates: Sequence[str]) -> range:
        first = len(texts)
        texts.extend(template.format(name) for name in names for template in templates)
        return range(first, len(texts))

    def _exclusive(
        self, book: TextBook, members: Mapping[str, Sequence[str]], kinds: Mapping[str, Sequence[str]]
    ) -> NDArray[np.bool_]:
        """[C, C]: a pixel of the row's concept is certainly not of the column's."""
        exclusive = self.likeness < 0.7
        for group in book.overlaps:
            names = [name for entry in group for name in (members.get(entry[1:], []) if entry[0] == "@" else [entry])]
            positions = [self.index[name] for name in names if name in self.index]
            exclusive[np.ix_(positions, positions)] = False
        for position, name in enumerate(self.concepts):
            wider = [self.index[word] for word in kinds.get(name.lower(), ()) if word in self.index]
            exclusive[position, wider] = exclusive[wider, position] = False
        return exclusive

    def _of_one_kind(self, kinds: Mapping[str, Sequence[str]]) -> NDArray[np.bool_]:
        """[C, C]: the narrowest wider word of both is the same."""
        narrowest = [next(iter(kinds.get(name.lower(), ())), None) for name in self.concepts]
        number = {word: position for position, word in enumerate(sorted({word for word in narrowest if word}))}
        kind = np.array([-1 if word is None else number[word] for word in narrowest])
        same: NDArray[np.bool_] = (kind[:, None] == kind) & (kind >= 0)
        return same

    def rivals(self, concepts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The concepts [N_RIVALS] most like some that are certainly none of them, the most alike first."""
        if not len(concepts):
            return np.zeros(0, np.int64)
        alike = (self.likeness[concepts] + SIBLING * self._siblings[concepts]).max(0)
        allowed = np.flatnonzero(self.exclusive[concepts].all(0))
        return np.asarray(allowed[np.argsort(-alike[allowed], kind="stable")[:N_RIVALS]], np.int64)

    def draw(
        self, concept: int, random: np.random.Generator, beside: Collection[int] = (), may_widen: bool = False
    ) -> int:
        """A row of `concept`: half the time its own name, else a synonym, a gloss or, with `may_widen`, a wider word.

        Names of concepts of the same question, `beside`, are no synonyms there."""
        if len(self._meanings[concept]) and random.random() < GLOSSED:
            return _one_of(self._meanings[concept], random)
        if may_widen and len(self._wider[concept]) and random.random() < WIDER:
            return _one_of(self._wider[concept], random)
        if len(self._others[concept]) and random.random() < 0.5:
            row = _one_of(self._others[concept], random)
            if self._names.get(row) not in beside:
                return row
        return _one_of(self._own[concept], random)


def _one_of(rows: range, random: np.random.Generator) -> int:
    return int(random.integers(rows.start, rows.stop))


def write_words(
    folder: Path,
    names: Iterable[str],
    synonyms: dict[str, list[str]],
    tower: MiniLM,
    masked: Iterable[str] | None = None,
) -> None:
    """Write the names of training's classes and their synonyms, with a bound fitted on the synonyms.

    `masked`: the names that training has masks of; None: all. The regression that tells words of other languages
    depends only on the text tower: it is that of the bundled model.
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
    foreign = None if bundled is None else bundled.foreign
    with_masks = trained if masked is None else list(masked)
    with_masks = [word for name in with_masks for word in (name, *synonyms.get(name, [])) if word in words]
    write_familiar(folder, Familiar(words, rows, bound, foreign, with_masks), tower.digest)


def write_more_words(folder: Path, start: Path, names: Sequence[str]) -> None:
    """Write the list of familiar words: the start's, and more names with synonyms. The bound is unchanged."""
    tower, synonyms = load_text_tower(), TextBook.read(TEXTS).synonyms
    before = read_familiar(start, tower.digest)
    if before is None:
        write_words(folder, names, synonyms, tower)
        return
    words = dict.fromkeys(word for name in names for word in (name, *synonyms.get(name, [])))
    new_words = [word for word in words if word not in before.words]
    rows = [before.rows, *([tower.encode([TEMPLATE.format(word) for word in new_words])] if new_words else [])]
    every, masked = [*before.words, *new_words], {*before.masked, *words}
    write_familiar(folder, Familiar(every, np.concatenate(rows), before.bound, before.foreign, masked), tower.digest)


def write_familiar(folder: Path, familiar: Familiar, text_digest: str) -> None:
    """Write the words of a model next to its weights, their rows in 8 bits."""
    metadata = {
        "masked": json.dumps(sorted(familiar.masked), ensure_ascii=False),
        "words": json.dumps(familiar.words, ensure_ascii=False),
        "bound": f"{familiar.bound:.2f}",
        "text_digest": text_digest,
    }
    tensors: dict[str, NDArray[Any]] = {"rows": np.rint(familiar.rows * INT8_SCALE).astype(np.int8)}
    save_file(tensors | ({} if familiar.foreign is None else {"foreign": familiar.foreign}), folder / FILE, metadata)


def classes_of(data: Path, sets: Iterable[str]) -> list[str]:
    """Names of the class lists of data sets, of which there are masks."""
    listed = (data / name / CLASSES for name in sets)
    return [name for path in listed if path.exists() for name in json.loads(path.read_text())]


def names_of(data: Path, sets: Iterable[str]) -> list[str]:
    """Names of data sets: of their class lists, and the labels of whole photographs."""
    names = classes_of(data, sets)
    for folder in (data / name for name in sets):
        if (folder / "labels.json").exists():
            names += [name for of_file in json.loads((folder / "labels.json").read_text()).values() for name in of_file]
    return names
