"""Base of all runs on captioned photographs: their pairs, batches and contrast, and figures of held-out pairs.

    step:  batches -> frozen inputs of each -> rows of each, by the network -> one loss of all rows

Every pair of a step is contrasted with all others, in however many processes and batches they are: see
`Learner.backward_over_rows`.

The order of pairs is a function of seed and position, so a checkpoint only keeps the position. Every epoch shuffles the
parts, groups them to `TOGETHER` pairs and shuffles within each group: reads stay local on disk.

Views are DeiT's by timm, drawn from an explicit generator: a random window of 8 to 100 % of the photograph, a mirror,
RandAugment and a rectangle of noise (Touvron et al., 2021, table 9). TCL and GroupViT (S-Seg follows its pipeline)
use them with timm's defaults.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import ceil
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from lexiseg_model.clip.images import STATISTICS, Normalisation, normalise
from lexiseg_model.errors import DatasetError
from lexiseg_train.data.pairs.files import open_pairs
from lexiseg_train.data.pairs.source import (
    PairSource,
    Rewritten,
    Skipped,
    StoredPair,
    decode,
    first_readable,
    readable_pairs,
    set_apart,
)
from lexiseg_train.training.learner import Rows
from lexiseg_train.training.recipe import CaptionsRecipe, DeitSettings, LocalPhase, PairsRecipe, Phase
from lexiseg_train.training.run import Run
from lexiseg_train.training.stream import Stream, seeded

TOGETHER = 40_000  # minimum of pairs that are shuffled together, as in TCL's shuffle buffer
PARTS, PAIRS, REPLACEMENTS, CAPTION, VIEW = range(5)  # purposes of random streams
JPEG_QUALITY = 92  # of shrunk photographs
MAX_BYTES = 1 << 30  # of shrunk photographs kept in memory by one process
Batch = TypeVar("Batch")
Views = Callable[[NDArray[np.uint8], np.random.Generator], Tensor]  # RGB [H, W, 3] -> normalised [3, S, S]


class Order:
    """Numbers of the pairs at positions 0, 1, 2, ... of an endless stream; each epoch has every pair once."""

    def __init__(self, sizes: Sequence[int], seed: int, together: int = TOGETHER) -> None:
        self.sizes = np.asarray(sizes, np.int64)  # [parts]
        self.total = int(self.sizes.sum())
        if not self.total:
            raise DatasetError("there are no pairs to draw from")
        self.seed = seed
        self._together = together
        self._ends = np.cumsum(self.sizes)
        self._epoch: tuple[int, list[NDArray[np.int64]], list[int]] | None = None
        self._group: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def __getitem__(self, position: int) -> int:
        epoch, offset = divmod(position, self.total)
        groups, ends = self._groups(epoch)
        group = bisect_right(ends, offset)
        parts = groups[group]
        # Number of the pair within its group, then the part that holds it.
        if self._group is None or self._group[0] != (epoch, group):
            random = np.random.default_rng([self.seed, PAIRS, epoch, group])
            self._group = ((epoch, group), random.permutation(int(self.sizes[parts].sum())))
        pair = int(self._group[1][offset - (ends[group - 1] if group else 0)])
        ends_in_group = np.cumsum(self.sizes[parts])
        which = int(np.searchsorted(ends_in_group, pair, "right"))
        return int(self._ends[parts[which]] - ends_in_group[which]) + pair

    def replacement(self, position: int, attempt: int) -> int:
        """A random pair for a position with a pair that cannot be read; deterministic by position and attempt."""
        return int(np.random.default_rng([self.seed, REPLACEMENTS, position, attempt]).integers(self.total))

    def _groups(self, epoch: int) -> tuple[list[NDArray[np.int64]], list[int]]:
        """Parts of each group, and the offset in the epoch where each group ends."""
        if self._epoch is None or self._epoch[0] != epoch:
            parts = np.random.default_rng([self.seed, PARTS, epoch]).permutation(len(self.sizes))
            groups: list[NDArray[np.int64]] = []
            ends: list[int] = []
            first = 0
            for last, end in enumerate(np.cumsum(self.sizes[parts]).tolist()):
                if end - (ends[-1] if ends else 0) >= self._together or last == len(parts) - 1:
                    groups.append(parts[first : last + 1])
                    ends.append(end)
                    first = last + 1
            self._epoch = epoch, groups, ends
        return self._epoch[1:]


@dataclass(frozen=True)
class PairDraw:
    """One pair: RGB [H, W, 3] and a caption, with the unreadable pairs that it replaces."""

    seed: int
    position: int
    name: str
    image: NDArray[np.uint8]
    caption: str
    skipped: tuple[Skipped, ...]

    def random(self) -> np.random.Generator:
        """Generator for the views of this pair, the same whenever this position is drawn."""
        return np.random.default_rng([self.seed, VIEW, self.position])


class PairBatch(NamedTuple):
    images: Tensor  # [B, 3, S, S]
    tokens: Tensor  # [B, L], one caption each
    skipped: tuple[Skipped, ...]  # pairs that could not be read
    positions: tuple[int, ...]  # of the pairs in the order of all draws of a run, over all processes


def batch_of(views: Views, tokenize: Callable[[list[str]], Tensor], pairs: Sequence[PairDraw]) -> PairBatch:
    return PairBatch(
        torch.stack([views(pair.image, pair.random()) for pair in pairs]),
        tokenize([pair.caption for pair in pairs]),
        tuple(skipped for pair in pairs for skipped in pair.skipped),
        tuple(pair.position for pair in pairs),
    )


class NumberedPairs(Stream[Batch], Generic[Batch]):
    """Batches numbered over all processes: every pair comes once in an epoch."""

    def __init__(self, pairs: PairSource, make: Callable[[Sequence[PairDraw]], Batch], batch: int, seed: int) -> None:
        """Draw pairs in a shuffled order; `make` turns `batch` of them into one."""
        super().__init__()
        self.pairs, self.order = pairs, Order(pairs.sizes, seed)
        self._make, self._batch, self.seed = make, batch, seed

    def make(self, number: int, random: np.random.Generator) -> Batch:
        cv2.setNumThreads(1)  # workers share the cores
        return self._make([self.draw(place) for place in range(number * self._batch, (number + 1) * self._batch)])

    def draw(self, position: int) -> PairDraw:
        """The pair at a position. Raises DatasetError: it and MAX_BROKEN replacements cannot be read."""

        def read(index: int) -> tuple[StoredPair, NDArray[np.uint8]]:
            stored = self.pairs.read(index)
            return stored, decode(stored)

        replacement = partial(self.order.replacement, position)
        (stored, image), skipped = first_readable(self.order[position], read, replacement)
        which = int(np.random.default_rng([self.seed, CAPTION, position]).integers(len(stored.captions)))
        return PairDraw(self.seed, position, stored.name, image, stored.captions[which], skipped)


@dataclass
class Shrunk(Rewritten):
    """Pairs with photographs of at most `side` pixels on the shorter side, in memory as long as there is `room`."""

    side: int
    room: int = MAX_BYTES
    _in_memory: dict[int, StoredPair] = field(default_factory=dict)

    def read(self, index: int) -> StoredPair:
        if (stored := self._in_memory.get(index)) is not None:
            return stored
        pair = self._shrunk(self.source.read(index))
        if len(pair.photograph) <= self.room:
            self.room -= len(pair.photograph)
            self._in_memory[index] = pair
        return pair

    def _shrunk(self, pair: StoredPair) -> StoredPair:
        image = decode(pair)
        height, width = image.shape[:2]
        scale = min(1.0, self.side / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        return pair._replace(photograph=jpeg.tobytes())


def split_pairs(recipe: CaptionsRecipe, source: PairSource) -> tuple[PairSource, PairSource | None]:
    """Pairs to train on, mismatched in a control, and held-out ones, the same for every seed; None: there are none."""
    held_out = None
    if recipe.held_out:
        source, held_out = set_apart(source, recipe.held_out)
    if recipe.mismatched:
        circle = np.random.default_rng(recipe.seed).permutation(sum(source.sizes))
        others = np.empty_like(circle)
        others[circle] = np.roll(circle, 1)  # no photograph keeps its own captions
        source = Mismatched(source, others)
    return source, held_out


@dataclass
class Mismatched(Rewritten):
    """A control: each photograph with the captions of another one. Figures that stem from words must not rise."""

    others: NDArray[np.int64]  # [n] owners of the captions that the n-th photograph gets, counted over all parts

    def read(self, index: int) -> StoredPair:
        captions = self.source.read(int(self.others[index])).captions
        return self.source.read(index)._replace(captions=captions)


def recall(likeness: Tensor, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Percent of pairs among the first k of `ranks`, both ways, by likeness [N, N]; ties count as misses."""
    matching = likeness.diagonal()
    before = [(likeness >= matching[:, None]).sum(1) - 1, (likeness >= matching[None, :]).sum(0) - 1]
    return {f"recall_at_{k}": 50 * sum(float((place < k).float().mean()) for place in before) for k in ranks}


class DeitViews:
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
