"""Training of `tiny`: mixed data sets and random requests over crops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from lexiseg_model.catalog import read_card
from lexiseg_model.data.indexed import IndexedDataset, read_dataset
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.network import MEAN, STD, STRIDE, TinyNetwork
from lexiseg_model.methods.tiny.text_tower import load_text_tower
from lexiseg_model.methods.tiny.weights import BUNDLED, TEMPLATE, TinyState
from lexiseg_model.training.augment import Crop, random_crop
from lexiseg_model.training.losses import LabelSpace, full_question, presence_loss, question_loss, random_question
from lexiseg_model.training.recipe import FOLDER, Phase, TinyRecipe
from lexiseg_model.training.texts import TextBook, TextTable
from lexiseg_model.training.timed_run import TimedRun, channel
from lexiseg_model.weights import read_weights

PERSON_VIEW = 0.25  # share of fashion photographs that are read as "person against background"
COUNTED = 300  # masks per data set that class frequencies are counted on


@dataclass(frozen=True)
class Crops(IterableDataset[tuple[int, Crop]]):
    """An endless stream of (data set, crop), drawn in proportion to `shares`."""

    datasets: list[IndexedDataset]
    shares: NDArray[np.float64]
    size: int
    seed: int

    def __iter__(self) -> Iterator[tuple[int, Crop]]:
        worker = get_worker_info()
        random = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            which = int(random.choice(len(self.datasets), p=self.shares))
            samples = self.datasets[which].samples
            sample = samples[random.integers(len(samples))]
            yield which, random_crop(sample.read_image(), sample.read_mask(), self.size, STRIDE, random)


def count_pixels(data: IndexedDataset) -> NDArray[np.float64]:
    """Pixels of each class over an even selection of the masks."""
    counts = np.zeros(256)
    for sample in data.samples[:: max(1, len(data.samples) // COUNTED)]:
        counts += np.bincount(sample.read_mask()[::4, ::4].reshape(-1), minlength=256)
    return counts[: len(data.classes)]


class TinyTrainer(TimedRun[TinyRecipe, TinyNetwork, tuple[int, Crop]]):
    """Trains everything of `tiny` but its prompt head."""

    def __init__(self, recipe: TinyRecipe) -> None:
        super().__init__(recipe, _initial_network(recipe))
        self.datasets = [read_dataset(recipe.data, name, "train") for name in recipe.sets]
        sizes = [len(data.samples) ** recipe.mixing * recipe.sets[data.name] for data in self.datasets]
        self.shares = np.array(sizes) / sum(sizes)
        self.rule = read_card(BUNDLED.parent).background
        book = TextBook.read(FOLDER / "tiny_texts.yaml")
        self.table = TextTable(book, self.datasets, self.rule.words, TEMPLATE, load_text_tower())
        self.rows = torch.from_numpy(self.table.rows).to(self.device)
        self.spaces = [LabelSpace.of(data, self.table, count_pixels(data), recipe.balance) for data in self.datasets]
        person = self.table.index.get("person")  # nobody's own pictures need show one
        self.person_space = None if person is None else LabelSpace(np.array([person]), True, np.ones(2, np.float32))

    def _examples(self, phase: Phase) -> Crops:
        return Crops(self.datasets, self.shares, phase.crop, self.recipe.seed + self.step)

    def _loss(self, batch: list[tuple[int, Crop]]) -> Tensor:
        pixels = torch.from_numpy(np.stack([crop for _, (crop, _) in batch])).to(self.device)
        images = (pixels.permute(0, 3, 1, 2).float() - channel(MEAN, self.device)) / channel(STD, self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            features = self.network(images)
        return self._losses(features.pixels, features.image, batch)

    def _losses(self, pixels: Tensor, image: Tensor, batch: list[tuple[int, Crop]]) -> Tensor:
        questions = []
        drawn: set[int] = set()
        for which, (_, labels) in batch:
            space = self.spaces[which]
            fashion = self.datasets[which].name == "fashion"
            if fashion and self.person_space is not None and self.random.random() < PERSON_VIEW:
                space = self.person_space
                labels = np.where((labels > 0) & (labels != 255), np.uint8(1), labels)
            full = full_question(labels, space, self.table, self.rule.same_meaning, self.random)
            part = random_question(labels, space, self.table, self.rule.same_meaning, self.random)
            drawn.update(full.rows, full.words, part.rows, part.words)
            questions.append((labels, space, full, part))
        rows = sorted(drawn)
        vectors = self.network.project_texts(self.rows[rows])
        texts = dict(zip(rows, vectors.unbind(), strict=True))
        losses = []
        # Unbound once: indexing inside the loop would fill one whole-batch gradient for each use.
        for own_pixels, own_image, (labels, space, full, part) in zip(
            pixels.unbind(), image.unbind(), questions, strict=True
        ):
            losses += [
                question_loss(self.network, own_pixels, own_image, full, texts),
                self.recipe.subset_weight * question_loss(self.network, own_pixels, own_image, part, texts),
                self.recipe.presence_weight * presence_loss(self.network, own_image, labels, space, full.rows, texts),
            ]
        return torch.stack(losses).sum() / len(batch)

    def _told(self) -> dict[str, float]:
        return {
            "nobody": round(self.network.nobody.item(), 3),
            "scale": round(self.network.log_scale.exp().item(), 2),
        }

    def _weights(self) -> dict[str, Tensor]:
        return self.average


def _initial_network(recipe: TinyRecipe) -> TinyNetwork:
    torch.manual_seed(recipe.seed)
    network = TinyNetwork()
    if recipe.start == "scratch":
        return network
    path = BUNDLED if recipe.start == "bundled" else Path(recipe.start)
    state = TinyState.of(read_weights(path, None)).network
    fresh, unexpected = network.load_state_dict(state, strict=False)
    fresh = [name for name in fresh if not name.endswith("num_batches_tracked")]
    if unexpected:
        raise WeightsError(f"{path} holds {unexpected[:3]}, which tiny's network has not")
    if fresh:
        print(f"trained from random values: {', '.join(fresh)}", flush=True)
    return network
