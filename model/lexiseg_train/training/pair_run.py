"""Base of all runs on captioned photographs: their pairs, batches and contrast, and figures of held-out pairs.

    step:  batches -> frozen inputs of each -> rows of each, by the network -> one loss of all rows

Every pair of a step is contrasted with all others, in however many processes and batches they are: see
`Learner.backward_over_rows`.

Views are DeiT's by timm, drawn from an explicit generator: a random window of 8 to 100 % of the photograph, a mirror,
RandAugment and a rectangle of noise (Touvron et al., 2021, table 9). TCL and GroupViT (S-Seg follows its pipeline)
use them with timm's defaults.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from math import ceil
from typing import Any, ClassVar, Generic, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from lexiseg_model.clip.images import STATISTICS, Normalisation, normalise
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.data.pairs.source import readable_pairs
from lexiseg_train.training.learner import Rows
from lexiseg_train.training.pairs import NumberedPairs, PairBatch, Shrunk, batch_of, split_pairs
from lexiseg_train.training.recipe import DeitSettings, LocalPhase, PairsRecipe, Phase
from lexiseg_train.training.run import Run
from lexiseg_train.training.stream import seeded


def recall(likeness: Tensor, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Share in percent of pairs among the first k of `ranks`, averaged over both directions; ties count as misses.

    `likeness` is [N, N] of photographs (rows) and captions; matching pairs are on the diagonal.
    """
    matching = likeness.diagonal()
    before = [(likeness >= matching[:, None]).sum(1) - 1, (likeness >= matching[None, :]).sum(0) - 1]
    return {f"recall_at_{k}": 50 * sum(float((place < k).float().mean()) for place in before) for k in ranks}


class DeitViews:
    """Turns photographs into square views of one size."""

    def __init__(self, settings: DeitSettings, size: int, normalisation: Normalisation) -> None:
        from timm.data.transforms_factory import transforms_imagenet_train  # takes seconds

        mean, std = STATISTICS[normalisation]
        self._transform: Any = transforms_imagenet_train(
            img_size=size,
            scale=settings.scale,
            ratio=settings.ratio,
            hflip=settings.mirrored,
            color_jitter=0.0,  # timm ignores TCL's 0.4 where there is a policy
            auto_augment=settings.policy,
            interpolation="bilinear",
            mean=tuple(value / 255 for value in mean),
            std=tuple(value / 255 for value in std),
            re_prob=settings.erased,
            re_mode="pixel",
        )

    def __call__(self, image: NDArray[np.uint8], chance: np.random.Generator) -> Tensor:
        """Normalised view float32 [3, size, size] of a photograph [H, W, 3]; deterministic given the generator."""
        with seeded(*chance.integers(2**32, size=3).tolist()):  # the generators that timm draws from
            view: Tensor = self._transform(Image.fromarray(image))
        return view


Recipe = TypeVar("Recipe", bound=PairsRecipe)
Network = TypeVar("Network", bound=nn.Module)


class PairRun(Run[Recipe, Network, PairBatch], Generic[Recipe, Network]):
    """A run that draws captioned photographs under DeiT's augmentation; `held_out` is None where all are trained on."""

    normalisation: ClassVar[Normalisation] = "imagenet"

    def __init__(self, recipe: Recipe, network: Network, tokenize: Callable[[list[str]], Tensor]) -> None:
        """List the pairs of a recipe, and set some apart for validation."""
        super().__init__(recipe, network)
        self.tokenize = tokenize
        source = open_pairs(*(recipe.place(name) for name in recipe.pairs), json_captions=recipe.json_captions)
        pairs, self.held_out = split_pairs(recipe, source)
        self.pairs = Shrunk(pairs, recipe.shrunk) if recipe.shrunk else pairs

    def _batches(self, phase: LocalPhase) -> NumberedPairs[PairBatch]:
        views = DeitViews(self.recipe.views, phase.crop, self.normalisation)
        return NumberedPairs(self.pairs, partial(batch_of, views, self.tokenize), phase.batch, self.recipe.seed)

    @abstractmethod
    def _inputs(self, batch: PairBatch) -> Any:
        """What the network gets of a batch: frozen parts, computed once a step. Images stay where they are."""

    def _joined(self, inputs: list[Any]) -> list[Any]:
        """Inputs of all batches of a step, each with what it needs of the others."""
        return inputs

    @abstractmethod
    def _rows(self, inputs: Any) -> Rows:
        """Embeddings of a batch, and whatever else the loss is computed from."""

    @abstractmethod
    def _loss_of_rows(self, rows: Any) -> Tensor:
        """Scalar loss of the rows of all batches of a step; it gathers the other processes'."""

    def _loss(self, batch: PairBatch) -> Tensor:
        return self._loss_of_rows(self._rows(*self._joined([self._inputs(batch)])))

    def _backward(self, batches: Sequence[PairBatch]) -> float:
        inputs = self._joined([self._inputs(batch) for batch in batches])
        return self.learner.backward_over_rows(self._rows, self._loss_of_rows, inputs)

    def rehearse(self, batches: Sequence[PairBatch], accumulation: int) -> None:
        """The step's memory: the rows of these batches, and what the device has of their inputs, count repeatedly."""
        self._mode()
        few = [self._inputs(batch) for batch in batches]

        def copied(tensor: Tensor) -> Tensor:
            return tensor.clone() if tensor.device == self.device else tensor

        def loss(rows: Any) -> Tensor:
            times = ceil(accumulation / len(few))
            repeated = (torch.cat([row] * times)[: len(row) // len(few) * accumulation] for row in rows)
            return self._loss_of_rows(rows._make(repeated))

        more = [tree_map_only(Tensor, copied, few[n % len(few)]) for n in range(len(few), accumulation)]
        inputs = self._joined([*few, *more])
        self.learner.backward_over_rows(self._rows, loss, inputs[: len(few)])

    def in_words(self, phase: Phase) -> str:
        batch, accumulation = self._division(phase)
        line = f"each step contrasts {phase.global_batch:,} pairs"
        if accumulation == 1:
            return line
        return f"{line}, in two passes over {accumulation:,} x {batch:,} of them in each process"

    def _examples(self) -> int:
        return sum(self.pairs.sizes)

    @cached_property
    def held_out_pairs(self) -> PairBatch:
        """All readable held-out pairs as one batch: the centre of each photograph, with its first caption."""
        assert self.held_out is not None
        size = self.recipe.phases[-1].crop
        squares, captions = [], []
        for pair, image in readable_pairs(self.held_out):
            side = min(image.shape[:2])
            top, left = ((length - side) // 2 for length in image.shape[:2])
            square = image[top : top + side, left : left + side]
            squares.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8))
            captions.append(pair.captions[0])
        pixels = normalise(torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2), self.normalisation)
        return PairBatch(pixels, self.tokenize(captions), (), tuple(range(len(captions))))
