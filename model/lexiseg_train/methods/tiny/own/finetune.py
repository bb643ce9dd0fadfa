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
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from lexiseg_model.abilities import teachable
from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest, read_weights, under
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
from lexiseg_model.methods.tiny.words.familiar import FILE as FAMILIAR
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows, bank_of
from lexiseg_model.vocabulary.heads import MAX_PICTURES, MAX_TEXT, UNKNOWN, LabelledPicture, Lesson
from lexiseg_model.vocabulary.solving import solve
from lexiseg_train.data.alike import GROUPS
from lexiseg_train.data.indexed import IndexedDataset, evenly_spread, read_dataset
from lexiseg_train.data.own.prepare import prepare
from lexiseg_train.evaluation.comparison import BeforeAfter, counts_of, write_samples
from lexiseg_train.methods.tiny.drawn.examples import Batch
from lexiseg_train.methods.tiny.losses import (
    NEVER,
    Questions,
    dice_losses,
    presence_penalty,
    question_logits,
    question_losses,
)
from lexiseg_train.methods.tiny.publish import started_from
from lexiseg_train.methods.tiny.texts import write_more_words
from lexiseg_train.methods.tiny.trainer import TinyTrainer, Trained, read_start
from lexiseg_train.methods.tiny.trainings import OWN, FinetuneRecipe, TinyRecipe
from lexiseg_train.training.model_card import data_entry, lineage, origin_fields, quality_of

DATASET_FOLDER = "laid-out"  # folder in the run's output with the prepared pictures
SOURCE_FILE = "source.json"  # in it: names, sizes and times of the original files
PARTS = "parts.safetensors"  # of the folds and of all photographs
SAMPLES, COMPARED = "samples", "before-after.json"
NOT_FOUND = -1.0  # logit of words that find nothing
LIMIT = (
    "Tuned on a few photographs: other words are answered as before, the taught classes were not measured elsewhere."
)


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
    """A solved head, `directions` [K, F] and factors `text` [K], and what training begins with: the same, but without
    words where the head leaves a class to them. A class without a photograph has zeros and 1."""

    directions: Tensor
    text: Tensor
    first_directions: Tensor
    first_text: Tensor

    @classmethod
    def of(cls, lessons: Sequence[Lesson], names: Sequence[str], size: int) -> Solved:
        """By lessons; by only words where these show less than two labels. `size`: F."""
        try:
            head = solve(lessons, names)
        except TeachingError:
            nothing = torch.zeros(len(names), size), torch.ones(len(names))
            return cls(*nothing, *nothing)
        directions, text = torch.from_numpy(head.directions.copy()), torch.from_numpy(head.text.copy())
        if head.places is not None:  # weights know no places: such a class is answered by words, as without one
            has_place = torch.from_numpy(head.places.any(1))
            directions[has_place], text[has_place] = 0.0, 1.0
        # As if words found nothing, so that the pictures of each class teach; their part is a constant then.
        unread = solve([replace(each, text=np.full_like(each.text, NOT_FOUND)) for each in lessons], names)
        by_words, first_directions, first_text = text >= 1, directions.clone(), text.clone()
        of_pictures, factors = torch.from_numpy(unread.directions.copy()), torch.from_numpy(unread.text.copy())
        of_pictures[:, -1] += NOT_FOUND * factors
        is_taught = by_words & (factors < 1)
        first_directions[is_taught], first_text[is_taught] = of_pictures[is_taught], 0.0
        return cls(directions, text, first_directions, first_text)


class Part(nn.Module):
    """What is trained for the photographs of some folds, with the solved head, directions [K, F] and factors [K], that
    it is compared with."""

    def __init__(self, taught: Taught, solved: Solved) -> None:
        super().__init__()
        self.taught = taught
        for name, value in (("solved", solved.directions), ("text", solved.text)):
            self.register_buffer(name, value)
        self.register_buffer("has_pixels", solved.first_directions.any(1))
        self.has_pixels: Tensor
        with torch.no_grad():
            taught.directions.copy_(solved.first_directions)
            taught.text.copy_(solved.first_text)

    def margins(self, pyramid: Sequence[Tensor], head: Tensor, by_words: Tensor) -> Tensor:
        """By how much classes exceed the background, [B, K, P] logits, from the trunk's maps and the same by words."""
        decoded, _ = decoded_maps(self.taught, [*pyramid], head, head.mean((2, 3), keepdim=True))
        # A class that no photograph of the part shows is answered by words.
        directions = self.taught.directions * self.has_pixels[:, None]
        # Channels last: the gradients of convolutions take a tenth of the time.
        fine = decoded.permute(0, 2, 3, 1) @ directions[:, :DECODER].T  # [B, h, w, K]
        coarse = pyramid[COARSE_LEVEL].permute(0, 2, 3, 1) @ directions[:, DECODER:-1].T
        enlarged = F.interpolate(coarse.permute(0, 3, 1, 2), size=decoded.shape[-2:], mode="bilinear")
        products = fine.permute(0, 3, 1, 2) + enlarged + directions[:, -1, None, None]
        words = torch.where(self.has_pixels[:, None], by_words.clamp(-MAX_TEXT, MAX_TEXT), by_words)
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
    nothing = torch.zeros(1, TEACHING), torch.ones(1)
    return Tuned(network, [Solved(*nothing, *nothing)])


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


def publish_finetuned(recipe: FinetuneRecipe, weights: Path) -> ModelCard:
    """Write the card, the words, `before-after.json` and `samples/`; before is what the photographs teach just a head.

    Without a gain over it on left-out photographs the model has only the head. Figures of the start's card stand."""
    folder, start = weights.parent, recipe.start_folder()
    below = catalogue.read_card(start)
    data = read_dataset(recipe.out / DATASET_FOLDER, OWN, "train")
    pictures = data_entry(f"{len(data.samples)} photographs", recipe.data)
    parts = load_file(folder / PARTS)
    n_folds = count_folds(recipe)
    tuned = [under(f"{index}.taught.", parts) for index in range(n_folds + 1)]
    solved = [only_solved(start, under(f"{index}.", parts)) for index in range(n_folds + 1)]
    with TemporaryDirectory() as place:
        trial = Trial(Path(place), start, [*data.named.values()], recipe.device)
        compared = cross_validate(trial, solved, tuned, data, recipe)
        gained = compared.change.difference > 0
        print(verdict(compared), flush=True)
        old = trial.model(solved[-1])
        new = trial.model(tuned[-1] if gained else solved[-1])
        for file in (weights.name, FAMILIAR):
            shutil.copyfile(trial.folder / file, folder / file)
        title = f"{len(data.samples)} photographs, each segmented by a part that was not trained on it"
        if (recipe.out / DATASET_FOLDER / OWN / "val").is_dir():
            data = read_dataset(recipe.out / DATASET_FOLDER, OWN, "val")
            compared = BeforeAfter(data.classes, counts_of(old, data), counts_of(new, data))
            title = f"{len(data.samples)} held-out photographs"
        if recipe.samples:
            write_samples(old, new, data, recipe.samples, folder / SAMPLES)
    print(f"{title}, a head alone and tuned, in percent:\n{compared.table()}", flush=True)
    about = {"step": float(gained), "changes": compared.changes()}  # of the training, if it is used or not
    if not gained:
        compared = replace(compared, after=compared.before)
    started, before = started_from(start / weights.name)
    names = ", ".join(data.named.values())
    card = below.model_copy(
        update=origin_fields(recipe, weights, below=below)
        | {
            "summary": f"{below.name}, {'tuned on' if gained else 'taught by'} pictures of {names}.",
            "training_data": [*before, pictures],
            "lineage": lineage(recipe, started),
            "prompt_quality": below.prompt_quality,
            "settings": trial.card.settings,
            "limits": [LIMIT, *(limit for limit in below.limits if limit != LIMIT)],
        }
    )
    after = compared.write(folder / COMPARED, data, (f"{below.name}, taught", card.name), about)
    if recipe.samples:
        print(f"truth, before and after: {folder / SAMPLES}", flush=True)
    card = card.model_copy(update={"quality": {recipe.data.name: quality_of(after.scores, data)}})
    catalogue.write_card(card, folder)
    return card


def verdict(compared: BeforeAfter) -> str:
    """Sentence that says which of both models is written; a gain is certain where its 95 % interval is above zero."""
    change = compared.change
    rated = f"left-out photographs (mIoU {change.difference:+.1f}, 95 % {change.low:+.1f} to {change.high:+.1f})"
    if change.low > 0:
        return f"gained over the head alone on {rated}"
    if change.difference > 0:
        return f"likely better than the head alone, but not for sure, on {rated}: the tuned model is written"
    return f"no gain over the head alone on {rated}: the model has that head, as `lexiseg teach` solves it"


def only_solved(start: Path, part: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The taught classes of a part before its training: the decoder of the start, and the solved directions."""
    taught = initial_taught(read_start(start / FILE), len(part["solved"])).state_dict()
    return taught | {"directions": part["solved"], "text": part["text"]}


class Trial:
    """A model directory for measuring: the start with the user's words and taught classes to replace."""

    def __init__(self, folder: Path, start: Path, names: list[str], device: str) -> None:
        self.folder, self._device = folder, device
        card = catalogue.read_card(start)
        self.card = card.model_copy(update={"settings": card.settings | {"taught": names}})
        self._weights = load_file(start / FILE)
        write_more_words(folder, start, names)

    def model(self, taught: Mapping[str, Tensor]) -> Segmenter:
        halves = {name: value.half().contiguous() for name, value in taught.items() if value.is_floating_point()}
        save_file(with_taught(self._weights, halves), self.folder / FILE)
        card = self.card.model_copy(update={"weights_sha256": file_digest(self.folder / FILE)})
        return catalogue.load_folder(self.folder, self._device, card=card)


def cross_validate(
    trial: Trial,
    solved: list[dict[str, Tensor]],
    tuned: list[dict[str, Tensor]],
    data: IndexedDataset,
    recipe: FinetuneRecipe,
) -> BeforeAfter:
    """Compare solved heads, of each fold and of all, with trained ones, by photographs that neither has seen."""
    fold_of = folds(read_groups(recipe), count_folds(recipe), recipe.seed)
    counts = np.zeros((2, len(data.samples), 3, len(data.classes)), np.int64)
    for fold in np.unique(fold_of):
        left_out = np.flatnonzero(fold_of == fold)
        part = replace(data, samples=tuple(data.samples[place] for place in left_out))
        for side, taught in enumerate((solved[fold], tuned[fold])):
            counts[side, left_out] = counts_of(trial.model(taught), part)
    return BeforeAfter(data.classes, *counts)
