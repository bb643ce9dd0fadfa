"""Training of `tiny` without its prompt head, on crops from packs with class questions stacked for a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from lexiseg_model.catalogue import read_card
from lexiseg_model.catalogue.weights import read_weights, under
from lexiseg_model.methods.tiny.network import EMBEDDING, MEAN, STD, ImageFeatures, TinyNetwork, channel
from lexiseg_model.methods.tiny.weights import BUNDLED, FILE, TEMPLATE, TinyState, load_tensors
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.processes import one_first
from lexiseg_train.methods.tiny import TEXTS, TinyRecipe
from lexiseg_train.methods.tiny.drawn.examples import Batch, Examples, Pasting
from lexiseg_train.methods.tiny.drawn.requests import source_of
from lexiseg_train.methods.tiny.losses import (
    BatchQuestions,
    Questions,
    dice_losses,
    presence_bonus,
    presence_losses,
    question_logits,
    question_losses,
    some_pixels,
)
from lexiseg_train.methods.tiny.sources import packed
from lexiseg_train.methods.tiny.texts import TextBook, TextTable
from lexiseg_train.training.crops import Views, render, resident
from lexiseg_train.training.packs import Pack
from lexiseg_train.training.recipe import LocalPhase
from lexiseg_train.training.run import Run

DEEP_STEP = 4  # cells of the pixel map per cell at stride 16, along each axis


class Trained(nn.Module):
    """The network, with a projection of its features at stride 16 that only training uses (deep supervision)."""

    def __init__(self, network: TinyNetwork) -> None:
        super().__init__()
        self.network = network
        self.deep = nn.Conv2d(EMBEDDING, EMBEDDING, 1)


def untrained(recipe: TinyRecipe) -> Trained:
    """Untrained network of a recipe."""
    return Trained(TinyNetwork(width=recipe.width))


class TinyTrainer(Run[TinyRecipe, Trained, Batch]):
    """Trains everything of `tiny` but its prompt head."""

    file = FILE

    def __init__(self, recipe: TinyRecipe, network: Trained | None = None) -> None:
        """`network` replaces the one that the recipe starts from."""
        super().__init__(recipe, network or Trained(initial_network(recipe)))
        book = TextBook.read(TEXTS)
        with one_first():  # writes the packs that are missing
            packs = [packed(recipe.data, recipe.packs, name, book) for name in recipe.sets]
        rule = read_card(BUNDLED.parent).background
        names = {name for pack in packs for name in (*pack.names, *(n for some in pack.present for n in some))}
        masked = [pack for pack in packs if pack.classes]
        self.table = TextTable(book, masked, rule.words, TEMPLATE, load_text_tower(), names)
        self.rows = torch.from_numpy(self.table.rows).to(self.device)
        self.same_meaning = rule.same_meaning
        self.store = resident(packs, self.device)
        shares = _shares(packs, recipe)
        self.sources = [
            source_of(pack, share, self.table, recipe.balance, rule.same_meaning, recipe.repeat)
            for pack, share in zip(packs, shares, strict=True)
        ]

    def _batches(self, phase: LocalPhase) -> Examples:
        recipe = self.recipe
        return Examples(
            self.sources,
            self.table,
            phase.crop,
            phase.batch,
            recipe.whole,
            recipe.class_first,
            recipe.zoom,
            self.same_meaning,
            recipe.seed,
            Pasting(recipe.paste, recipe.paste_from, recipe.paste_onto),
        )

    def _loss(self, batch: Batch) -> Tensor:
        features, deep = self._features(batch.views)
        return self._losses(features, deep, batch.questions, self.network.network.project_texts)

    def _features(self, views: Views) -> tuple[ImageFeatures, Tensor]:
        images = render(self.store, views, self._phase().crop)
        images = (images - channel(MEAN, self.device)) / channel(STD, self.device)
        with self.autocast():
            features, coarse = self.network.network.levels(images.contiguous(memory_format=torch.channels_last))
            return features, self.network.deep(coarse).float()

    def _losses(
        self, features: ImageFeatures, deep: Tensor, questions: BatchQuestions, project: Callable[[Tensor], Tensor]
    ) -> Tensor:
        network, recipe = self.network.network, self.recipe
        questions = tree_map_only(Tensor, lambda part: part.to(self.device, non_blocking=True), questions)
        bank = project(self.rows[questions.rows])  # [U, 96]
        pixels, image, cells = features.pixels, features.image, features.cells.float()
        flat, rough = pixels.flatten(2), _thinned(questions.full, pixels.shape[-2:])
        if recipe.pixel_share < 1:
            n_pixels = flat.shape[2]
            sampled = torch.randperm(n_pixels)[: max(1, round(n_pixels * recipe.pixel_share))].to(self.device)
            # Transposed, so that gradients are channels-last: convolutions are ten times as fast with that.
            flat = flat.mT.index_select(1, sampled).mT
            questions = questions._replace(
                full=some_pixels(questions.full, sampled), part=some_pixels(questions.part, sampled)
            )
        presence = network.presence(image, cells, bank[questions.presences.classes])
        bonuses = [presence_bonus(network, image, cells, bank[q.classes]) for q in (questions.full, questions.part)]
        full = question_logits(network, flat, bonuses[0], questions.full, bank)
        part = question_logits(network, flat, bonuses[1], questions.part, bank)
        known = presence_losses(presence, questions.presences.states, recipe.presence_focus).mean()
        losses = {
            "full": question_losses(full, questions.full).mean(),
            "part": recipe.subset_weight * question_losses(part, questions.part).mean(),
            "presence": recipe.presence_weight * known,
        }
        if recipe.dice_weight:
            losses["dice"] = recipe.dice_weight * dice_losses(full, questions.full).mean()
        if recipe.deep_weight:
            unit = deep / deep.norm(dim=1, keepdim=True).clamp_min(1e-6)
            logits = question_logits(network, unit.flatten(2), torch.zeros_like(bonuses[0]), rough, bank)
            losses["deep"] = recipe.deep_weight * question_losses(logits, rough).mean()
        self.note(**{name: loss.item() for name, loss in losses.items()})
        return torch.stack(list(losses.values())).sum()

    def _extra_figures(self) -> dict[str, float]:
        network = self.network.network
        return {"nobody": round(network.nobody.item(), 3), "scale": round(network.log_scale.exp().item(), 2)}

    def _weights(self) -> dict[str, Tensor]:
        return under("network.", self.average)


def _thinned(questions: Questions, size: tuple[int, ...]) -> Questions:
    """The questions of every DEEP_STEP-th cell along each axis of a map of `size` (h, w)."""
    places = torch.arange(math.prod(size), device=questions.answers.device).view(size)
    return some_pixels(questions, places[DEEP_STEP // 2 :: DEEP_STEP, DEEP_STEP // 2 :: DEEP_STEP].flatten())


def _shares(packs: list[Pack], recipe: TinyRecipe) -> list[float]:
    sizes = [len(pack) ** recipe.mixing * recipe.sets[pack.name] for pack in packs]
    return [size / sum(sizes) for size in sizes]


def initial_network(recipe: TinyRecipe) -> TinyNetwork:
    torch.manual_seed(recipe.seed)
    network = TinyNetwork(width=recipe.width)
    if recipe.start == "scratch":
        return network
    path = BUNDLED if recipe.start == "bundled" else Path(recipe.start)
    state = TinyState.of(read_weights(path, None)).network
    network = load_tensors(network, state, path).float().requires_grad_(True).train()
    network.text_level.zero_()  # fitted to the weights of the start, and to no others
    return network
