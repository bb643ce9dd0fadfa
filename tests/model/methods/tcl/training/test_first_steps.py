"""The first steps of TCL against the formulas, written out: losses pair by pair, AdamW weight by weight."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from lexiseg_model.methods.tcl.training.learned import noise_of
from lexiseg_model.methods.tcl.training.trainer import TclTrainer
from lexiseg_model.training.pairs import PairBatch
from tests.model.methods.phases import local
from tests.model.methods.tcl.training.small import recipe, write_data

STEPS = 3
RATE, LAST, DECAY, EPSILON, LIMIT = 1e-3, 0.13, 0.05, 1e-6, 5.0


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TclTrainer:
    data = write_data(tmp_path_factory.mktemp("data"))
    plan = recipe(
        data,
        data / "out",
        steps=10,
        grounder_steps=2,
        learning_rate=RATE,
        warmup_steps=0,
        last_rate=LAST,
        weight_decay=DECAY,
    )
    return TclTrainer(plan)


def unit(vector: Tensor) -> Tensor:
    length: Tensor = vector.norm(dim=-1, keepdim=True)
    return vector / length


def plain_loss(trainer: TclTrainer, batch: PairBatch) -> Tensor:
    """Section 3.3 of the paper, for one process."""
    network, losses = trainer.tcl, trainer.network.losses
    model: Any = trainer.towers.model  # open_clip is untyped
    texts = [unit(row) for row in model.encode_text(batch.tokens)]
    noise = noise_of(trainer.recipe.seed, batch.positions, batch.images)
    maps = network.grounder(*network.tokens(batch.images))  # [B, D, h, w]
    count, _, height, width = maps.shape
    soft = torch.zeros(count, count, height, width)
    pooled = torch.zeros(count, count)
    shown = []
    for image in range(count):
        pixels = maps[image].flatten(1).T  # [P, D]
        for text in range(count):
            cosines = (pixels / pixels.norm(dim=1, keepdim=True)) @ texts[text]
            logits = network.sim2mask.scale * cosines + network.sim2mask.bias
            mask = 1 / (1 + torch.exp(-logits))
            soft[image, text] = mask.view(height, width)
            mean = (mask[:, None] * pixels).sum(0) / (mask.sum() + 1e-6)
            pooled[image, text] = unit(mean) @ texts[text]
            if text == image:
                drawn = 1 / (1 + torch.exp(-(logits + noise[image].flatten())))
                hard = ((drawn > 0.5).float() - drawn).detach() + drawn
                cell = batch.images.shape[2] // height
                large = hard.view(height, width).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
                shown.append(model.visual((batch.images[image] * large)[None])[0])
    seen = torch.stack([torch.stack([unit(row) @ text for text in texts]) for row in shown])
    own = torch.eye(count, dtype=torch.bool)

    def contrast(cosines: Tensor, log_scale: Tensor) -> Tensor:
        logits = cosines * min(math.exp(log_scale.item()), 100) * (log_scale - log_scale.detach()).exp()
        terms = [rows[i].logsumexp(0) - rows[i, i] for rows in (logits, logits.T) for i in range(count)]
        return torch.stack(terms).mean()

    def variation(values: Tensor) -> Tensor:
        across, down = values[..., 1:] - values[..., :-1], values[..., 1:, :] - values[..., :-1, :]
        return across.abs().mean() + down.abs().mean()

    total: Tensor = (
        0.1 * contrast(seen, losses.image_contrast.log_scale)
        + 0.1 * contrast(pooled, losses.feature_contrast.log_scale)
        + 0.4 * (soft[own].mean() - 0.4).abs()
        + 0.4 * soft[~own].mean()
        + variation(maps)
        + variation(soft)
    )
    return total


def rate(step: int) -> float:
    return RATE * (LAST + (1 - LAST) * (1 + math.cos(math.pi * step / 10)) / 2)


def test_losses_and_weights_of_the_first_steps_are_those_of_the_formulas(trainer: TclTrainer) -> None:
    moments: dict[str, tuple[int, Tensor, Tensor]] = {}
    for step, batch in enumerate(islice(trainer._batches(local(trainer._phase())), STEPS)):
        trainer._mode()
        parameters = dict(trainer.network.named_parameters())
        learning = [name for name, parameter in parameters.items() if parameter.requires_grad]
        loss = plain_loss(trainer, batch)
        found = torch.autograd.grad(loss, [parameters[name] for name in learning], allow_unused=True)
        gradients = {name: grad for name, grad in zip(learning, found, strict=True) if grad is not None}
        norm = math.sqrt(sum(float(grad.square().sum()) for grad in gradients.values()))
        expected = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        for name, gradient in gradients.items():
            clipped = gradient * min(1.0, LIMIT / norm)
            steps, first, second = moments.get(name, (0, torch.zeros_like(gradient), torch.zeros_like(gradient)))
            steps, first, second = steps + 1, 0.9 * first + 0.1 * clipped, 0.999 * second + 0.001 * clipped.square()
            moments[name] = steps, first, second
            moved = (first / (1 - 0.9**steps)) / ((second / (1 - 0.999**steps)).sqrt() + EPSILON)
            kept = 1 - rate(step) * DECAY * (expected[name].ndim != 1)
            expected[name] = kept * expected[name] - rate(step) * moved

        told = trainer._step(batch)

        assert told == pytest.approx(loss.item(), rel=1e-4)
        for name, parameter in trainer.network.named_parameters():
            torch.testing.assert_close(parameter.detach(), expected[name], atol=0.01 * RATE, rtol=1e-6, msg=name)
