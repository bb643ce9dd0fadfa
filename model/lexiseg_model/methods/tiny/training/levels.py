"""Levels of words and the weight of presence, fitted by mean IoU on training photographs.

Training draws rare classes more often, gives them more weight and asks for few classes at a time, so it does not learn
how often a class is confused in a whole list. A level for each word, added to the logits of its pixels, corrects this
(Menon et al. 2020, "Long-tail learning via logit adjustment", with the adjustment measured instead of derived). The
levels of all words become one direction in the space of text rows: a synonym gets the level of its word, and a text
unlike all training words a level near 0.

    python -m lexiseg_model.methods.tiny.training.levels FOLDER ../shared/data voc street camvid fashion

rewrites the weights and the card of a model directory.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from lexiseg_model import catalogue
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.data.indexed import BACKGROUND, IGNORE, IndexedDataset, read_dataset
from lexiseg_model.methods.tiny.network import levels_along, log_presence
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.training.recipe import TEXTS
from lexiseg_model.methods.tiny.training.texts import TextBook
from lexiseg_model.methods.tiny.weights import FILE, LEVEL, TEMPLATE
from lexiseg_model.methods.tiny.words.familiar import read_familiar
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.types import ClassEntry, ModelCard
from lexiseg_model.vocabulary.bank import competing_words

PHOTOGRAPHS = 400  # of each data set, at most
CELLS = 300  # of each photograph, at random
STEPS = (0.8, 0.4, 0.2)  # logits, tried up and down for each word
ROUNDS = 2  # through all words, with each step
PENALTY = 0.05  # points of mean IoU for a level of 1, rising with its square
WEIGHTS = (0.3, 0.45)  # of presence; 0.6 gains 0.1 a set on training photographs, and costs other drives than theirs
RIDGE = 0.03  # beside squares of unit rows
Levels = dict[str, float]


class Cells(NamedTuple):
    """Random cells of a data set's photographs, and the scores of its classes and then the background words."""

    logits: NDArray[np.float32]  # [N, C], levels and presence left out
    presence: NDArray[np.float32]  # [photographs, C], its logarithm
    photograph: NDArray[np.int64]  # [N]
    truth: NDArray[np.int64]  # [N], the class, or `classes` for nobody
    words: tuple[str, ...]  # of the classes
    classes: int
    nobody: float | None  # logit of the background; None: every cell belongs to a class
    margin: float  # that background words are taken down by


def gather(segmenter: TinySegmenter, data: IndexedDataset, random: np.random.Generator) -> Cells:
    """Encode photographs of a split and keep random cells of each."""
    entries = tuple(ClassEntry(name) for name in data.classes if name != BACKGROUND)
    rows = segmenter.encode_texts(segmenter.texts(entries))
    columns = entries
    if data.has_background:
        words = tuple(ClassEntry(word) for word in segmenter.card.background.words)
        word_rows = segmenter.encode_texts(segmenter.texts(words))
        words, competing = competing_words(segmenter, (words, word_rows), (entries, rows), {})
        columns, rows = entries + words, np.concatenate([rows, competing])
    bank = segmenter.text_bank(columns, rows)
    levels = torch.zeros(bank.n_classes) if bank.levels is None else bank.levels.cpu()
    row_of = np.full(IGNORE + 1, -1)
    row_of[: len(data.classes)] = np.arange(len(data.classes))
    if data.has_background:
        row_of[: len(data.classes)] = np.append(len(entries), np.arange(len(entries)))
    logits, presences, photographs, truths = [], [], [], []
    for number, sample in enumerate(data.some(PHOTOGRAPHS)):
        image, mask = sample.read(len(data.classes))
        features = segmenter.encode(image)
        presence = log_presence(segmenter.whole_image(features, bank).cpu())
        added = levels + segmenter.settings.presence * presence
        scores = segmenter.class_scores(features, bank).cpu() - added[:, None, None]  # one text a class
        small = cv2.resize(mask, (scores.shape[2], scores.shape[1]), interpolation=cv2.INTER_NEAREST)
        truth = row_of[small.reshape(-1)]
        chosen = np.flatnonzero(truth >= 0)
        chosen = random.choice(chosen, min(CELLS, len(chosen)), replace=False)
        logits.append(scores.flatten(1).numpy().T[chosen])
        presences.append(presence.numpy())
        photographs.append(np.full(len(chosen), number))
        truths.append(truth[chosen])
    rule = segmenter.card.background
    relief = rule.relief(len(entries))
    nobody = float(segmenter.nobody_score(torch.zeros(1, 1, 1), None, "none")) + relief * rule.offset
    return Cells(
        np.concatenate(logits),
        np.stack(presences),
        np.concatenate(photographs),
        np.concatenate(truths),
        tuple(entry.name for entry in entries),
        len(entries),
        nobody if data.has_background else None,
        relief * rule.margin,
    )


class Judged:
    """Mean IoU of one data set's cells, in percent, for trial levels."""

    def __init__(self, cells: Cells, weight: float) -> None:
        self.words = cells.words
        logits = cells.logits + np.float32(weight) * cells.presence[cells.photograph]
        logits[:, cells.classes :] -= np.float32(cells.margin)
        if cells.nobody is not None:
            logits = np.column_stack([logits, np.full(len(logits), cells.nobody, np.float32)])
        self._logits = torch.from_numpy(np.ascontiguousarray(logits.T))
        self._row_of = torch.arange(len(self._logits)).clamp_max(cells.classes)  # background words count as one class
        self._truth = torch.from_numpy(cells.truth)
        self._rows = cells.classes + (cells.nobody is not None)
        self._owned = torch.bincount(self._truth, minlength=self._rows)

    def add(self, word: str, level: float) -> None:
        """Add a level to the logits of a word of the data set."""
        self._logits[self.words.index(word)] += level

    def miou(self) -> float:
        """Mean over the classes that own a cell, and nobody where the data set has a background."""
        return self._miou(self._logits.argmax(0))

    def with_changes(self, word: str, changes: Sequence[float]) -> list[float]:
        """`miou` after each change of a word's level."""
        place = self.words.index(word)
        logits = self._logits[place].clone()
        self._logits[place] = -torch.inf
        best_other, winner = self._logits.max(0)
        self._logits[place] = logits
        return [self._miou(torch.where(logits + change > best_other, place, winner)) for change in changes]

    def _miou(self, columns: torch.Tensor) -> float:
        won = self._row_of[columns]
        right = torch.bincount(won[won == self._truth], minlength=self._rows)
        union = torch.bincount(won, minlength=self._rows) + self._owned - right
        occurring = self._owned > 0
        return float(100 * (right[occurring] / union[occurring]).mean())


def fit(sets: Sequence[Cells], weight: float) -> tuple[Levels, float]:
    """Find levels by coordinate ascent; also return the sum of mean IoUs minus the penalty."""
    judged = [Judged(cells, weight) for cells in sets]
    reached = np.array([each.miou() for each in judged])
    levels = dict.fromkeys((word for each in judged for word in each.words), 0.0)
    for step in (step for step in STEPS for _ in range(ROUNDS)):
        for word, level in list(levels.items()):
            having = [place for place, each in enumerate(judged) if word in each.words]
            changes = (step, -step)
            tried = np.array([judged[place].with_changes(word, changes) for place in having])  # [sets, changes]
            penalty = np.array([PENALTY * ((level + change) ** 2 - level**2) for change in changes])
            gains = tried.sum(0) - reached[having].sum() - penalty
            best = int(gains.argmax())
            if gains[best] > 0:
                levels[word] = level + changes[best]
                reached[having] = tried[:, best]
                for place in having:
                    judged[place].add(word, changes[best])
    return levels, float(reached.sum()) - PENALTY * sum(level**2 for level in levels.values())


def direction(segmenter: TinySegmenter, levels: Levels, book: TextBook, neutral: Sequence[str]) -> torch.Tensor:
    """Fit the direction [384] whose product with the unit row of a text is about the level of its word.

    Args:
        segmenter: encodes the texts.
        levels: of words.
        book: a word's synonyms get its level.
        neutral: words whose level is 0.
    """
    targets = dict.fromkeys(neutral, 0.0)
    targets |= {synonym: level for word, level in levels.items() for synonym in book.synonyms.get(word, [])}
    targets |= levels
    rows = torch.from_numpy(segmenter.encode_texts([TEMPLATE.format(word) for word in targets])).double()
    rows = F.normalize(rows, dim=1)
    level_of = torch.tensor(list(targets.values()), dtype=torch.float64)
    square = rows.T @ rows + RIDGE * torch.eye(rows.shape[1], dtype=torch.float64)
    along: torch.Tensor = torch.linalg.solve(square, rows.T @ level_of)
    return along.float()


def write_levels(folder: Path, train: Sequence[IndexedDataset], neutral: Sequence[str], seed: int) -> ModelCard:
    """Fit levels and the weight of presence; write them to the weights and the card of a model directory.

    Args:
        folder: whose card and weights are rewritten.
        train: training photographs.
        neutral: words whose level is 0 unless a data set has them.
        seed: of the choice of cells.

    Returns:
        The new card.
    """
    card = catalogue.read_card(folder)
    segmenter = catalogue.load_folder(folder)
    assert isinstance(segmenter, TinySegmenter)
    random = np.random.default_rng(seed)
    sets = [gather(segmenter, data, random) for data in train]
    before = [Judged(cells, segmenter.settings.presence).miou() for cells in sets]
    fits = {weight: fit(sets, weight) for weight in WEIGHTS}
    weight = max(fits, key=lambda tried: fits[tried][1])
    along = direction(segmenter, fits[weight][0], TextBook.read(TEXTS), neutral)
    for data, cells, was in zip(train, sets, before, strict=True):
        judged = Judged(cells, weight)
        rows = torch.from_numpy(segmenter.encode_texts([TEMPLATE.format(word) for word in cells.words]))
        for word, level in zip(cells.words, levels_along(rows, along).tolist(), strict=True):
            judged.add(word, level)
        print(f"{data.name}: mIoU of training photographs {was:.2f} -> {judged.miou():.2f} %", flush=True)
    save_file(load_file(folder / FILE) | {LEVEL: along.half()}, folder / FILE)
    settings = card.settings | {"presence": weight}
    card = card.model_copy(update={"settings": settings, "weights_sha256": file_digest(folder / FILE)})
    catalogue.write_card(card, folder)
    return card


def main() -> None:
    """Fit and write the levels of a model directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="model directory, whose weights and card are rewritten")
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="+")
    arguments = parser.parse_args()
    train = [read_dataset(arguments.data, name, "train") for name in arguments.sets]
    neutral = read_familiar(arguments.folder, load_text_tower().digest)
    write_levels(arguments.folder, train, neutral.words if neutral else (), 0)


if __name__ == "__main__":
    main()
