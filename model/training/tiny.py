"""The training loop of `tiny`: mixed data sets, random requests, averaged weights, resumable at any minute."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from model.catalog import read_card
from model.data.indexed import IndexedDataset, read_dataset
from model.device import choose_device
from model.errors import WeightsError
from model.methods.tiny.network import MEAN, STD, STRIDE, TinyNetwork
from model.methods.tiny.text_tower import load_text_tower
from model.methods.tiny.weights import BUNDLED, TEMPLATE
from model.training.augment import Crop, random_crop
from model.training.losses import LabelSpace, full_question, presence_loss, question_loss, random_question
from model.training.recipe import FOLDER, Phase, TinyRecipe
from model.training.texts import TextBook, TextTable
from model.weights import read_weights

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


class TinyTrainer:
    """One run of the recipe. `train()` continues from the newest checkpoint in `recipe.out`."""

    def __init__(self, recipe: TinyRecipe) -> None:
        self.recipe = recipe
        self.device = choose_device(recipe.device)
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
        self.random = np.random.default_rng(recipe.seed)
        self.network = convert_conv2d_weight_memory_format(self._initial_network().to(self.device), torch.channels_last)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            fused=True,
        )
        self.step = 0
        self.crops_seen = 0
        self.seconds = 0.0

    def _initial_network(self) -> TinyNetwork:
        torch.manual_seed(self.recipe.seed)
        network = TinyNetwork()
        if self.recipe.start == "scratch":
            return network
        path = BUNDLED if self.recipe.start == "bundled" else Path(self.recipe.start)
        state = read_weights(path, None)
        fresh, unexpected = network.load_state_dict(state, strict=False)
        fresh = [name for name in fresh if not name.endswith("num_batches_tracked")]
        if unexpected:
            raise WeightsError(f"{path} holds {unexpected[:3]}, which tiny's network has not")
        if fresh:
            print(f"trained from random values: {', '.join(fresh)}", flush=True)
        return network

    @property
    def progress(self) -> float:
        """Share of the run that is done, by the time spent training."""
        return min(1.0, self.seconds / (60 * self.recipe.minutes))

    def train(self) -> Path:
        """Trains until the recipe's minutes are spent; returns the path of the averaged fp16 weights."""
        self.recipe.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        saved = clock = time.monotonic()
        logged: list[float] = []
        while self.progress < 1:
            phase = self._phase()
            for batch in self._loader(phase):
                logged.append(self._step(batch))
                now = time.monotonic()
                self.seconds += now - clock
                clock = now
                if self.step % 50 == 0:
                    self._log(logged, phase)
                    logged.clear()
                if now - saved > 60 * self.recipe.checkpoint_minutes:
                    self._save()
                    saved = now
                if self.progress >= 1 or self._phase() != phase:
                    break
        self._save()
        return self.recipe.out / "tiny.safetensors"

    def _phase(self) -> Phase:
        """The last phase that has begun."""
        return [phase for phase in self.recipe.phases if phase.after <= self.progress][-1]

    def _loader(self, phase: Phase) -> Iterator[list[tuple[int, Crop]]]:
        crops = Crops(self.datasets, self.shares, phase.crop, self.recipe.seed + self.step)
        return iter(
            DataLoader(
                crops,
                batch_size=phase.batch,
                num_workers=self.recipe.workers,
                collate_fn=list,
                prefetch_factor=4 if self.recipe.workers else None,
            )
        )

    def _step(self, batch: list[tuple[int, Crop]]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        pixels = torch.from_numpy(np.stack([crop for _, (crop, _) in batch])).to(self.device)
        images = (pixels.permute(0, 3, 1, 2).float() - _channel(MEAN, self.device)) / _channel(STD, self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            features = self.network(images)
        loss = self._loss(features.pixels, features.image, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimizer.step()
        self.step += 1
        self.crops_seen += len(batch)
        self._average()
        return loss.item()

    def _loss(self, pixels: Tensor, image: Tensor, batch: list[tuple[int, Crop]]) -> Tensor:
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

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / max(1, self.recipe.warmup_steps))
        return self.recipe.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress)))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.average_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)

    def _log(self, losses: list[float], phase: Phase) -> None:
        entry = {
            "step": self.step,
            "crops": self.crops_seen,
            "minutes": round(self.seconds / 60, 1),
            "loss": round(sum(losses) / len(losses), 4),
            "learning_rate": round(self._learning_rate(), 6),
            "crop": phase.crop,
            "nobody": round(self.network.nobody.item(), 3),
            "scale": round(self.network.log_scale.exp().item(), 2),
        }
        print(json.dumps(entry), flush=True)

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "crops": self.crops_seen,
            "seconds": self.seconds,
        }
        fresh = self.recipe.out / "checkpoint.new"
        torch.save(state, fresh)
        os.replace(fresh, self.recipe.out / "checkpoint.pt")  # a kill in between loses nothing
        half = {
            name: value.half().contiguous().cpu() for name, value in self.average.items() if value.is_floating_point()
        }
        save_file(half, self.recipe.out / "tiny.safetensors")
        (self.recipe.out / "recipe.yaml").write_text(yaml.safe_dump(self.recipe.model_dump(mode="json")))

    def _resume(self) -> None:
        path = self.recipe.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.crops_seen, self.seconds = state["step"], state["crops"], state["seconds"]
        self.random = np.random.default_rng([self.recipe.seed, self.step])
        print(f"resumed at step {self.step}, {self.seconds / 60:.1f} minutes", flush=True)


def _channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, 3, 1, 1)
