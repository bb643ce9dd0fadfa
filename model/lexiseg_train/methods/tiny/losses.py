"""The losses of `tiny` for a whole batch: questions padded to tensors, over one bank of texts.

A step's losses are a few hundred tensor operations, whatever the number of photographs and classes in the batch.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.methods.tiny.network import ImageFeatures, TinyNetwork
from lexiseg_model.methods.tiny.scores import log_presence
from lexiseg_model.methods.tiny.weights import fold_batch_norms
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.drawn.questions import Question

NEVER = -1e4  # logit of a channel that does not compete
FOCUS = 0.9  # 0: absent classes weigh the same in the loss of presence; 1: by the square of their probability
PRESENCE_WEIGHT = 0.3  # of log presence in the logits of a class's pixels


class Questions(NamedTuple):
    """One question for each of B images of P pixels; classes and words are places in the bank. Channel 0: nothing."""

    classes: Tensor  # [B, K] int64
    competing: Tensor  # [B, 1 + K] bool: channels that compete
    background: Tensor  # [B, W] int64
    competing_background: Tensor  # [B, W] bool
    targets: Tensor  # [B, P] int64 channels, 255 ignored
    weights: Tensor  # [B, 1 + K]
    undecided: Tensor | None  # [B, 1 + K, P] bool: channels that do not compete at a pixel, as of `Question`
    shares: Tensor | None = None  # [B, P] in 0..1, how sure each target is; None: all are certain


class Presences(NamedTuple):
    """Known presence of classes: `classes` [B, K] places in the bank, `states` [B, K] 1, 0 or -1."""

    classes: Tensor
    states: Tensor


class BatchQuestions(NamedTuple):
    """The questions of a batch and the rows of the text table that its bank is made of, [U] int64."""

    rows: Tensor
    full: Questions
    part: Questions
    presences: Presences


@dataclass(frozen=True)
class ImageQuestions:
    """The questions about one image in a step: all classes, a random subset, and presence."""

    full: Question
    part: Question
    presence: list[int]  # rows of the text table
    states: NDArray[np.int8]  # 1 present, 0 absent, -1 unknown


def stack(questions: list[ImageQuestions]) -> BatchQuestions:
    lists = [
        [*entry.full.classes, *entry.full.background, *entry.part.classes, *entry.part.background, *entry.presence]
        for entry in questions
    ]
    rows = np.unique(np.concatenate([np.array(rows_of_image, np.int64) for rows_of_image in lists]))
    longest = max(1, *(len(entry.presence) for entry in questions))
    presence = np.zeros((len(questions), longest), np.int64)
    states = np.full((len(questions), longest), -1, np.int64)
    for image, entry in enumerate(questions):
        presence[image, : len(entry.presence)] = np.searchsorted(rows, entry.presence)
        states[image, : len(entry.presence)] = entry.states
    return BatchQuestions(
        torch.from_numpy(rows),
        _stack_questions([entry.full for entry in questions], rows),
        _stack_questions([entry.part for entry in questions], rows),
        Presences(torch.from_numpy(presence), torch.from_numpy(states)),
    )


def presence_penalty(network: TinyNetwork, image: Tensor, cells: Tensor, texts: Tensor) -> Tensor:
    """Penalty [..., T], at most 0, of the pixel scores of texts for low presence, which learns from its own loss."""
    return PRESENCE_WEIGHT * log_presence(network.presence(image, cells, texts)).detach()


def _stack_questions(questions: list[Question], rows: NDArray[np.int64]) -> Questions:
    n, n_pixels = len(questions), len(questions[0].targets)
    n_classes = max(1, *(len(one.classes) for one in questions))
    n_background = max(1, *(len(one.background) for one in questions))
    classes, background = np.zeros((n, n_classes), np.int64), np.zeros((n, n_background), np.int64)
    competing, competing_background = np.zeros((n, 1 + n_classes), bool), np.zeros((n, n_background), bool)
    targets = np.empty((n, n_pixels), np.int64)
    weights = np.ones((n, 1 + n_classes), np.float32)
    bound = any(one.undecided is not None for one in questions)
    undecided = np.zeros((n, 1 + n_classes, n_pixels), bool) if bound else None
    for image, one in enumerate(questions):
        last = 1 + len(one.classes)
        first = 0 if one.with_background else 1
        classes[image, : last - 1] = np.searchsorted(rows, one.classes)
        background[image, : len(one.background)] = np.searchsorted(rows, one.background)
        competing[image, first:last] = True
        competing_background[image, : len(one.background)] = True
        targets[image] = np.where(one.targets == IGNORE, IGNORE, one.targets + first)
        if one.weights is not None:
            weights[image, first:last] = one.weights
        if one.undecided is not None and undecided is not None:
            undecided[image, first:last] = one.undecided
    return Questions(
        torch.from_numpy(classes),
        torch.from_numpy(competing),
        torch.from_numpy(background),
        torch.from_numpy(competing_background),
        torch.from_numpy(targets),
        torch.from_numpy(weights),
        None if undecided is None else torch.from_numpy(undecided),
    )


def some_pixels(questions: Questions, pixels: Tensor) -> Questions:
    """The same questions about the pixels with indices `pixels` [P'] only."""
    fields = {"targets": questions.targets, "undecided": questions.undecided, "shares": questions.shares}
    return questions._replace(**{name: each[..., pixels] for name, each in fields.items() if each is not None})


def question_logits(
    network: TinyNetwork, pixels: Tensor, penalty: Tensor, questions: Questions, bank: Tensor
) -> Tensor:
    """[B, 1 + K, P] of unit embeddings [B, D, P], each class's presence penalty [B, K] and the bank [U, D]."""
    scale = network.log_scale.exp()
    words = (scale * (bank[questions.background] @ pixels)).masked_fill(
        ~questions.competing_background[..., None], NEVER
    )
    background = torch.maximum(words.amax(1, keepdim=True), scale * network.nobody)
    classes = scale * (bank[questions.classes] @ pixels) + penalty[..., None]
    logits = torch.cat([background, classes], 1).masked_fill(~questions.competing[..., None], NEVER)
    return logits if questions.undecided is None else logits.masked_fill(questions.undecided, NEVER)


def question_losses(logits: Tensor, questions: Questions) -> Tensor:
    """[B]: weighted cross-entropy, averaged over the pixels that have a target, each by how sure it is."""
    counted = questions.targets != IGNORE
    targets = questions.targets.masked_fill(~counted, 0)
    entropy = -logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
    pixel_weights = counted if questions.shares is None else counted * questions.shares
    return (entropy * questions.weights.gather(1, targets) * pixel_weights).sum(1) / pixel_weights.sum(1).clamp_min(1)


def dice_losses(logits: Tensor, questions: Questions) -> Tensor:
    """[B]: one minus dice, averaged over the classes that are in the image; the background is none of them."""
    counted = questions.targets != IGNORE
    targets = questions.targets.masked_fill(~counted, 0)
    inside = logits.softmax(1) * counted[:, None]
    truth = torch.zeros_like(inside).scatter_(1, targets[:, None], counted[:, None].to(inside))
    area = truth.sum(2)
    dice = (2 * (inside * truth).sum(2) + 1) / (inside.sum(2) + area + 1)
    present = (area > 0) & questions.competing
    present[:, 0] = False
    return ((1 - dice) * present).sum(1) / present.sum(1).clamp_min(1)


def presence_losses(logits: Tensor, states: Tensor) -> Tensor:
    """[B], of logits and states [B, K]: present classes weigh as much as absent ones, of which the likeliest count."""
    present, absent = states == 1, states == 0
    weight = (1 - FOCUS + FOCUS * logits.detach().sigmoid().square()) * absent
    of_present = (F.softplus(-logits) * present).sum(1) / present.sum(1).clamp_min(1)
    return of_present + (F.softplus(logits) * weight).sum(1) / weight.sum(1).clamp_min(1e-6)


N_WORDS = 64  # of a step
MIXED = 0.5  # share of them between two words
CELLS = 4  # pixels of the map along each axis, of which the mean is compared
KEPT_PRESENCE = 0.15  # weight of the loss of presence relative to that of pixels


class Keeper:
    """The starting network, frozen, and the words that it is asked for."""

    def __init__(self, start: TinyNetwork, rows: NDArray[np.float32]) -> None:
        """Copy the network at the start of the run; `rows` [N, 384] are sentence embeddings of words."""
        self.network = deepcopy(start).eval().requires_grad_(False)
        fold_batch_norms(self.network.trunk)
        self.rows = torch.from_numpy(rows).to(start.log_scale.device)

    def losses(
        self, network: TinyNetwork, features: ImageFeatures, images: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Scalars: the mean squared difference of presence logits, and the divergence of the pixels' distributions."""
        with torch.no_grad():
            before = self.network(images)
        first, second = (self.rows[torch.from_numpy(random.integers(0, len(self.rows), N_WORDS))] for _ in range(2))
        share = torch.from_numpy(random.random((N_WORDS, 1), np.float32) * (random.random((N_WORDS, 1)) < MIXED))
        rows = F.normalize(torch.lerp(first, second, 0.5 * share.to(first)), dim=1)
        now_bank, old_bank = network.project_texts(rows), self.network.project_texts(rows)
        n = len(images)
        now = network.presence(features.image, features.cells.float(), now_bank.expand(n, -1, -1))
        old = self.network.presence(before.image, before.cells.float(), old_bank.expand(n, -1, -1))
        target = _scores(self.network, before.pixels, old_bank).softmax(1)
        divergence = F.kl_div(_scores(network, features.pixels, now_bank).log_softmax(1), target, reduction="none")
        return F.mse_loss(now, old), divergence.sum(1).mean()


def _scores(network: TinyNetwork, pixels: Tensor, bank: Tensor) -> Tensor:
    """[B, 1 + K, h, w] logits of the background and of K words in cells of CELLS x CELLS of the pixel map."""
    means = F.avg_pool2d(pixels, CELLS)
    logits = network.log_scale.exp() * torch.einsum("kd,bdhw->bkhw", bank, means)
    background = (network.log_scale.exp() * network.nobody).expand_as(logits[:, :1])
    return torch.cat([background, logits], 1)
