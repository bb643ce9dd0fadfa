"""Training of the directions of training's own words, all together, on cells of photographs under a frozen network.

A name's score is that of its text, its presence included, plus the product of its direction with a cell's embedding.
The names of the cell's own set compete for it, and it is told what it surely is not. Each fold of photographs has its
own copy of the directions, which never sees it: a direction stays only where photographs that were left out gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.methods.tiny.network import MIDDLE, OWN_WORDS, TinyNetwork
from lexiseg_model.methods.tiny.scores import log_presence
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, TEMPLATE
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.directions.cells import NO_PARTS, NOTHING, Cells, Parts, cells_of_set
from lexiseg_train.methods.tiny.publish import folder_below
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook, TextTable
from lexiseg_train.methods.tiny.trainings import DirectionsRecipe
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run
from lexiseg_train.training.stream import Stream

UNLIKE = 0.55  # cosine of two names below which one's cells are not the other's
GROUP = 256  # examples of one set, in a batch
UNKNOWN, NONE = -2, -1  # in place of a name: not known, none of the set's names
LEAST = 4  # photographs that must show a name
NEIGHBOURS = 10  # photographs of a set in a row that are in one fold: they may look alike
ABOVE_NOTHING = 0.5  # weight of the loss of a name that does not exceed the background
ABSENT = 1 / 30  # of one that surely is not there
CHANCE = 0.05  # loss of IoU that a few photographs may show by chance
JUDGED = 8192  # cells of a set by which directions are judged, at most
RIDGE = 2e-4  # of the squares of directions; their numbers have unit variance


class SetCells(NamedTuple):
    """What the labels of a set say, of K names, and what its photographs are."""

    cells: Cells
    presence: Tensor  # [P, K] of the names in the scores of each photograph
    folds: NDArray[np.int64]  # [P]
    own: NDArray[np.bool_]  # [K] its names
    parts: NDArray[np.bool_]  # [K] names of parts, if it marks any
    name: NDArray[np.int64]  # [N] of each cell, UNKNOWN or NONE
    part: NDArray[np.int64]
    as_they_fall: NDArray[np.int64]  # rows to draw from
    of_names: list[NDArray[np.int64]]
    of_parts: list[NDArray[np.int64]]


class Batch(NamedTuple):
    """B examples.

    `numbers` [B, D + 120]; `presence` [B, K] of all names in their scores; `competing` [B, K] bool, names that compete,
    and whether nothing does, too; `target` [B], the right one or NONE; `absent` [B, K] bool, names that surely are not
    there; `fold` [B] of the photograph.
    """

    numbers: Tensor
    presence: Tensor
    competing: Tensor
    with_nothing: Tensor
    target: Tensor
    absent: Tensor
    fold: Tensor


def count_photographs(sets: Sequence[Cells], part_names: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cells in sets:
        names = [(cells.value, value, name) for value, name in enumerate(cells.classes) if name != BACKGROUND]
        names += [(cells.part, value, name) for value, name in enumerate(part_names, 1)]
        for values, value, name in names:
            n_photographs = len(np.unique(cells.photograph[values == value]))
            counts[name] = counts.get(name, 0) + n_photographs
    return counts


def set_cells(
    cells: Cells, presence: Tensor, folds: NDArray[np.int64], names: Sequence[str], part_names: Sequence[str]
) -> SetCells:
    index = {name: place for place, name in enumerate(names)}
    of_value = np.full(IGNORE + 1, UNKNOWN)
    of_value[: len(cells.classes)] = [index.get(name, UNKNOWN) for name in cells.classes]
    of_part = np.full(IGNORE + 1, UNKNOWN)
    of_part[1 : 1 + len(part_names)] = [index.get(name, UNKNOWN) for name in part_names]
    of_part[NOTHING] = NONE
    if cells.has_background:
        of_value[0] = NONE
    name, part = of_value[cells.value], of_part[cells.part]
    own, parts = np.isin(np.arange(len(names)), of_value), np.zeros(len(names), bool)
    if (cells.part != NO_PARTS).any():
        parts[np.unique(of_part[of_part >= 0])] = True
    usable = name != UNKNOWN
    groups = [np.flatnonzero(usable & (name == each)) for each in np.unique(name[usable])]
    of_parts = [np.flatnonzero(usable & (part == each)) for each in np.unique(part[usable]) if each >= 0]
    fallen = np.flatnonzero(usable & cells.as_it_falls)
    return SetCells(cells, presence, folds, own, parts, name, part, fallen, groups, of_parts)


def exclusive(table: TextTable, names: Sequence[str], parts: Sequence[tuple[str, str]]) -> NDArray[np.bool_]:
    """[K, K]: a cell of the row's name is not of the column's; a part may be of what its whole is like."""
    places = [table.index[name] for name in names]
    apart = (table.exclusive & (table.likeness < UNLIKE))[np.ix_(places, places)]
    index = {name: place for place, name in enumerate(names)}
    by_whole: dict[str, list[int]] = {}
    for part, whole in parts:
        if part in index:
            by_whole.setdefault(whole, []).append(index[part])
    for whole, places_of in by_whole.items():
        own = np.array(places_of)
        apart[np.ix_(own, own)] = False
        if whole in index:
            like = np.append(np.flatnonzero(~apart[index[whole]]), index[whole])
            apart[np.ix_(own, like)] = apart[np.ix_(like, own)] = False
    return apart


class CellBatches(Stream[Batch]):
    """Batches of `groups` of GROUP cells of a set, by the sets' shares; `apart` is as of `exclusive`."""

    def __init__(
        self, sets: Sequence[SetCells], shares: NDArray[np.float64], apart: NDArray[np.bool_], groups: int, seed: int
    ) -> None:
        self.sets, self.shares, self.apart, self.groups, self.seed = sets, shares, apart, groups, seed

    def make(self, number: int, random: np.random.Generator) -> Batch:
        places = random.choice(len(self.sets), self.groups, p=self.shares)
        return Batch(*map(torch.cat, zip(*(self._of_set(self.sets[place], random) for place in places), strict=True)))

    def _of_set(self, cells: SetCells, random: np.random.Generator) -> Batch:
        """Half of the cells as they fall, half of names, or parts, that are drawn alike."""
        groups = [cells.of_names, cells.of_parts] if cells.of_parts else [cells.of_names]
        balanced = [_one_of(random, group) for group in groups for _ in range(GROUP // 2 // len(groups))]
        rows = np.concatenate([random.choice(cells.as_they_fall, GROUP // 2), np.array(balanced)])
        return self.examples(cells, rows, random)

    def examples(self, cells: SetCells, rows: NDArray[np.int64], random: np.random.Generator) -> Batch:
        """The cells of some rows of a set. Where parts are marked, they are asked in two of three questions, and the
        wholes in two of three."""
        photograph, name, part = cells.cells.photograph[rows], cells.name[rows], cells.part[rows]
        kind = np.where(part == UNKNOWN, 0, random.integers(0, 3, len(rows)))  # wholes, both, parts
        asks_own, asks_parts = (kind < 2)[:, None], (kind > 0)[:, None]
        competing = (asks_own & cells.own) | (asks_parts & cells.parts)
        target = np.where(kind == 0, name, np.where(part >= 0, part, np.where(kind == 1, name, NONE)))
        label = np.where(part >= 0, part, name)
        absent = self.apart[np.maximum(name, 0)] & self.apart[np.maximum(label, 0)] & (name >= 0)[:, None]
        return Batch(
            torch.from_numpy(cells.cells.numbers[rows]).float(),
            cells.presence[torch.from_numpy(photograph).long()],
            torch.from_numpy(competing),
            torch.from_numpy((kind == 2) | cells.cells.has_background),
            torch.from_numpy(target),
            torch.from_numpy(absent),
            torch.from_numpy(cells.folds[photograph]),
        )


def _one_of(random: np.random.Generator, groups: list[NDArray[np.int64]]) -> np.int64:
    group = groups[int(random.integers(len(groups)))]
    return np.int64(group[int(random.integers(len(group)))])


class Directions(nn.Module):
    """A copy of `weight` [K, D] and `bias` [K] for each fold, which has not learned from it, and for all photographs.

    D numbers of a cell, its embedding and the trunk's map, are standardised by `mean` and `deviation` [D]."""

    def __init__(self, n_folds: int, n_names: int, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_folds + 1, n_names, len(mean)))
        self.bias = nn.Parameter(torch.zeros(n_folds + 1, n_names))
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, numbers: Tensor) -> Tensor:
        """What is added to the scores of cells [B, D]: [F + 1, B, K]."""
        return ((numbers - self.mean) / self.deviation) @ self.weight.mT + self.bias[:, None]

    def folded(self) -> Tensor:
        """Weights for numbers as they are, and a constant: [F + 1, K, D + 1]."""
        weight = self.weight / self.deviation
        return torch.cat([weight, (self.bias - weight @ self.mean)[..., None]], 2)


def untrained(recipe: DirectionsRecipe) -> Directions:
    embedding = catalogue.read_card(folder_below(recipe.base_weights)).embedding or 1
    return Directions(recipe.folds, 1, torch.zeros(embedding + MIDDLE), torch.ones(embedding + MIDDLE))


class DirectionsTrainer(Run[DirectionsRecipe, Directions, Batch]):
    """Trains the directions; the weights file also holds the unchanged network and its prompt head."""

    file = FILE

    def __init__(self, recipe: DirectionsRecipe) -> None:
        """Raises DatasetError: a set has no photographs with masks."""
        segmenter = catalogue.load_folder(folder_below(recipe.base_weights), recipe.device, "exact")
        assert isinstance(segmenter, TinySegmenter)
        segmenter.network.own_words = None  # directions are learned only for texts
        self.below = read_weights(BUNDLED if recipe.base_weights == "bundled" else Path(recipe.base_weights), None)
        sets = [cells_of_set(segmenter, recipe.data, recipe.packs, name, recipe.photographs) for name in recipe.sets]
        parts, book = Parts(recipe.data), TextBook.read(TEXTS)
        counts = count_photographs(sets, parts.names)
        self.names = sorted(name for name, count in counts.items() if count >= LEAST)
        classes, encode = {cells.name: cells.classes for cells in sets}, segmenter.tower.encode
        table = TextTable(book, classes, [], TEMPLATE, encode, parts.names)
        self.words, self.meaning = words_of(self.names, book)
        self.rows = F.normalize(torch.from_numpy(encode(list(map(TEMPLATE.format, self.words)))), dim=1)
        self.apart = exclusive(table, self.names, parts.pairs)
        self.scoring = Scoring(segmenter, self.names)
        folds = [np.arange(len(cells.image)) // NEIGHBOURS % recipe.folds for cells in sets]
        self.sets = [
            set_cells(cells, self.scoring.presence(cells), of_set, self.names, parts.names)
            for cells, of_set in zip(sets, folds, strict=True)
        ]
        some = np.concatenate([cells.numbers[:: 1 + len(cells.numbers) // 2000] for cells in sets]).astype(np.float32)
        network = Directions(
            recipe.folds, len(self.names), torch.from_numpy(some.mean(0)), torch.from_numpy(some.std(0) + 1e-3)
        )
        super().__init__(recipe, network)

    def _batches(self, phase: LocalPhase) -> CellBatches:
        recipe = self.recipe
        sizes = np.array([len(each.cells.image) ** recipe.mixing * recipe.sets[each.cells.name] for each in self.sets])
        return CellBatches(self.sets, sizes / sizes.sum(), self.apart, phase.batch, recipe.seed)

    def _loss(self, batch: Batch) -> Tensor:
        batch = Batch(*(part.to(self.device) for part in batch))
        logits = self.scoring.margins(batch.numbers, batch.presence) + self.network(batch.numbers)
        folds = torch.arange(len(logits), device=self.device)[:, None]
        counted = (batch.fold != folds).float()  # [F + 1, B]
        losses = (cell_losses(logits, batch) * counted).sum(1) / counted.sum(1).clamp_min(1)
        self.note(left_in=losses[-1].item())
        ridge = self.network.weight.square().sum() + 0.1 * self.network.bias.square().sum()
        return losses.sum() + RIDGE * ridge

    def _weights(self) -> dict[str, Tensor]:
        network = Directions(self.recipe.folds, len(self.names), self.network.mean, self.network.deviation)
        network.load_state_dict(self.average)
        have = self.with_direction(network)
        number = np.where(have, np.cumsum(have) - 1, have.sum())  # the last direction is that of words without one
        own = {
            "rows": self.rows,
            "meaning": torch.from_numpy(number[self.meaning]).float(),
            "directions": F.pad(
                self.recipe.strength * network.folded()[-1].detach()[torch.from_numpy(have)], (0, 0, 0, 1)
            ),
            "near": torch.tensor(self.recipe.near),
        }
        before = {name: value for name, value in self.below.items() if not name.startswith(OWN_WORDS)}
        return before | {f"{OWN_WORDS}{name}": value for name, value in own.items()}

    @torch.no_grad()
    def with_direction(self, network: Directions) -> NDArray[np.bool_]:
        """[K] names that left-out photographs do not clearly show to be worse: one for chance costs its neighbours."""
        hits = np.sum([self._hits(of_set, network) for of_set in self.sets], 0)  # [2, 3, K]
        iou = hits[:, 0] / np.maximum(hits[:, 1] + hits[:, 2] - hits[:, 0], 1)
        gain = iou[1] - iou[0]
        worse = [f"{name} {100 * each:.1f}" for name, each in zip(self.names, gain, strict=True) if each < 0]
        print(
            f"mean gain in IoU {100 * gain.mean():.1f}; by words alone, which find more: {', '.join(worse)}", flush=True
        )
        return np.asarray(gain >= -CHANCE)

    def _hits(self, of_set: SetCells, network: Directions) -> NDArray[np.float64]:
        """Of a set's cells, by words and with directions, among all of its names: how many are rightly given a
        name, how many are given it, and how many are of it, [2, 3, K]."""
        n_names = len(self.names)
        hits = np.zeros((2, 3, n_names))
        batches = CellBatches(self.sets, np.ones(1), self.apart, 1, 0)
        rows = np.flatnonzero((of_set.name != UNKNOWN) & (of_set.cells.as_it_falls | (of_set.part >= 0)))
        rows = rows[:: 1 + len(rows) // JUDGED]
        for some in np.array_split(rows, 1 + len(rows) // 4096):
            batch = batches.examples(of_set, some, np.random.default_rng(0))
            words = self.scoring.margins(batch.numbers, batch.presence)
            added = network(batch.numbers)[batch.fold, torch.arange(len(some))]
            truth = F.one_hot(batch.target.clamp_min(0), n_names).bool() & (batch.target >= 0)[:, None]
            for side, logits in enumerate((words, words + self.recipe.strength * added)):
                among = logits.masked_fill(~batch.competing, -torch.inf)
                answer = F.one_hot(among.argmax(1), n_names).bool() & ((among > 0) | ~batch.with_nothing[:, None])
                hits[side] += [part.sum(0).numpy() for part in (answer & truth, answer, truth)]
        return hits


class Scoring:
    def __init__(self, segmenter: TinySegmenter, names: list[str]) -> None:
        self.network: TinyNetwork = segmenter.network
        rows = torch.from_numpy(segmenter.tower.encode(list(map(TEMPLATE.format, names))))
        with torch.no_grad():
            self.vectors = self.network.project_texts(rows.to(self.network.log_scale.device))
        self.scale = float(self.network.log_scale.detach().exp())
        self.bound = segmenter.background
        self.weight = segmenter.settings.presence

    @torch.no_grad()
    def presence(self, cells: Cells) -> Tensor:
        """What presence adds to the scores of each name in each photograph: [P, K]."""
        ends = np.cumsum(cells.n_coarse)
        rows = []
        for image, end, count in zip(cells.image, ends, cells.n_coarse, strict=True):
            coarse = torch.from_numpy(cells.coarse[end - count : end].T[:, :, None]).to(self.vectors)
            logits = self.network.presence(torch.from_numpy(image).to(self.vectors), coarse, self.vectors)
            rows.append(self.weight * log_presence(logits))
        return torch.stack(rows).cpu()

    def margins(self, numbers: Tensor, presence: Tensor) -> Tensor:
        """By how much names exceed the background in cells of photographs with that presence [B, K]: [B, K]."""
        pixels = numbers[:, : self.vectors.shape[1]]
        return self.scale * (pixels @ self.vectors.T) + presence - self.bound


def words_of(names: list[str], book: TextBook) -> tuple[list[str], list[int]]:
    """The names and their synonyms, and the index of the name that each means; a name itself is no other's synonym."""
    meaning = {name: place for place, name in enumerate(names)}
    for place, name in enumerate(names):
        for word in (*book.synonyms.get(name, ()), *book.finer.get(name, ())):
            meaning.setdefault(word, place)
    return [*meaning], [*meaning.values()]


def cell_losses(logits: Tensor, batch: Batch) -> Tensor:
    """Losses [F + 1, B] of logits [F + 1, B, K]: of the right one among the competing ones, and of each by itself."""
    competing = logits.masked_fill(~batch.competing, -torch.inf)
    nothing = torch.where(batch.with_nothing, 0.0, -torch.inf).expand(len(logits), -1)
    total = torch.cat([competing, nothing[..., None]], 2).logsumexp(2)
    is_name = batch.target != NONE
    right = logits.gather(2, batch.target.clamp_min(0).expand(len(logits), -1)[..., None])[..., 0] * is_name
    beside = (F.softplus(logits) * batch.absent).sum(2)
    return total - right + ABOVE_NOTHING * F.softplus(-right) * is_name + ABSENT * beside
