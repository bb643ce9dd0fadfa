"""Self-distillation without labels (DINO, Caron et al., ICCV 2021).

A student predicts from any view of a photograph the output of its teacher, the student's moving average, for a large
view. Centring of the teacher's outputs prevents a collapse to one output, a low temperature a uniform one.
"""

from __future__ import annotations

import math
from copy import deepcopy
from itertools import pairwise

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lexiseg_model.clip.dino import DinoTower, plain_kind
from lexiseg_model.methods.s_seg.training.tower.recipe import DinoSettings, TowerSize
from lexiseg_model.training.distributed import world_size


class DinoHead(nn.Module):
    """Projection head: three layers, normalisation, and cosines with learned directions."""

    def __init__(self, width: int, settings: DinoSettings) -> None:
        super().__init__()
        sizes = (width, settings.hidden, settings.hidden, settings.bottleneck)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.directions = nn.Linear(settings.bottleneck, settings.outputs, bias=False)
        for layer in (*self.layers, self.directions):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Cosines [B, outputs] of class tokens [B, C]."""
        first, second, last = self.layers
        narrow = F.normalize(last(F.gelu(second(F.gelu(first(tokens))))), dim=-1)
        return narrow @ F.normalize(self.directions.weight, dim=-1).T


class Judge(nn.Module):
    """Tower with its head."""

    def __init__(self, size: TowerSize, side: int, settings: DinoSettings) -> None:
        super().__init__()
        self.tower = DinoTower(plain_kind(patch=size.patch, side=side, width=size.width, depth=size.depth))
        self.head = DinoHead(size.width, settings)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [B, outputs] for views [B, 3, s, s]."""
        outputs: Tensor = self.head(self.tower.tokens(images)[:, 0])
        return outputs


class Distillation(nn.Module):
    """Student, teacher, and the loss between them."""

    centre: Tensor  # [outputs], moving average of the teacher's outputs

    def __init__(self, size: TowerSize, side: int, settings: DinoSettings) -> None:
        """Build for large views of `side` pixels."""
        super().__init__()
        self.settings = settings
        self.student = Judge(size, side, settings)
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(settings.outputs))

    @torch.no_grad()
    def follow(self, progress: float) -> None:
        """Update the teacher with the student; `progress` is the finished share of the run."""
        momentum = 1 - (1 - self.settings.momentum) * (math.cos(math.pi * progress) + 1) / 2
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), 1 - momentum)

    def forward(self, wide: Tensor, narrow: Tensor) -> Tensor:
        """Mean cross-entropy over pairs of a large view of the teacher and another view of the student.

        Args:
            wide: [2 B, 3, S, S], the first large views of all photographs, then the second.
            narrow: [n B, 3, s, s], small views, view by view.
        """
        n_photographs = len(wide) // 2
        with torch.no_grad():
            teacher_logits = self.teacher(wide)
            targets = ((teacher_logits - self.centre) / self.settings.teacher_temperature).softmax(-1).chunk(2)
        views = list(self.student(wide).chunk(2))
        if len(narrow):
            views += self.student(narrow).split(n_photographs)
        answers = [(view / self.settings.student_temperature).log_softmax(-1) for view in views]
        pairs = [
            -(target * answer).sum(-1).mean()
            for of_target, target in enumerate(targets)
            for of_answer, answer in enumerate(answers)
            if of_answer != of_target
        ]
        self._centre(teacher_logits)
        return torch.stack(pairs).mean()

    @torch.no_grad()
    def agreement(self, wide: Tensor) -> float:
        """Cross-entropy between two views of held-out photographs minus the entropy of the mean output, in nats.

        0 means that outputs do not depend on the photograph; the negative is a lower bound of the information that both
        views share about it. Both kinds of collapse give 0.

        Args:
            wide: [2 N, 3, S, S], as in `forward`.
        """
        teacher_logits = self.teacher(wide)
        targets = ((teacher_logits - teacher_logits.mean(0)) / self.settings.teacher_temperature).softmax(-1)
        answers = (self.student(wide) / self.settings.student_temperature).log_softmax(-1)
        crossed = -(targets.roll(len(wide) // 2, 0) * answers).sum(-1).mean()
        everyone = targets.mean(0)
        gap: Tensor = crossed + torch.xlogy(everyone, everyone).sum()
        return gap.item()

    @torch.no_grad()
    def _centre(self, teacher_logits: Tensor) -> None:
        mean = teacher_logits.mean(0)
        if world_size() > 1:
            dist.all_reduce(mean)
            mean /= world_size()
        self.centre.lerp_(mean, 1 - self.settings.centre)
