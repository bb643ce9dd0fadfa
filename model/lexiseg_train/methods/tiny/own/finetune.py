"""Fine-tuning of `tiny` on a user's own pictures: a longer form of teaching, only for the taught classes.

    pictures -> lessons -> solved head, and a copy of the decoder    (what `lexiseg teach` gives)
             -> both are trained together on crops                  (this module)
             -> published, where it gains on left-out pictures      (`publish_finetuned`)

The trunk, the decoder, and the words of the start stay as they are: what was not taught has the same bits as before.
Cross-validation judges the gain: each part of `Tuned` is trained without one fold, the last one with all photographs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from lexiseg_model.abilities import teachable
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import read_weights, under
from lexiseg_model.errors import RecipeError, TeachingError
from lexiseg_model.features import InferenceOptions
from lexiseg_model.files.names import visible_files
from lexiseg_model.methods.tiny.network import (
    COARSE_LEVEL,
    DECODER,
    TAUGHT,
    TEACHING,
    ImageFeatures,
    Taught,
    TinyNetwork,
    decoded_maps,
)
from lexiseg_model.methods.tiny.weights import FILE
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.heads import MAX_PICTURES, MAX_TEXT, UNKNOWN, LabelledPicture, Lesson
from lexiseg_model.vocabulary.solving import solve
from lexiseg_train.data.alike import GROUPS
from lexiseg_train.data.indexed import IndexedDataset, evenly_spread, read_dataset
from lexiseg_train.data.own.prepare import prepare
from lexiseg_train.methods.tiny.drawn.examples import Batch
from lexiseg_train.methods.tiny.losses import (
    NEVER,
    Questions,
    dice_losses,
    presence_penalty,
    question_logits,
    question_losses,
)
from lexiseg_train.methods.tiny.trainer import TinyTrainer, Trained, read_start
from lexiseg_train.methods.tiny.trainings import OWN, FinetuneRecipe, TinyRecipe

DATASET_FOLDER = "laid-out"  # folder in the run's output with the prepared pictures
SOURCE_FILE = "source.json"  # in it: names, sizes and times of the original files
PARTS = "parts.safetensors"  # of the folds and of all photographs


def write_dataset(recipe: FinetuneRecipe) -> TinyRecipe:
    """Check and split the pictures and write them as a data set, once; return the recipe with that data set.

    Raises DatasetError: the pictures are faulty; RecipeError: `out` holds a run on other pictures."""
    root = recipe.out / DATASET_FOLDER
    files = visible_files(recipe.data) if recipe.data.is_dir() else [recipe.data]
    listed = [[str(path.relative_to(recipe.data)), path.stat().st_size, int(path.stat().st_mtime)] for path in files]
    source = [[recipe.held_out, recipe.seed, recipe.photographs], *listed]
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
        classes = ", ".join(each.name for each in report.classes)
        print(f"{n_photographs['train']} photographs to learn from{held_out}; classes: {classes}", flush=True)
        (root / SOURCE_FILE).write_text(json.dumps(source))
    folders = {"data": root, "packs": root / "packs"}
    return recipe.model_copy(update=folders | {"start": str(recipe.start_folder() / FILE), "sets": {OWN: 1.0}})


class Solved(NamedTuple):
    """A solved head: `directions` [K, F] and factors `text` [K]; a class without a photograph has zeros and 1."""

    directions: Tensor
    text: Tensor

    @classmethod
    def of(cls, lessons: Sequence[Lesson], names: Sequence[str], size: int) -> Solved:
        """By lessons; by only words where these show less than two labels. `size`: F."""
        try:
            head = solve(lessons, names)
        except TeachingError:
            return cls(torch.zeros(len(names), size), torch.ones(len(names)))
        return cls(torch.from_numpy(head.directions.copy()), torch.from_numpy(head.text.copy()))


class Part(nn.Module):
    """What is trained for the photographs of some folds, with the solved directions [K, F] that it began with."""

    def __init__(self, taught: Taught, solved: Solved) -> None:
        super().__init__()
        self.taught = taught
        self.register_buffer("solved", solved.directions)
        self.solved: Tensor
        with torch.no_grad():
            taught.directions.copy_(solved.directions)
            taught.text.copy_(solved.text)

    def margins(self, pyramid: Sequence[Tensor], head: Tensor, by_words: Tensor) -> Tensor:
        """By how much classes exceed the background, [B, K, P] logits, from the trunk's maps and the same by words."""
        decoded, _ = decoded_maps(self.taught, [*pyramid], head, head.mean((2, 3), keepdim=True))
        has_pixels = self.solved.any(1)  # a class that no photograph of the part shows is answered by words
        directions = self.taught.directions * has_pixels[:, None]
        # Channels last: the gradients of convolutions take a tenth of the time.
        fine = decoded.permute(0, 2, 3, 1) @ directions[:, :DECODER].T  # [B, h, w, K]
        coarse = pyramid[COARSE_LEVEL].permute(0, 2, 3, 1) @ directions[:, DECODER:-1].T
        enlarged = F.interpolate(coarse.permute(0, 3, 1, 2), size=decoded.shape[-2:], mode="bilinear")
        products = fine.permute(0, 3, 1, 2) + enlarged + directions[:, -1, None, None]
        words = torch.where(has_pixels[:, None], by_words.clamp(-MAX_TEXT, MAX_TEXT), by_words)
        return products.flatten(2) + self.taught.text[:, None] * words


class Tuned(Trained):
    """A frozen network, and a `Part` for each fold, which has learned from the others, and for all photographs."""

    def __init__(self, network: TinyNetwork, heads: Sequence[Solved]) -> None:
        super().__init__(network.requires_grad_(False))
        self.deep.requires_grad_(False)
        self.parts = nn.ModuleList(Part(initial_taught(network, len(head.text)), head) for head in heads)


def initial_taught(network: TinyNetwork, n_classes: int) -> Taught:
    """What tuning begins with: the decoder that lessons of the network are of, without directions."""
    taught = Taught(n_classes)
    decoder = network if network.taught is None else network.taught
    own = {name: value for name, value in decoder.state_dict().items() if name in taught.state_dict()}
    taught.load_state_dict(own | {name: taught.state_dict()[name] for name in ("directions", "text")})
    return taught.requires_grad_(True)


def untrained(recipe: FinetuneRecipe) -> Tuned:
    network = TinyNetwork()
    return Tuned(network, [Solved(torch.zeros(1, TEACHING), torch.ones(1))])


class FinetuneTrainer(TinyTrainer):
    """Trains the parts of `Tuned` from the same passes of the trunk; similar photographs are in one fold."""

    recipe: FinetuneRecipe

    def __init__(self, recipe: FinetuneRecipe) -> None:
        """Raises TeachingError: the photographs show no two labels."""
        inner = write_dataset(recipe)
        n_folds = count_folds(recipe)
        fold_of = folds(read_groups(recipe), n_folds, recipe.seed)
        start = Path(inner.start)
        network = Tuned(read_start(start), solved_heads(recipe, inner, fold_of, n_folds))
        super().__init__(inner, network=network)
        self.recipe = recipe
        self._start = read_weights(start, None)
        [pack] = [source.pack for source in self.sources]
        self._offsets = torch.from_numpy(pack.places[:, 0].copy())
        self._fold_of = torch.from_numpy(fold_of)  # [P]

    def train(self) -> Path | None:
        weights = super().train()
        if weights is not None:
            parts = {name: value.cpu().contiguous() for name, value in under("parts.", self.average).items()}
            save_file(parts, self.recipe.out / PARTS)
        return weights

    def _mode(self) -> None:
        self.network.eval()  # batch norms keep their statistics

    def _loss(self, batch: Batch) -> Tensor:
        full = tree_map_only(Tensor, lambda part: part.to(self.device), batch.questions.full)
        bank_rows = self.rows[batch.questions.rows.to(self.device)]
        with self.autocast(), torch.no_grad():
            shallow, (deep, head) = self._trunk(self._images(batch.views))
            pyramid = [*shallow, *deep]
            features, _ = self.network.network.decode(pyramid, head)
            by_words = margins_by_words(self.network.network, features, full, bank_rows)
        # Pixels of photographs are concatenated in the pack, so an offset identifies the photograph.
        fold_of = self._fold_of[torch.searchsorted(self._offsets, batch.views.windows.places[:, 0].contiguous())]
        losses = []
        for fold, part in enumerate(self.network.get_submodule("parts").children()):
            assert isinstance(part, Part)
            images = (fold_of != fold).nonzero()[:, 0].to(self.device)
            if len(images):
                with self.autocast():
                    margins = part.margins([level[images] for level in pyramid], head[images], by_words[images])
                losses.append(self._part_loss(margins.float(), of_images(full, images)))
        return torch.stack(losses).sum()

    def _part_loss(self, margins: Tensor, questions: Questions) -> Tensor:
        logits = F.pad(margins, (0, 0, 1, 0)).masked_fill(~questions.competing[..., None], NEVER)
        entropy, dice = question_losses(logits, questions).mean(), dice_losses(logits, questions).mean()
        self.note(entropy=entropy.item(), dice=dice.item())
        return entropy + self.recipe.dice_weight * dice

    def _weights(self) -> dict[str, Tensor]:
        taught = under(f"parts.{count_folds(self.recipe)}.taught.", self.average)
        return with_taught(self._start, taught)


def of_images(questions: Questions, images: Tensor) -> Questions:
    part: Questions = tree_map_only(Tensor, lambda each: each[images], questions)
    return part


def with_taught(start: dict[str, Tensor], taught: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weights file, with other taught classes than before; the others keep their bits."""
    others = {name: value for name, value in start.items() if not name.startswith(TAUGHT)}
    return others | {f"{TAUGHT}{name}": value for name, value in taught.items()}


def margins_by_words(network: TinyNetwork, features: ImageFeatures, questions: Questions, rows: Tensor) -> Tensor:
    """By how much the words of classes exceed the background: [B, K, P] logits; `rows` [U, 384] of the bank."""
    bank = network.project_texts(rows)
    penalty = presence_penalty(network, features.image, features.cells.float(), bank[questions.classes])
    logits = question_logits(network, features.pixels.flatten(2), penalty, questions, bank)
    bound = network.log_scale.exp() * network.nobody
    return logits[:, 1:] - torch.where(questions.competing[:, :1, None], logits[:, :1], bound)


def solved_heads(recipe: FinetuneRecipe, inner: TinyRecipe, fold_of: NDArray[np.int64], n_folds: int) -> list[Solved]:
    """The head of each fold's other photographs, and of all. Raises TeachingError: these show no two labels."""
    data = read_dataset(inner.data, OWN, "train")
    segmenter = catalogue.load_folder(recipe.start_folder(), recipe.device)
    lessons, names = dict(lessons_of(segmenter, data)), [*data.named.values()]
    size = teachable(segmenter).teaching_size
    solve([*lessons.values()], names)  # raises
    return [
        Solved.of([each for index, each in lessons.items() if fold_of[index] != fold], names, size)
        for fold in range(n_folds + 1)
    ]


def lessons_of(segmenter: Segmenter, data: IndexedDataset) -> Iterator[tuple[int, Lesson]]:
    """What evenly chosen photographs teach, by their numbers."""
    names, labels = tuple(data.named.values()), labels_by_value(data)
    bank = bank_of(segmenter, Vocabulary(tuple(map(ClassEntry, names)), Background()), KnownRows(segmenter))
    for index in evenly_spread(range(len(data.samples)), MAX_PICTURES):
        image, truth = data.samples[index].read(len(data.classes))
        features = segmenter.encode(image, InferenceOptions(teaching=True))
        yield index, teachable(segmenter).lesson(features, LabelledPicture(labels[truth], names), bank)


def labels_by_value(data: IndexedDataset) -> NDArray[np.int64]:
    """[256] the label in a lesson of each mask value; the background is the last."""
    labels = np.full(256, UNKNOWN)
    labels[[*data.named]] = np.arange(len(data.named))
    if data.has_background:
        labels[0] = len(data.named)
    return labels


def count_folds(recipe: FinetuneRecipe) -> int:
    """Number of folds; each projection but the last leaves out the photographs of one fold."""
    return max(2, round(1 / recipe.held_out))


def read_groups(recipe: FinetuneRecipe) -> NDArray[np.int64]:
    """[P] the group of each photograph for training: the members of one look alike."""
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
