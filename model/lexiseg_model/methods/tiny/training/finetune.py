"""Fine-tuning of `tiny` on a user's own pictures: the projection of texts is trained, the image tower is frozen.

Pixels keep their embeddings, so masks of points and boxes stay as they are. A class is a direction among the pixels'
embeddings, which a few photographs are enough to find. Other words, and classes without a photograph, are held at the
place where they were. How far the projection goes to what was learned is chosen by cross-validation when the model is
published (`publish_finetuned`).
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from lexiseg_model import catalogue
from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.data.indexed import BACKGROUND, IGNORE
from lexiseg_model.data.own.prepare import lay_out, prepare
from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.tiny.network import ImageFeatures, TinyNetwork
from lexiseg_model.methods.tiny.training.drawn.examples import Batch
from lexiseg_model.methods.tiny.training.losses import Presences, Questions, Stacked
from lexiseg_model.methods.tiny.training.recipe import OWN, TEXTS, FinetuneRecipe, TinyRecipe
from lexiseg_model.methods.tiny.training.texts import TextBook, TextTable, kept_rows
from lexiseg_model.methods.tiny.training.trainer import TinyTrainer, Trained, initial_network
from lexiseg_model.methods.tiny.weights import FILE, TEMPLATE, TinyState
from lexiseg_model.training.packs import Pack

METHOD = "tiny"
LAID_OUT = "laid-out"  # folder of a run, of the pictures as they are trained on
SOURCE = "source.json"  # in it: which files they were made of
TUNED = "text_projection.weight"
PROJECTIONS = "projections.safetensors"  # [F + 1, 96, 384] of the folds and of all photographs
NEAR = 0.7  # likeness to a class from which a word may move with it
HALF = 4  # photographs of a class that halve the weight of leaving it where it was


def start_folder(recipe: FinetuneRecipe) -> Path:
    """The model directory that tuning starts from.

    Raises:
        UnknownModelError: there is no model of that name.
        RecipeError: it is of another method.
    """
    path = Path(recipe.start)
    folder, card = (
        (path, catalogue.read_card(path)) if path.is_dir() else catalogue.find(recipe.start, recipe.models_dir)
    )
    if card.method != METHOD:
        raise RecipeError(f"start={recipe.start}: models of method {METHOD} can be tuned, this one is of {card.method}")
    return folder


def laid_out(recipe: FinetuneRecipe) -> TinyRecipe:
    """Reads, checks, splits and lays out the pictures, unless that was done; the recipe as `tiny` trains by it.

    Raises:
        DatasetError: the pictures are faulty.
        RecipeError: a run was begun in `out` with other pictures.
    """
    root = recipe.out / LAID_OUT
    source = _source(recipe)
    if (root / SOURCE).is_file():
        if json.loads((root / SOURCE).read_text()) != source:
            raise RecipeError(f"{recipe.out} is of other pictures than {recipe.data} holds now; choose another out=")
    else:
        pictures, checked = prepare(recipe.data, recipe.photographs)
        for warning in checked.warnings:
            print(f"warning: {warning}", flush=True)
        apart = f", {len(checked.held_out)} kept apart" if checked.held_out else ""
        names = ", ".join(pictures.named.values())
        print(f"{len(checked.train)} photographs to learn from{apart}; classes: {names}", flush=True)
        shutil.rmtree(root, ignore_errors=True)  # what an end in the middle left
        lay_out(pictures, checked, root / OWN)
        (root / SOURCE).write_text(json.dumps(source))
    folders = {"data": root, "packs": root / "packs", "texts": recipe.texts or recipe.packs}
    return recipe.model_copy(update=folders | {"start": str(start_folder(recipe) / FILE), "sets": {OWN: 1.0}})


class Tuned(Trained):
    """A network that stays, and the projections of texts that are trained over it: [F + 1, 96, 384]."""

    def __init__(self, network: TinyNetwork, n_folds: int) -> None:
        super().__init__(network.requires_grad_(False))
        self.deep.requires_grad_(False)
        self.projections = nn.Parameter(network.text_projection.weight.detach().repeat(n_folds + 1, 1, 1))


class FinetuneTrainer(TinyTrainer):
    """Trains projections of texts for cross-validation, all from the same image passes.

    Each photograph is in one fold. A fold's projection learns from the photographs of the others, and the last
    projection learns from all of them.
    """

    recipe: FinetuneRecipe

    def __init__(self, recipe: FinetuneRecipe) -> None:
        inner = laid_out(recipe)
        n_folds = count_folds(recipe)
        network = Tuned(initial_network(inner), n_folds)
        super().__init__(inner, network=network)
        self.recipe = recipe
        self.prompts = TinyState.of(read_weights(Path(inner.start), None)).prompts
        [pack] = [source.pack for source in self.sources]
        self._offsets = torch.from_numpy(pack.places[:, 0].copy())
        self._fold_of = torch.from_numpy(folds(len(pack), n_folds, recipe.seed))  # [P]
        shown = count_shown(self.table, pack, self._fold_of.numpy(), n_folds)  # [F + 1, concepts] photographs
        self._shown = torch.from_numpy(shown)[:, torch.from_numpy(self.table.concept_of)] > 0  # [F + 1, N] of rows
        self._anchors: list[Anchors] = []
        if recipe.keep:
            concepts = [self.table.index[name] for name in pack.classes if name != BACKGROUND]
            rows, others = self.table.plain_rows[concepts], rows_of_others(recipe.texts or recipe.packs)
            place = network.network.text_projection.weight
            self._anchors = [Anchors(place, rows, others, each[concepts]) for each in shown]

    def train(self) -> Path | None:
        weights = super().train()
        if weights is not None:
            save_file({"projections": self.average["projections"].float().cpu()}, self.recipe.out / PROJECTIONS)
        return weights

    def _mode(self) -> None:
        self.network.eval()  # the statistics of batch norms stay, too

    def _loss(self, batch: Batch) -> Tensor:
        features, deep = self._features(batch.views)
        # Photographs lie one after the other in the pack.
        fold_of = self._fold_of[torch.searchsorted(self._offsets, batch.views.windows.places[:, 0].contiguous())]
        losses = []
        for fold, projection in enumerate(self.network.get_parameter("projections")):
            seen = fold_of != fold
            if seen.any():
                part = ImageFeatures(*(each[seen.to(self.device)] for each in features))
                asked = without_unseen(batch.asked, seen, self._shown[fold])
                losses.append(self._losses(part, deep[seen.to(self.device)], asked, partial(_project, projection)))
            if self._anchors:
                losses.append(self.recipe.keep * self._anchors[fold].moved(projection))
        return torch.stack(losses).sum()

    def _weights(self) -> dict[str, Tensor]:
        return TinyState(super()._weights(), self.prompts).merged()


class Anchors:
    """Words that are held near the place where a network had them.

    A word's weight falls with the number of photographs that show it, or a class that it is like.
    """

    def __init__(
        self, start: Tensor, classes: NDArray[np.float32], others: NDArray[np.float32], shown: NDArray[np.int64]
    ) -> None:
        """
        Args:
            start: [96, 384] the projection that tuning starts from.
            classes: [C, 384] rows of the user's classes.
            others: [N, 384] rows of other words.
            shown: [C] how many photographs show each class.
        """
        self._groups = []
        for rows in (classes, others):
            alike = rows @ classes.T >= NEAR  # [N, C]
            n_photographs = np.where(alike, shown, 0).max(1, initial=0)
            weights = torch.from_numpy((HALF / (HALF + n_photographs)).astype(np.float32)).to(start.device)
            there = torch.from_numpy(rows).to(start.device)
            self._groups.append((there, weights, _project(start.detach(), there)))

    def moved(self, projection: Tensor) -> Tensor:
        """The weighted mean squared distance of classes from there, and that of other words; a scalar."""
        distances = [
            (weights * (_project(projection, rows) - places).square().sum(1)).mean()
            for rows, weights, places in self._groups
        ]
        return torch.stack(distances).sum()


def count_folds(recipe: FinetuneRecipe) -> int:
    """Parts of the photographs, each left out of one projection."""
    return max(2, round(1 / recipe.held_out))


def folds(n_photographs: int, n_folds: int, seed: int) -> NDArray[np.int64]:
    """[P] the fold of each photograph; they differ in size by one at most."""
    return np.random.default_rng(seed).permutation(n_photographs) % n_folds


def count_shown(table: TextTable, pack: Pack, fold_of: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """[F + 1, concepts] how many of the photographs that a projection learns from show each concept."""
    shown = np.zeros((n_folds + 1, len(table.concepts)), np.int64)
    for value, name in enumerate(pack.classes):
        if name != BACKGROUND:
            holders = fold_of[pack.areas[:, value] > 0]
            shown[:, table.index[name]] = [(holders != fold).sum() for fold in range(n_folds + 1)]
    return shown


def without_unseen(asked: Stacked, images: Tensor, shown: Tensor) -> Stacked:
    """The questions of some images, without classes that no photograph shows.

    Args:
        asked: questions of B images.
        images: [B] bool.
        shown: [N] bool: rows of the text table of classes with a photograph.
    """
    shown = shown[asked.rows]  # [U] of the batch's bank

    def reduced(questions: Questions) -> Questions:
        known = {name: each[images] for name, each in questions._asdict().items() if each is not None}
        part = questions._replace(**known)
        channels = part.asked & torch.cat([torch.ones_like(part.asked[:, :1]), shown[part.classes]], 1)
        answers = part.answers
        answered = channels.gather(1, answers.masked_fill(answers == IGNORE, 0))
        return part._replace(asked=channels, answers=answers.masked_fill(~answered, IGNORE))

    classes, states = asked.presences.classes[images], asked.presences.states[images]
    presences = Presences(classes, states.masked_fill(~shown[classes], -1))
    return Stacked(asked.rows, reduced(asked.full), reduced(asked.part), presences)


def rows_of_others(folder: Path) -> NDArray[np.float32]:
    """[N, 384] of every word of the recipe of `tiny`; `folder`: where rows are kept for the next start."""
    book = TextBook.read(TEXTS)
    others = {*book.synonyms, *book.rare, *book.nouns, *(word for some in book.synonyms.values() for word in some)}
    return kept_rows(folder).encode([TEMPLATE.format(word) for word in sorted(others)])


def _project(projection: Tensor, rows: Tensor) -> Tensor:
    """[96, 384] and sentence embeddings [T, 384] -> unit vectors [T, 96]."""
    return F.normalize(rows.float() @ projection.T, dim=1)


def _source(recipe: FinetuneRecipe) -> list[list[object]]:
    """Name, size and time of every file, and how they are split."""
    files = sorted(path for path in recipe.data.rglob("*") if path.is_file())
    listed = [[str(path.relative_to(recipe.data)), path.stat().st_size, int(path.stat().st_mtime)] for path in files]
    return [[recipe.held_out, recipe.seed, recipe.photographs], *listed]
