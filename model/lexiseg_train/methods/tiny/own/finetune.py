"""Fine-tuning of `tiny` on a user's own pictures: the projection of texts is trained, the image tower is frozen.

Pixels keep their embeddings, so masks of points and boxes stay as they are. A class is a direction among the pixels'
embeddings, which a few photographs are enough to find. A regularisation term keeps the vectors of other words, and of
classes without a photograph, near their old values. The final weights interpolate between the old and the trained
projection; cross-validation chooses the step when the model is published (`publish_finetuned`).
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
from torch.utils._pytree import tree_map_only

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.errors import RecipeError
from lexiseg_model.files.names import visible_files
from lexiseg_model.methods.tiny.network import ImageFeatures, TinyNetwork
from lexiseg_model.methods.tiny.weights import FILE, TEMPLATE, TinyState
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.vocabulary.class_names import BACKGROUND
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.data.own.prepare import prepare
from lexiseg_train.data.own.repeats import GROUPS
from lexiseg_train.methods.tiny.drawn.examples import Batch
from lexiseg_train.methods.tiny.losses import BatchQuestions, Presences, Questions
from lexiseg_train.methods.tiny.recipe import OWN, FinetuneRecipe, TinyRecipe
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook, TextTable
from lexiseg_train.methods.tiny.trainer import TinyTrainer, Trained, initial_network
from lexiseg_train.training.packs import Pack

METHOD = "tiny"
DATASET_FOLDER = "laid-out"  # folder in the run's output with the prepared pictures
SOURCE_FILE = "source.json"  # in it: names, sizes and times of the original files
PROJECTIONS = "projections.safetensors"  # [F + 1, D, 384] of the folds and of all photographs
MIN_SIMILARITY = 0.7  # cosine with a class from which a word may move with it
HALF_COUNT = 4  # photographs of a class that halve its weight in the regularisation


def start_folder(recipe: FinetuneRecipe) -> Path:
    """The model directory that tuning starts from.

    Raises:
        UnknownModelError: there is no model of that name.
        RecipeError: the model belongs to another method.
    """
    path = Path(recipe.start)
    folder, card = (
        (path, catalogue.read_card(path)) if path.is_dir() else catalogue.find(recipe.start, recipe.models_dir)
    )
    if card.method != METHOD:
        raise RecipeError(f"start={recipe.start}: models of method {METHOD} can be tuned, this one is of {card.method}")
    return folder


def write_dataset(recipe: FinetuneRecipe) -> TinyRecipe:
    """Check and split the pictures and write them as a data set, once; return the recipe with that data set.

    Raises:
        DatasetError: the pictures are faulty.
        RecipeError: `out` holds a run on other pictures.
    """
    root = recipe.out / DATASET_FOLDER
    source = _source(recipe)
    if (root / SOURCE_FILE).is_file() and (root / OWN / GROUPS).is_file():
        if json.loads((root / SOURCE_FILE).read_text()) != source:
            raise RecipeError(
                f"{recipe.out} holds a run on other pictures than those now in {recipe.data}; choose another out="
            )
    else:
        shutil.rmtree(root, ignore_errors=True)  # leftovers of a killed run
        root.mkdir(parents=True)
        report = prepare(recipe.data, root / OWN, recipe.photographs, recipe.root)
        for warning in report.warnings:
            print(f"warning: {warning}", flush=True)
        n_photographs = report.photographs
        held_out = f", {n_photographs['val']} kept apart" if "val" in n_photographs else ""
        classes = ", ".join(report.named)
        print(f"{n_photographs['train']} photographs to learn from{held_out}; classes: {classes}", flush=True)
        (root / SOURCE_FILE).write_text(json.dumps(source))
    folders = {"data": root, "packs": root / "packs"}
    return recipe.model_copy(update=folders | {"start": str(start_folder(recipe) / FILE), "sets": {OWN: 1.0}})


def untrained(recipe: FinetuneRecipe) -> TinyNetwork:
    """Untrained network, of which only the text projection is trained."""
    network = TinyNetwork().requires_grad_(False)
    network.text_projection.requires_grad_(True)
    return network


class Tuned(Trained):
    """A frozen network, and the trained text projections [F + 1, D, 384] of F folds and of all photographs."""

    def __init__(self, network: TinyNetwork, n_folds: int) -> None:
        super().__init__(network.requires_grad_(False))
        self.deep.requires_grad_(False)
        self.projections = nn.Parameter(network.text_projection.weight.detach().repeat(n_folds + 1, 1, 1))


class FinetuneTrainer(TinyTrainer):
    """Trains projections of texts for cross-validation, all from the same image passes.

    Each photograph is in one fold, with those that look like it. A fold's projection learns from the photographs of the
    others, and the last projection learns from all of them.
    """

    recipe: FinetuneRecipe

    def __init__(self, recipe: FinetuneRecipe) -> None:
        inner = write_dataset(recipe)
        n_folds = count_folds(recipe)
        network = Tuned(initial_network(inner), n_folds)
        super().__init__(inner, network=network)
        self.recipe = recipe
        self.prompts = TinyState.from_tensors(read_weights(Path(inner.start), None)).prompts
        [pack] = [source.pack for source in self.sources]
        self._offsets = torch.from_numpy(pack.places[:, 0].copy())
        self._fold_of = torch.from_numpy(folds(read_groups(recipe), n_folds, recipe.seed))  # [P]
        counts = count_photographs(self.table, pack, self._fold_of.numpy(), n_folds)  # [F + 1, concepts]
        self._visible = torch.from_numpy(counts)[:, torch.from_numpy(self.table.concept_of)] > 0  # [F + 1, N] of rows
        self._anchors: list[Anchors] = []
        if recipe.keep:
            concepts = [self.table.index[name] for name in pack.classes if name != BACKGROUND]
            rows, other_words = self.table.plain_rows[concepts], rows_of_others()
            place = network.network.text_projection.weight
            self._anchors = [Anchors(place, rows, other_words, each[concepts]) for each in counts]

    def train(self) -> Path | None:
        weights = super().train()
        if weights is not None:
            save_file({"projections": self.average["projections"].float().cpu()}, self.recipe.out / PROJECTIONS)
        return weights

    def _mode(self) -> None:
        self.network.eval()  # keeps the statistics of batch norms, too

    def _loss(self, batch: Batch) -> Tensor:
        features, deep, _ = self._features(self._images(batch.views))
        # Pixels of photographs are concatenated in the pack, so an offset identifies the photograph.
        fold_of = self._fold_of[torch.searchsorted(self._offsets, batch.views.windows.places[:, 0].contiguous())]
        losses = []
        for fold, projection in enumerate(self.network.get_parameter("projections")):
            in_training_part = fold_of != fold
            if in_training_part.any():
                part_features = ImageFeatures(*(each[in_training_part.to(self.device)] for each in features))
                questions = without_unseen(batch.questions, in_training_part, self._visible[fold])
                losses.append(
                    self._losses(
                        part_features, deep[in_training_part.to(self.device)], questions, partial(_project, projection)
                    )
                )
            if self._anchors:
                losses.append(self.recipe.keep * self._anchors[fold].loss(projection))
        return torch.stack(losses).sum()

    def _weights(self) -> dict[str, Tensor]:
        return TinyState(super()._weights(), self.prompts).merged()


class Anchors:
    """Regularisation: text vectors stay near those of the initial projection.

    The weight of a word is HALF_COUNT / (HALF_COUNT + n), n the number of photographs that show it or a similar class.
    """

    def __init__(
        self, start: Tensor, classes: NDArray[np.float32], other_words: NDArray[np.float32], counts: NDArray[np.int64]
    ) -> None:
        """
        Args:
            start: [D, 384] the projection that tuning starts from.
            classes: [C, 384] rows of the user's classes.
            other_words: [N, 384] rows of other words.
            counts: [C] how many photographs show each class.
        """
        self._groups = []
        for rows in (classes, other_words):
            alike = rows @ classes.T >= MIN_SIMILARITY  # [N, C]
            n_photographs = np.where(alike, counts, 0).max(1, initial=0)
            weights = torch.from_numpy((HALF_COUNT / (HALF_COUNT + n_photographs)).astype(np.float32)).to(start.device)
            device_rows = torch.from_numpy(rows).to(start.device)
            self._groups.append((device_rows, weights, _project(start.detach(), device_rows)))

    def loss(self, projection: Tensor) -> Tensor:
        """Sum of the weighted mean squared distances of classes and other words from their initial vectors; scalar."""
        distances = [
            (weights * (_project(projection, rows) - places).square().sum(1)).mean()
            for rows, weights, places in self._groups
        ]
        return torch.stack(distances).sum()


def count_folds(recipe: FinetuneRecipe) -> int:
    """Number of folds; each projection but the last leaves out the photographs of one fold."""
    return max(2, round(1 / recipe.held_out))


def read_groups(recipe: FinetuneRecipe) -> NDArray[np.int64]:
    """[P] the group of each photograph for training: those of one look alike."""
    return np.array(json.loads((recipe.out / DATASET_FOLDER / OWN / GROUPS).read_bytes()), np.int64)


def folds(groups: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """[P] the fold of each photograph, 0..n_folds - 1; a group of [P] is in one fold, and folds are of like sizes."""
    members = [np.flatnonzero(groups == group) for group in dict.fromkeys(groups.tolist())]
    fold_of, sizes = np.empty(len(groups), np.int64), np.zeros(n_folds, np.int64)
    for place in np.random.default_rng(seed).permutation(len(members)).argsort():
        fold = int(sizes.argmin())
        fold_of[members[place]] = fold
        sizes[fold] += len(members[place])
    return fold_of


def count_photographs(table: TextTable, pack: Pack, fold_of: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """[F + 1, concepts] number of training photographs of each projection that show a concept."""
    counts = np.zeros((n_folds + 1, len(table.concepts)), np.int64)
    for value, name in enumerate(pack.classes):
        if name != BACKGROUND:
            holders = fold_of[pack.areas[:, value] > 0]
            counts[:, table.index[name]] = [(holders != fold).sum() for fold in range(n_folds + 1)]
    return counts


def without_unseen(questions: BatchQuestions, images: Tensor, visible: Tensor) -> BatchQuestions:
    """The questions of some images, without classes that no photograph shows.

    Args:
        questions: of B images.
        images: [B] bool, the images to keep.
        visible: [N] bool, whether any photograph shows the class of each row of the text table.
    """
    visible = visible[questions.rows]  # [U] of the batch's bank

    def select(question_set: Questions) -> Questions:
        part = tree_map_only(Tensor, lambda each: each[images], question_set)
        channels = part.competing & torch.cat([torch.ones_like(part.competing[:, :1]), visible[part.classes]], 1)
        targets = part.targets
        answered = channels.gather(1, targets.masked_fill(targets == IGNORE, 0))
        questions: Questions = part._replace(competing=channels, targets=targets.masked_fill(~answered, IGNORE))
        return questions

    classes, states = questions.presences.classes[images], questions.presences.states[images]
    presences = Presences(classes, states.masked_fill(~visible[classes], -1))
    return BatchQuestions(questions.rows, select(questions.full), select(questions.part), presences)


def rows_of_others() -> NDArray[np.float32]:
    """Rows [N, 384] of all words in `texts.yaml`."""
    book = TextBook.read(TEXTS)
    other_words = {*book.synonyms, *book.rare, *book.nouns, *(word for some in book.synonyms.values() for word in some)}
    return load_text_tower().encode([TEMPLATE.format(word) for word in sorted(other_words)])


def _project(projection: Tensor, rows: Tensor) -> Tensor:
    """[D, 384] and sentence embeddings [T, 384] -> unit vectors [T, D]."""
    return F.normalize(rows.float() @ projection.T, dim=1)


def _source(recipe: FinetuneRecipe) -> list[list[object]]:
    """Name, size and time of every file, and how they are split."""
    files = visible_files(recipe.data) if recipe.data.is_dir() else [recipe.data]
    listed = [[str(path.relative_to(recipe.data)), path.stat().st_size, int(path.stat().st_mtime)] for path in files]
    return [[recipe.held_out, recipe.seed, recipe.photographs], *listed]
