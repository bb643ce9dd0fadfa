"""Tuning `tiny` on a user's own pictures: the projection of texts moves, the image tower stays as it is.

Pixels keep their embeddings, so the prompt head goes on working and little can be forgotten; a class is a direction
among them, which a few photographs are enough to find. The other words that the recipe knows are held where they were.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor

from lexiseg_model import catalog
from lexiseg_model.data.indexed import BACKGROUND, CLASSES
from lexiseg_model.data.own.lay_out import lay_out, prepare
from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.tiny.network import ImageFeatures, TinyNetwork
from lexiseg_model.methods.tiny.training.losses import Stacked
from lexiseg_model.methods.tiny.training.recipe import OWN, TEXTS, FinetuneRecipe, TinyRecipe
from lexiseg_model.methods.tiny.training.texts import TextBook, kept_rows
from lexiseg_model.methods.tiny.training.trainer import TinyTrainer
from lexiseg_model.methods.tiny.weights import FILE, TEMPLATE, TinyState
from lexiseg_model.weights import read_weights

METHOD = "tiny"
LAID_OUT = "laid-out"  # folder of a run, of the pictures as they are trained on
SOURCE = "source.json"  # in it: which files they were made of
TUNED = "network.text_projection.weight"
NEAR = 0.7  # likeness to a class from which a word may move with it


def start_folder(recipe: FinetuneRecipe) -> Path:
    """The model directory that tuning starts from.

    Raises:
        UnknownModelError: there is no model of that name.
        RecipeError: it is of another method.
    """
    path = Path(recipe.start)
    folder, card = (path, catalog.read_card(path)) if path.is_dir() else catalog.find(recipe.start, recipe.models_dir)
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
        pictures, checked = prepare(recipe.data, recipe.held_out, recipe.seed, recipe.photographs)
        for warning in checked.warnings:
            print(f"warning: {warning}", flush=True)
        taught, apart, names = len(checked.train), len(checked.held_out), ", ".join(pictures.named.values())
        print(f"{taught} photographs to learn from, {apart} held out; classes: {names}", flush=True)
        shutil.rmtree(root, ignore_errors=True)  # what an end in the middle left
        lay_out(pictures, checked, root / OWN)
        (root / SOURCE).write_text(json.dumps(source))
    folders = {"data": root, "packs": root / "packs", "texts": recipe.texts or recipe.packs}
    return recipe.model_copy(update=folders | {"start": str(start_folder(recipe) / FILE), "sets": {OWN: 1.0}})


class FinetuneTrainer(TinyTrainer):
    """Trains the projection of texts; everything else comes out bit by bit as it went in."""

    recipe: FinetuneRecipe

    def __init__(self, recipe: FinetuneRecipe) -> None:
        inner = laid_out(recipe)
        super().__init__(inner)
        self.recipe = recipe
        self.prompts = TinyState.of(read_weights(Path(inner.start), None)).prompts
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name == TUNED)
        classes: list[str] = json.loads((inner.data / OWN / CLASSES).read_text())
        self.others: OtherWords | None = None
        if recipe.keep:
            rows = rows_of_others([name for name in classes if name != BACKGROUND], recipe.texts or recipe.packs)
            self.others = OtherWords(self.network.network, rows.to(self.device))

    def _mode(self) -> None:
        self.network.eval()  # the statistics of batch norms stay, too

    def _losses(self, features: ImageFeatures, deep: Tensor, asked: Stacked) -> Tensor:
        loss = super()._losses(features, deep, asked)
        if self.others is None:
            return loss
        return loss + self.recipe.keep * self.others.moved(self.network.network)

    def _weights(self) -> dict[str, Tensor]:
        return TinyState(super()._weights(), self.prompts).together()


class OtherWords:
    """Words that are not tuned, and where a network had them."""

    def __init__(self, network: TinyNetwork, rows: Tensor) -> None:
        self._rows = rows  # [N, 384]
        with torch.no_grad():
            self._places = network.project_texts(rows)  # [N, 96]

    def moved(self, network: TinyNetwork) -> Tensor:
        """The mean squared distance from there, a scalar."""
        return (network.project_texts(self._rows) - self._places).square().sum(1).mean()


def rows_of_others(classes: list[str], folder: Path) -> Tensor:
    """[N, 384] of every word of the recipe of `tiny` that is not like one of the classes.

    Args:
        classes: those that are tuned.
        folder: where rows are kept for the next start.
    """
    book = TextBook.read(TEXTS)
    others = {*book.synonyms, *book.rare, *book.nouns, *(word for some in book.synonyms.values() for word in some)}
    rows = kept_rows(folder).encode([TEMPLATE.format(word) for word in (*classes, *sorted(others))])
    likeness = rows[len(classes) :] @ rows[: len(classes)].T  # [N, C]
    return torch.from_numpy(rows[len(classes) :][likeness.max(1) < NEAR])


def _source(recipe: FinetuneRecipe) -> list[list[object]]:
    """Name, size and time of every file, and how they are split."""
    files = sorted(path for path in recipe.data.rglob("*") if path.is_file())
    listed = [[str(path.relative_to(recipe.data)), path.stat().st_size, int(path.stat().st_mtime)] for path in files]
    return [[recipe.held_out, recipe.seed, recipe.photographs], *listed]
