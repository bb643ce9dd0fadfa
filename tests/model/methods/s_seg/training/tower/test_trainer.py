"""A DINO tower: the loss against a plain formula, student and teacher, the weights file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lexiseg_model.clip.dino import dino_from_file
from lexiseg_model.methods.s_seg.training.tower.recipe import DinoSettings, TowerRecipe, TowerSize, ViewSettings
from lexiseg_model.methods.s_seg.training.tower.trainer import TowerTrainer
from lexiseg_model.training.recipe import Phase
from tests.model.methods.short_runs import SHORT, first_batch
from tests.model.training.pairs_folder import write_pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder / "captions", 6)
    return folder


def trainer_for(data: Path, out: Path) -> TowerTrainer:
    return TowerTrainer(
        TowerRecipe(
            **SHORT | {"weight_decay": 0.0},
            data=data,
            out=out,
            photographs=[Path("captions")],
            phases=[Phase(after=0, crop=64, global_batch=3)],
            learning_rate=1e-2,
            precision="float32",
            tower=TowerSize(patch=16, width=64, depth=1),
            views=ViewSettings(n_narrow=2, narrow_side=0.5),
            dino=DinoSettings(outputs=12, hidden=16, bottleneck=8, momentum=0.9, centre=0.5),
        )
    )


def test_the_loss_equals_a_plain_formula(data: Path, tmp_path: Path) -> None:
    trainer = trainer_for(data, tmp_path)
    network = trainer.network
    network.centre.uniform_(-0.1, 0.1)
    centre = network.centre.clone()
    batch = first_batch(trainer)
    with torch.no_grad():
        said = [network.teacher(view) for view in batch.wide.chunk(2)]
        answered = [network.student(view) for part in (batch.wide, batch.narrow) for view in part.chunk(2)]
    terms = []
    for photograph in range(3):
        for of_teacher, row in enumerate(said):
            target = [math.exp((x - c) / 0.04) for x, c in zip(row[photograph].tolist(), centre.tolist(), strict=True)]
            for of_student, other in enumerate(answered):
                if of_teacher != of_student:
                    answer = [math.exp(x / 0.1) for x in other[photograph].tolist()]
                    pairs = zip(target, answer, strict=True)
                    terms.append(-sum(t / sum(target) * math.log(a / sum(answer)) for t, a in pairs))

    loss = network(batch.wide, batch.narrow)

    assert len(answered) == 4
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    torch.testing.assert_close(network.centre, (centre + torch.cat(said).mean(0)) / 2)


def test_the_teacher_is_the_moving_average_of_the_student(data: Path, tmp_path: Path) -> None:
    trainer = trainer_for(data, tmp_path)
    network = trainer.network
    student, teacher = (judge.head.directions.weight for judge in (network.student, network.teacher))
    first = teacher.clone()
    batch = first_batch(trainer)

    trainer._step(batch)
    learned = student.detach().clone()
    assert torch.equal(teacher, first)
    trainer._step(batch, batch)  # of two batches, and the teacher moves once

    momentum = 1 - 0.1 * (math.cos(math.pi / 2) + 1) / 2  # half of the run is done
    torch.testing.assert_close(teacher, momentum * first + (1 - momentum) * learned)


def test_the_weights_file_loads_as_a_dino_tower(data: Path, tmp_path: Path) -> None:
    trainer = trainer_for(data, tmp_path)

    weights = trainer.train()

    assert weights is not None
    tower = dino_from_file("dino", weights)
    images = torch.randn(2, 3, 48, 96)
    with torch.no_grad():
        torch.testing.assert_close(tower(images), trainer.network.teacher.tower(images), atol=2e-2, rtol=2e-2)
    assert tower(images).shape == (2, 64, 3, 6)
