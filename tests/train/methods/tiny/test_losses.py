"""Losses of questions, alone and in a batch, and the loss that keeps what a network said of other words."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.methods.tiny.network import EMBEDDING, TinyNetwork
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState, load_tensors
from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.drawn.questions import Question
from lexiseg_train.methods.tiny.losses import (
    ImageQuestions,
    Keeper,
    Questions,
    dice_losses,
    presence_penalty,
    question_logits,
    question_losses,
    stack,
)

SIDE = 8
CELLS = torch.randn(EMBEDDING, 2, 2, generator=torch.Generator().manual_seed(1))
SILENT = Question([], [], True, np.full(SIDE * SIDE, IGNORE), None, None)


@pytest.fixture
def network() -> TinyNetwork:
    torch.manual_seed(0)
    return TinyNetwork()


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape), dim=1)


def drawn(source: np.random.Generator, n_classes: int, n_words: int, background: bool, forbids: bool) -> Question:
    """A question about SIDE x SIDE pixels over a table of 40 rows."""
    rows = source.permutation(40)[: n_classes + n_words].tolist()
    channels = n_classes + background
    answers = source.integers(0, channels, SIDE * SIDE)
    forbidden = source.random((channels, SIDE * SIDE)) < 0.2 if forbids else None
    if forbidden is not None:
        forbidden[answers, np.arange(SIDE * SIDE)] = False
    answers[source.random(SIDE * SIDE) < 0.2] = IGNORE
    weights = None if forbids else source.uniform(0.3, 3, channels).astype(np.float32)
    return Question(rows[:n_classes], rows[n_classes:], background, answers, forbidden, weights)


def alone(network: TinyNetwork, pixels: Tensor, image: Tensor, question: Question, table: Tensor) -> Tensor:
    """The loss of one question about one image, written as it is defined."""
    scale = network.log_scale.exp()
    flat = pixels.flatten(1)
    channels = []
    if question.with_background:
        background = (scale * network.nobody).expand(1, flat.shape[1])
        if question.background:
            background = torch.maximum(background, (scale * table[question.background] @ flat).amax(0, keepdim=True))
        channels.append(background)
    bank = table[question.classes]
    penalty = presence_penalty(network, image, CELLS, bank)
    channels.append(scale * (bank @ flat) + penalty[:, None])
    logits = torch.cat(channels)
    if question.undecided is not None:
        logits = logits.masked_fill(torch.from_numpy(question.undecided), -1e4)
    weights = None if question.weights is None else torch.from_numpy(question.weights)
    answers = torch.from_numpy(question.targets)
    entropy = F.cross_entropy(logits.T, answers, weights, ignore_index=IGNORE, reduction="none")
    return entropy.sum() / (answers != IGNORE).sum()


def batched(network: TinyNetwork, pixels: Tensor, image: Tensor, questions: Questions, bank: Tensor) -> Tensor:
    penalty = presence_penalty(network, image, CELLS.expand(len(image), -1, -1, -1), bank[questions.classes])
    return question_losses(question_logits(network, pixels.flatten(2), penalty, questions, bank), questions)


@pytest.mark.parametrize("forbids", [False, True], ids=["weighted", "forbidding"])
def test_the_loss_of_a_batch_is_that_of_each_question_alone(network: TinyNetwork, forbids: bool) -> None:
    source = np.random.default_rng(3)
    sizes = [(3, 2, True), (9, 0, False), (1, 5, True), (20, 0, True)]
    questions = [drawn(source, *size, forbids) for size in sizes]
    pixels, image, table = unit(4, EMBEDDING, SIDE, SIDE), unit(4, EMBEDDING), unit(40, EMBEDDING)
    pixels.requires_grad_()

    stacked = stack([ImageQuestions(question, SILENT, [], np.zeros(0, np.int8)) for question in questions])
    together = batched(network, pixels, image, stacked.full, table[stacked.rows])
    (gradient,) = torch.autograd.grad(together.sum(), pixels)

    one_by_one = torch.stack([alone(network, *each, table) for each in zip(pixels, image, questions, strict=True)])
    (expected,) = torch.autograd.grad(one_by_one.sum(), pixels)
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-5)


def question_of(answers: list[int], words: bool = False) -> Question:
    return Question([0, 1], [2] if words else [], True, np.array(answers), None, None)


def dice_of(probabilities: list[list[float]], answers: list[int]) -> float:
    """Channels by pixels; two classes and background."""
    stacked = stack([ImageQuestions(question_of(answers), question_of(answers), [], np.zeros(0, np.int8))]).full
    return dice_losses(torch.tensor([probabilities]).clamp_min(1e-9).log(), stacked).item()


def test_dice_counts_present_classes_without_background() -> None:
    right = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    wrong = [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]

    assert dice_of(right, [0, 1]) == pytest.approx(0, abs=1e-6)
    assert dice_of(wrong, [0, 1]) == pytest.approx(1 - 1 / 3)  # (2 * 0 + 1) / (1 + 1 + 1)
    assert dice_of(wrong, [0, 0]) == 0


def test_a_pixel_counts_by_how_sure_its_answer_is() -> None:
    torch.manual_seed(3)
    logits, answers = torch.randn(2, 3, 4), torch.tensor([[0, 1, 2, 1], [2, 0, IGNORE, 1]])
    shares, weights = torch.rand(2, 4), torch.rand(2, 3)
    places = torch.zeros(2, 2, dtype=torch.int64)
    questions = Questions(places, torch.ones(2, 3), places, places, answers, weights, None, shares)

    losses = question_losses(logits, questions)

    for image in range(2):
        terms, total = [], 0.0
        for pixel, answer in enumerate(answers[image].tolist()):
            if answer != IGNORE:
                exponents = [math.exp(each) for each in logits[image, :, pixel].tolist()]
                share = shares[image, pixel].item()
                terms.append(-share * weights[image, answer].item() * math.log(exponents[answer] / sum(exponents)))
                total += share
        assert losses[image].item() == pytest.approx(sum(terms) / max(1, total), rel=1e-5)


WORDS = ["dog", "cat", "cup", "sky", "tractor", "violin", "a red tulip", "snow"]


@pytest.fixture(scope="module")
def start() -> TinyNetwork:
    state = TinyState.from_tensors(read_weights(BUNDLED, None)).network
    return load_tensors(TinyNetwork.for_weights(state), state, BUNDLED).float().eval()


@pytest.fixture(scope="module")
def keeper(start: TinyNetwork, tower: MiniLM) -> Keeper:
    return Keeper(start, tower.encode(WORDS))


@pytest.fixture(scope="module")
def images(photographs: dict[str, NDArray[np.uint8]]) -> Tensor:
    cat = photographs["chelsea"][:192, :192]
    return normalised(torch.from_numpy(cat.copy()).permute(2, 0, 1)[None])


def losses(keeper: Keeper, network: TinyNetwork, images: Tensor) -> tuple[Tensor, Tensor]:
    return keeper.losses(network, network(images), images, np.random.default_rng(0))


def test_a_network_that_has_not_changed_loses_nothing(keeper: Keeper, start: TinyNetwork, images: Tensor) -> None:
    presence, pixels = losses(keeper, start, images)

    assert presence.item() == pytest.approx(0, abs=1e-4)
    assert pixels.item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("part", ["text_projection", "image_head.0", "pixel_head"])
def test_a_network_that_answers_otherwise_pays_for_it(
    keeper: Keeper, start: TinyNetwork, images: Tensor, part: str
) -> None:
    network = deepcopy(start).requires_grad_(False)
    weight = network.get_submodule(part).get_parameter("weight").requires_grad_(True)
    with torch.no_grad():
        weight += weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))

    loss = torch.stack(losses(keeper, network, images)).sum()
    [gradient] = torch.autograd.grad(loss, weight)

    assert loss.item() > 1e-3
    assert gradient.abs().max() > 0
