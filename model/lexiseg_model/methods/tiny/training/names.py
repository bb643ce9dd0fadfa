"""Training of what tells names in `tiny`, image head and cells, over a trunk that stays as it is.

Its cells are computed once for each photograph. So a step costs little, and every label there is can be used: masks,
boxes, names and captions all say what is in a picture, masks and boxes also where.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.catalogue import read_card
from lexiseg_model.catalogue.weights import file_digest, read_weights
from lexiseg_model.data.indexed import IGNORE
from lexiseg_model.errors import DatasetError
from lexiseg_model.files import write_durably
from lexiseg_model.methods.tiny.fast import fused
from lexiseg_model.methods.tiny.network import MEAN, MULTIPLE, STD, WIDTHS, TinyNetwork, named_cells
from lexiseg_model.methods.tiny.training.drawn.examples import absent_names, rare_concepts
from lexiseg_model.methods.tiny.training.drawn.requests import Source, source_of
from lexiseg_model.methods.tiny.training.losses import balanced_presence_losses, presence_losses
from lexiseg_model.methods.tiny.training.recipe import TEXTS, NamesRecipe
from lexiseg_model.methods.tiny.training.sources import packed
from lexiseg_model.methods.tiny.training.texts import TextBook, TextEncoder, TextTable, kept_rows
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, TEMPLATE, TinyState, filled
from lexiseg_model.training.distributed import one_first
from lexiseg_model.training.packs import Pack
from lexiseg_model.training.recipe import LocalPhase
from lexiseg_model.training.run import Run
from lexiseg_model.training.stream import Stream

LABELS = 4  # labels of a cell, across and down


@dataclass(frozen=True)
class NamingCells:
    """Of the photographs of one pack: `cells[i]` [576, h, w] float16 and `labels[i]` [4h, 4w] mask values."""

    indices: list[int]
    cells: list[NDArray[np.float16]]
    labels: list[NDArray[np.uint8]]

    @property
    def nbytes(self) -> int:
        """Of both in memory."""
        return sum(each.nbytes for each in self.cells) + sum(each.nbytes for each in self.labels)


@torch.inference_mode()
def naming_cells(network: TinyNetwork, pack: Pack, indices: list[int], short_side: int) -> NamingCells:
    """One pass over some photographs of a pack.

    Args:
        network: in eval mode, on the CPU.
        pack: the photographs.
        indices: which of them.
        short_side: pixels of the shorter side of the network's input.
    """
    mean, std = (np.array(values, np.float32) for values in (MEAN, STD))
    cells: list[NDArray[np.float16]] = []
    labels: list[NDArray[np.uint8]] = []
    for index in indices:
        image, mask = pack.image(index), pack.mask(index)
        factor = short_side / min(mask.shape)
        height, width = (max(1, round(side * factor / MULTIPLE)) for side in mask.shape)
        sized = cv2.resize(image, (width * MULTIPLE, height * MULTIPLE), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy((sized - mean) / std).permute(2, 0, 1)[None]
        maps = named_cells(network.trunk(pixels.contiguous(memory_format=torch.channels_last)))
        cells.append(maps[0].half().numpy())
        size = (width * LABELS, height * LABELS)
        if pack.places[index, 3]:
            labels.append(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8))
        else:
            labels.append(np.full(size[::-1], IGNORE, np.uint8))
    return NamingCells(indices, cells, labels)


def spread(n_photographs: int, most: int) -> list[int]:
    """At most so many of a pack's photographs, at equal distances: those whose cells are used."""
    places = np.linspace(0, n_photographs - 1, min(most, n_photographs)).round().astype(int)
    return [int(place) for place in np.unique(places)]


def cells_file(folder: Path, name: str, short_side: int, n_photographs: int, digest: str) -> Path:
    """The file of a pack's cells by the network whose weights have this digest."""
    return folder / f"{name}-{short_side}-{n_photographs}-{digest[:16]}.pt"


def kept_cells(
    folder: Path, network: TinyNetwork, digest: str, pack: Pack, indices: list[int], short_side: int
) -> NamingCells:
    """`naming_cells`, kept in a file of this network's; `digest` is that of its weights."""
    path = cells_file(folder, pack.name, short_side, len(indices), digest)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = naming_cells(network, pack, indices, short_side)
        tensors = [[torch.from_numpy(each) for each in arrays] for arrays in (made.cells, made.labels)]
        write_durably(path, lambda fresh: torch.save((made.indices, *tensors), fresh))
    same, cells, labels = torch.load(path, weights_only=True)
    return NamingCells(same, [each.numpy() for each in cells], [each.numpy() for each in labels])


HELD_BACK = 25  # one photograph of so many is not trained on
MIN_WINDOW = 0.5  # of a photograph's cells, across and down, that an example shows
HALF = 0.5  # share of photographs, where nobody counted
MUCH = 3 / LABELS**2  # of a cell: a class that has as much is there, one that has nothing is not
TRAINED = ("image_head", "evidence", "presence_log_scale", "presence_bias")


class Known(NamedTuple):
    """What is known of one example: rows of the text table, how common they are, their states in the window and in
    each cell."""

    rows: list[int]
    shares: NDArray[np.float32]  # [K] of photographs
    states: NDArray[np.int8]  # [K] 1 present, 0 absent, -1 unknown
    in_cells: NDArray[np.int8]  # [K, h, w]


class NamesBatch(NamedTuple):
    """`cells` [B, 576, n] with `valid` [B, n]; classes [B, K] as places in `rows`, the shares of photographs that show
    them [B, K], states [B, K] and [B, K, n]."""

    cells: Tensor
    valid: Tensor
    rows: Tensor
    classes: Tensor
    shares: Tensor
    states: Tensor
    in_cells: Tensor


@dataclass(frozen=True)
class NamedWindows(Stream[NamesBatch]):
    """An endless stream of batches of windows of photographs' cells."""

    sources: list[tuple[Source, NamingCells]]
    table: TextTable
    batch: int
    seed: int

    def make(self, number: int, random: np.random.Generator) -> NamesBatch:
        shares = np.array([source.share for source, _ in self.sources])
        chosen = random.choice(len(self.sources), self.batch, p=shares / shares.sum())
        return stack([self._window(self.sources[int(which)], random) for which in chosen])

    def _window(
        self, drawn: tuple[Source, NamingCells], random: np.random.Generator
    ) -> tuple[NDArray[np.float16], Known]:
        source, made = drawn
        place = int(random.integers(len(made.indices)))
        while place % HELD_BACK == 0:
            place = int(random.integers(len(made.indices)))
        cells, labels, index = made.cells[place], made.labels[place], made.indices[place]
        masked = bool(source.pack.places[index, 3])
        if not masked:
            return cells, self._named(source, index, cells.shape[1:], random)
        rows, columns = (_part(side, random) for side in cells.shape[1:])
        window = labels[LABELS * rows.start : LABELS * rows.stop, LABELS * columns.start : LABELS * columns.stop]
        whole = rows.stop - rows.start == cells.shape[1] and columns.stop - columns.start == cells.shape[2]
        return cells[:, rows, columns], self._masked(source, index, window, whole, random)

    def _masked(
        self, source: Source, index: int, labels: NDArray[np.uint8], whole: bool, random: np.random.Generator
    ) -> Known:
        """Pixels have classes; what no pixel of the window has, and nobody told of, is not in it."""
        space, table = source.space, self.table
        assert space is not None
        shift = int(space.has_background)
        values = np.arange(shift, shift + len(space.concepts))[:, None, None]
        height, width = labels.shape[0] // LABELS, labels.shape[1] // LABELS
        blocks = labels.reshape(height, LABELS, width, LABELS).transpose(0, 2, 1, 3).reshape(height, width, -1)
        area = (blocks[None] == values[..., None]).mean(3)  # [K, h, w]
        unsure = (blocks == IGNORE).any(2)
        in_cells = np.where(area >= MUCH, 1, np.where((area == 0) & ~unsure, 0, -1)).astype(np.int8)
        most = area.max((1, 2))
        states = np.where(most >= MUCH, 1, np.where(most == 0, 0, -1)).astype(np.int8)
        told = np.array([table.index[name] for name in source.pack.present[index]], np.int64)
        states[np.isin(space.concepts, told) & (states == 0)] = 1 if whole else -1
        others = np.setdiff1d(told, space.concepts) if whole else told[:0]
        foreign = rare_concepts(table, np.concatenate([space.concepts[most > 0], told]), space.concepts, random)
        concepts = np.concatenate([space.concepts, others, foreign])
        more = np.array([1] * len(others) + [0] * len(foreign), np.int8)
        unknown = np.where(more[:, None, None] == 0, 0, -1) * np.ones((1, height, width), np.int8)
        shares = np.concatenate([(source.pack.areas[:, shift:] > 0).mean(0), np.full(len(more), HALF)])
        return Known(
            [table.draw(int(concept), random) for concept in concepts],
            shares.astype(np.float32),
            np.concatenate([states, more]),
            np.concatenate([in_cells, unknown.astype(np.int8)]),
        )

    def _named(self, source: Source, index: int, size: tuple[int, ...], random: np.random.Generator) -> Known:
        """Nobody knows where, but some names are in the picture and others are not."""
        table = self.table
        present = np.array([table.index[name] for name in source.pack.present[index]], np.int64)
        absent = absent_names(source, table, present, random)
        states = np.array([1] * len(present) + [0] * len(absent), np.int8)
        in_cells = np.where(states == 0, 0, -1).astype(np.int8)[:, None, None] * np.ones((1, *size), np.int8)
        rows = [table.draw(int(concept), random) for concept in (*present, *absent)]
        return Known(rows, np.full(len(rows), HALF, np.float32), states, in_cells)


def _part(side: int, random: np.random.Generator) -> slice:
    """Half of the time everything."""
    if random.random() < 0.5:
        return slice(0, side)
    length = int(np.ceil(side * random.uniform(MIN_WINDOW, 1)))
    first = int(random.integers(side - length + 1))
    return slice(first, first + length)


def stack(examples: list[tuple[NDArray[np.float16], Known]]) -> NamesBatch:
    """Pads windows to the largest and lists of classes to the longest."""
    rows = np.unique(np.concatenate([np.array(known.rows, np.int64) for _, known in examples]))
    n = max(cells[0].size for cells, _ in examples)
    k = max(len(known.rows) for _, known in examples)
    batch = len(examples)
    cells = np.zeros((batch, len(examples[0][0]), n), np.float32)
    valid = np.zeros((batch, n), bool)
    classes = np.zeros((batch, k), np.int64)
    shares = np.full((batch, k), HALF, np.float32)
    states = np.full((batch, k), -1, np.int8)
    in_cells = np.full((batch, k, n), -1, np.int8)
    for place, (window, known) in enumerate(examples):
        size, length = window[0].size, len(known.rows)
        cells[place, :, :size] = window.reshape(len(window), -1)
        valid[place, :size] = True
        classes[place, :length] = np.searchsorted(rows, known.rows)
        shares[place, :length] = known.shares
        states[place, :length] = known.states
        in_cells[place, :length, :size] = known.in_cells.reshape(length, -1)
    return NamesBatch(*map(torch.from_numpy, (cells, valid, rows, classes, shares, states, in_cells)))


class NamesTrainer(Run[NamesRecipe, TinyNetwork, NamesBatch]):
    """Trains image head and evidence; everything else comes out bit by bit as it went in."""

    file = FILE

    def __init__(self, recipe: NamesRecipe, encoder: TextEncoder | None = None) -> None:
        """`encoder`: in place of the text tower, whose rows are kept.

        Raises:
            DatasetError: a set is missing, or holds one photograph alone.
        """
        path = weights_below(recipe)
        self.before = TinyState.of(read_weights(path, None))
        torch.manual_seed(recipe.seed)
        network = filled(TinyNetwork(), self.before.network, path).float()
        network.wake_evidence()
        trunk, digest = frozen_trunk(self.before, path), file_digest(path)
        super().__init__(recipe, only_names(network))
        book = TextBook.read(TEXTS)
        with one_first():  # packs and rows are written where they are not yet
            packs = [packed(recipe.data, recipe.packs, name, book) for name in recipe.sets]
            rule = read_card(BUNDLED.parent).background
            names = {name for pack in packs for name in (*pack.names, *(n for some in pack.present for n in some))}
            encoder = encoder or kept_rows(recipe.packs)
            self.table = TextTable(book, [pack for pack in packs if pack.classes], rule.words, TEMPLATE, encoder, names)
        with torch.no_grad():
            self.bank = self.network.project_texts(torch.from_numpy(self.table.rows))
        self.sources = []
        for pack in packs:
            if len(pack) < 2:
                raise DatasetError(
                    f"{pack.name} has {len(pack)} photograph; 2 are needed, for one of {HELD_BACK} is held back"
                )
            drawn = recipe.sets[pack.name]
            indices = spread(len(pack), drawn.photographs)
            with one_first():
                made = kept_cells(recipe.cells, trunk, digest, pack, indices, drawn.short_side)
            source = source_of(pack, drawn.share, self.table, 0.0, rule.same_meaning, 0.0)
            self.sources.append((source, made))
        self.cell_bias = torch.tensor(-3.0)

    def _mode(self) -> None:
        self.network.eval()

    def _batches(self, phase: LocalPhase) -> NamedWindows:
        return NamedWindows(self.sources, self.table, phase.batch, self.recipe.seed)

    def _loss(self, batch: NamesBatch) -> Tensor:
        recipe, network = self.recipe, self.network
        cells = F.dropout(batch.cells, recipe.dropout)
        coarse = cells[:, : WIDTHS[-1]]
        valid = batch.valid[:, None]
        mean = (coarse * valid).sum(2) / valid.sum(2)
        pooled = torch.cat([mean, (coarse * valid).amax(2)], 1)
        image = F.normalize(network.image_head(pooled), dim=1)
        named = network.evidence(cells[..., None])[..., 0]  # [B, 96, n]
        texts = self.bank[batch.rows][batch.classes]  # [B, K, 96]
        logits = texts @ named  # [B, K, n]
        seen = torch.logsumexp(logits.masked_fill(~valid, -1e4), 2) - batch.valid.sum(1, keepdim=True).log()
        presence = network.presence_log_scale.exp() * (texts @ image[..., None])[..., 0] + seen + network.presence_bias
        whole = balanced_presence_losses(presence, batch.states, batch.shares).mean()
        where = presence_losses((logits + self.cell_bias).flatten(1), batch.in_cells.flatten(1), recipe.focus).mean()
        self.note(presence=whole.item(), cells=where.item())
        return whole + recipe.cell_weight * where

    def _weights(self) -> dict[str, Tensor]:
        trained = {name: value for name, value in self.average.items() if name.startswith(TRAINED)}
        return TinyState(self.before.network | trained, self.before.prompts).together()


def weights_below(recipe: NamesRecipe) -> Path:
    """The file of the network that stays."""
    return BUNDLED if recipe.below == "bundled" else Path(recipe.below)


def frozen_trunk(state: TinyState, path: Path) -> TinyNetwork:
    """What cells are computed with: the network of a file, for answering."""
    return fused(filled(TinyNetwork(), state.network, path).float())


def only_names(network: TinyNetwork) -> TinyNetwork:
    """The same network, with gradients for what tells names alone."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(TRAINED))
    return network
