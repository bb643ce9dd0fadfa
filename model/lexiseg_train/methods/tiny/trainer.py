"""Training of `tiny` without its prompt head, on crops from packs with class questions stacked for a batch.

Wider weights answer as the narrower ones that they begin with. New numbers of images are zero; texts' are small and
random: if both were zero, neither would have a gradient.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from lexiseg_model.catalogue.models import read_card
from lexiseg_model.catalogue.weights import read_weights, under
from lexiseg_model.methods.tiny.network import DECODER, EMBEDDING, ImageFeatures, TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import PromptHead
from lexiseg_model.methods.tiny.trunk import DEEP, Trunk, normalised
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, TEMPLATE, TinyState, fold_batch_norms, load_tensors
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_train.data.indexed import measurable
from lexiseg_train.data.licences import usable_photographs
from lexiseg_train.methods.tiny.drawn.examples import Batch, Examples
from lexiseg_train.methods.tiny.drawn.questions import source_of
from lexiseg_train.methods.tiny.losses import (
    KEPT_PRESENCE,
    BatchQuestions,
    Keeper,
    dice_losses,
    presence_losses,
    presence_penalty,
    question_logits,
    question_losses,
    some_pixels,
)
from lexiseg_train.methods.tiny.pretrained import (
    NamedCells,
    Teacher,
    TrunkNames,
    cell_losses,
    labelled_cells,
    presence_states,
    pretrained_trunk,
    wider_words,
)
from lexiseg_train.methods.tiny.sources import packed
from lexiseg_train.methods.tiny.texts import TEXTS, TextBook, TextTable
from lexiseg_train.methods.tiny.trainings import TinyRecipe, TrunkTraining
from lexiseg_train.training.crops import Views, render, resident
from lexiseg_train.training.processes import one_first
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run

OPEN_NAMES = Path(__file__).with_name("open_names.json")  # that no crop asks for, for a benchmark
N_NAMES = 48  # words of a step that the published classifier is asked for
DEEP_STEP = 4  # cells of the pixel map per cell at stride 16, along each axis
TEXT_SHARE = 0.03  # length of a text's new numbers, relative to the old ones: cosines change by 0.05 %
OF_HEAD = ("shared.stem.0.weight", "of_lone.seen.weight", "of_sure.seen.weight")  # layers that read embeddings


class Trained(nn.Module):
    """The network, with a projection of its features at stride 16 that only training uses (deep supervision)."""

    def __init__(self, network: TinyNetwork) -> None:
        super().__init__()
        self.network = network
        self.deep = nn.Conv2d(DECODER, network.embedding, 1)


def untrained(recipe: TinyRecipe) -> Trained:
    return Trained(TinyNetwork(recipe.embedding or EMBEDDING, recipe.embedding is not None))


class TinyTrainer(Run[TinyRecipe, Trained, Batch]):
    file = FILE

    def __init__(self, recipe: TinyRecipe, network: Trained | None = None) -> None:
        """`network` replaces the one that the recipe starts from."""
        measurable(recipe.data, recipe.sets)
        super().__init__(recipe, network or Trained(initial_network(recipe)))
        book = TextBook.read(TEXTS)
        usable = usable_photographs(recipe.data, recipe.sets) if recipe.licences == "fair" else None
        with one_first():  # writes the packs that are missing
            packs = [packed(recipe.data, recipe.packs, name, book) for name in usable or recipe.sets]
        rule = read_card(BUNDLED.parent).background
        names = {name for pack in packs for name in (*pack.names, *(n for some in pack.present for n in some))}
        if recipe.open_check:
            names -= set(json.loads(OPEN_NAMES.read_text(encoding="utf-8")))
        masked = {pack.name: pack.classes for pack in packs if pack.classes}
        kinds = wider_words() if recipe.glosses else {}
        encode = load_text_tower().encode
        self.table = TextTable(book, masked, rule.words, TEMPLATE, encode, names, kinds, recipe.glosses)
        self.rows = torch.from_numpy(self.table.rows).to(self.device)
        self.teacher = Teacher().to(self.device) if recipe.names_weight else None
        self.names = TrunkNames(encode) if recipe.names_weight else None
        # Folded, what is frozen takes half the time.
        is_frozen = recipe.trunk != "trained"
        self.frozen = fold_batch_norms(deepcopy(self.network.network.trunk).eval()) if is_frozen else None
        self.is_published = is_frozen and _is_published(self.network.network.trunk, recipe.trunk)
        self.keeper = Keeper(self.network.network, self.table.plain_rows) if recipe.keep_weight else None
        self.same_meaning = rule.same_meaning
        self.store = resident(packs, self.device)
        sizes = [len(pack) ** recipe.mixing * recipe.sets[pack.name] for pack in packs]
        stems = [None if usable is None else usable[pack.name] for pack in packs]
        self.sources = [
            source_of(pack, size / sum(sizes), self.table, recipe.balance, rule.same_meaning, usable_stems)
            for pack, size, usable_stems in zip(packs, sizes, stems, strict=True)
        ]

    def _batches(self, phase: LocalPhase) -> Examples:
        return Examples(self.sources, self.table, self.recipe, phase.crop, phase.batch, self.same_meaning)

    def _mode(self) -> None:
        self.network.train()
        # Batch norms keep the statistics that they began with: ImageNet's, or where answers are kept, all.
        (self.network if self.keeper is not None else self.network.network.trunk).eval()

    def _loss(self, batch: Batch) -> Tensor:
        images = self._images(batch.views)
        features, deep, named = self._features(images)
        loss = self._losses(features, deep, batch.questions, self.network.network.project_texts)
        if self.keeper is not None:
            random = np.random.default_rng([self.recipe.seed, self.step, 1])
            presence, pixels = self.keeper.losses(self.network.network, features, images, random)
            self.note(kept_presence=presence.item(), kept_pixels=pixels.item())
            loss = loss + self.recipe.keep_weight * (KEPT_PRESENCE * presence + pixels)
        if named is None:
            return loss
        targets = batch.questions.full.targets.to(self.device)
        return loss + self.recipe.names_weight * self._names_loss(features, named, targets)

    def _images(self, views: Views) -> Tensor:
        """The crops of a batch [B, 3, H, W], as the network takes them."""
        images = normalised(render(self.store, views, self._phase().crop))
        return images.contiguous(memory_format=torch.channels_last)

    def _features(self, images: Tensor) -> tuple[ImageFeatures, Tensor, NamedCells | None]:
        """The network's features, its projection at stride 16, and what the published trunk sees."""
        network = self.network.network
        with self.autocast():
            shallow, (deep, head) = self._trunk(images)
            features, coarse = network.decode([*shallow, *deep], head)
            projected = self.network.deep(coarse).float()
            if self.teacher is None:
                return features, projected, None
            return features, projected, self.teacher.name(self._published_head(images, shallow, head))

    def _trunk(self, images: Tensor) -> tuple[list[Tensor], tuple[list[Tensor], Tensor]]:
        """The trunk's maps, with gradients where it is trained."""
        trunk, what = self.network.network.trunk, self.recipe.trunk
        frozen = self.frozen or trunk
        with torch.set_grad_enabled(what == "trained"):
            shallow = frozen.shallow(images)
        with torch.set_grad_enabled(what != "frozen"):
            return shallow, (frozen if what == "frozen" else trunk).deep(shallow[-1])

    @torch.no_grad()
    def _published_head(self, images: Tensor, shallow: list[Tensor], head: Tensor) -> Tensor:
        """What the published classifier reads; nothing is computed twice that is still as published."""
        assert self.teacher is not None
        if self.is_published and self.recipe.trunk == "frozen":
            return head
        published: Tensor
        _, published = self.teacher.trunk.deep(shallow[-1]) if self.is_published else self.teacher.trunk(images)
        return published

    def _names_loss(self, features: ImageFeatures, named: NamedCells, targets: Tensor) -> Tensor:
        """The loss against the published classifier: which of its names are there, and in which cells."""
        network = self.network.network
        assert self.names is not None
        random = np.random.default_rng([self.recipe.seed, self.step])
        likely = torch.cat([named.image.argmax(1), named.cells.flatten(2).amax(2).argmax(1)])
        words = self.names.draw(np.unique(likely.cpu().numpy()), N_NAMES, random)
        members = torch.from_numpy(self.names.members[words]).to(named.cells)  # [K, 1000]
        patterns = torch.from_numpy(random.integers(0, self.names.rows.shape[1], len(words)))
        bank = network.project_texts(self.names.rows[words, patterns].to(self.device))  # [K, D]
        image, cells = named.image @ members.T, torch.einsum("kc,bchw->bkhw", members, named.cells)
        presence = network.presence(features.image, features.cells.float(), bank.expand(len(image), -1, -1))
        presence_loss = presence_losses(presence, presence_states(image, cells)).mean()
        side = cells.shape[-1]
        means = F.adaptive_avg_pool2d(features.pixels, side)  # of unit vectors: surer where a cell's pixels agree
        scale = network.log_scale.exp()
        logits = scale * torch.einsum("kd,bdhw->bkhw", bank, means)
        placed = cell_losses(logits, scale * network.nobody, cells, labelled_cells(targets, side))
        self.note(named=presence_loss.item(), placed=placed.item())
        return presence_loss + placed

    def _losses(
        self, features: ImageFeatures, deep: Tensor, questions: BatchQuestions, project: Callable[[Tensor], Tensor]
    ) -> Tensor:
        network, recipe = self.network.network, self.recipe
        questions = tree_map_only(Tensor, lambda part: part.to(self.device, non_blocking=True), questions)
        bank = project(self.rows[questions.rows])  # [U, D]
        pixels, image, cells = features.pixels, features.image, features.cells.float()
        flat = pixels.flatten(2)
        places = torch.arange(flat.shape[2], device=self.device).view(pixels.shape[-2:])
        rough = some_pixels(questions.full, places[DEEP_STEP // 2 :: DEEP_STEP, DEEP_STEP // 2 :: DEEP_STEP].flatten())
        if recipe.pixel_share < 1:
            n_pixels = flat.shape[2]
            sampled = torch.randperm(n_pixels)[: max(1, round(n_pixels * recipe.pixel_share))].to(self.device)
            # Transposed, so that gradients are channels-last: convolutions are ten times as fast with that.
            flat = flat.mT.index_select(1, sampled).mT
            questions = questions._replace(
                full=some_pixels(questions.full, sampled), part=some_pixels(questions.part, sampled)
            )
        presence = network.presence(image, cells, bank[questions.presences.classes])
        penalties = [presence_penalty(network, image, cells, bank[q.classes]) for q in (questions.full, questions.part)]
        full = question_logits(network, flat, penalties[0], questions.full, bank)
        part = question_logits(network, flat, penalties[1], questions.part, bank)
        presence_loss = presence_losses(presence, questions.presences.states).mean()
        losses = {
            "full": question_losses(full, questions.full).mean(),
            "part": recipe.subset_weight * question_losses(part, questions.part).mean(),
            "presence": recipe.presence_weight * presence_loss,
        }
        if recipe.dice_weight:
            losses["dice"] = recipe.dice_weight * dice_losses(full, questions.full).mean()
        if recipe.deep_weight:
            unit = deep / deep.norm(dim=1, keepdim=True).clamp_min(1e-6)
            logits = question_logits(network, unit.flatten(2), torch.zeros_like(penalties[0]), rough, bank)
            losses["deep"] = recipe.deep_weight * question_losses(logits, rough).mean()
        return self._noted_total(losses)

    def _extra_figures(self) -> dict[str, float]:
        network = self.network.network
        return {"background": round(network.nobody.item(), 3), "scale": round(network.log_scale.exp().item(), 2)}

    def _weights(self) -> dict[str, Tensor]:
        return under("network.", self.average)


def initial_network(recipe: TinyRecipe) -> TinyNetwork:
    """The network at the start of a run; `scratch` begins with the published trunk. Raises ValueError as `widened`."""
    torch.manual_seed(recipe.seed)
    network = TinyNetwork()
    if recipe.start == "scratch":
        network.trunk.load_state_dict(pretrained_trunk().state_dict())
    else:
        path = BUNDLED if recipe.start == "bundled" else Path(recipe.start)
        network = read_start(path)
        network.taught = network.own_words = None  # they would not fit another trunk
    if recipe.embedding is not None:
        network = widened(network, recipe.embedding)
    norms = [part for part in network.trunk.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in (*_untrained(network.trunk, recipe.trunk), *norms):
        part.requires_grad_(False)
    return network.train()


def read_start(path: Path) -> TinyNetwork:
    state = TinyState.from_tensors(read_weights(path, None)).network
    return load_tensors(TinyNetwork.for_weights(state), state, path).float().requires_grad_(True)


def _untrained(trunk: Trunk, what: TrunkTraining) -> list[nn.Module]:
    """The parts of a trunk that stay as they are: all of it, its stages down to stride 8, or none."""
    return {"frozen": [trunk], "deep": [trunk.stem, *trunk.stages[:DEEP]], "trained": []}[what]


def _is_published(trunk: Trunk, what: TrunkTraining) -> bool:
    """Whether what is kept of a trunk equals the published one, in the type of weights files."""
    pairs = zip(_untrained(trunk, what), _untrained(pretrained_trunk(), what), strict=True)
    return all(
        torch.equal(own.cpu().half(), published.half())
        for ours, theirs in pairs
        for own, published in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    )


def widened(network: TinyNetwork, embedding: int) -> TinyNetwork:
    """A network with wider embeddings and the path past the decoder. Raises ValueError: the network is wider."""
    old = network.embedding
    if embedding < old:
        raise ValueError(f"embedding={embedding}: the weights to begin with are {old} wide")
    wide = TinyNetwork(embedding, has_shortcut=True)
    narrow = network.state_dict()
    for name, value in wide.state_dict().items():
        if name in narrow:  # all but the path past the decoder, which adds nothing
            value.zero_()
            value[tuple(slice(size) for size in narrow[name].shape)] = narrow[name]
    if embedding > old:
        projection = wide.text_projection.weight.data
        length = projection[:old].square().mean().sqrt() * TEXT_SHARE * (old / (embedding - old)) ** 0.5
        projection[old:] = torch.randn_like(projection[old:]) * length
    return wide


def widened_head(head: PromptHead, embedding: int) -> PromptHead:
    """A prompt head that reads embeddings of that width, the new numbers with zero weight."""
    old, wide = head.embedding, PromptHead(embedding)
    tensors = head.state_dict()
    factor = (old / embedding) ** 0.5  # the head scales unit vectors by the root of their width
    for name in OF_HEAD:
        # Columns of the embedding lie between others in `seen`, and before the colours in `stem`.
        first = 0 if "stem" in name else tensors[name].shape[1] - old - 3
        before, own, behind = tensors[name].tensor_split((first, first + old), dim=1)
        new = own.new_zeros(len(own), embedding - old, *own.shape[2:])
        tensors[name] = torch.cat([before, factor * own, new, behind], 1)
    wide.load_state_dict(tensors)
    return wide
