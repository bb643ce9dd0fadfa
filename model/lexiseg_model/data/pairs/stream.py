"""Pairs as training draws them: decoded, one caption each, broken ones replaced and named.

    pairs = PairStream(open_pairs(folder), seed=0, rank=rank, world=world)
    loader = DataLoader(pairs, batch_size=64, sampler=range(drawn, steps * 64), num_workers=4)

`drawn` is all that a checkpoint keeps: the n-th draw of a rank is the same whatever was drawn before it, in however
many worker processes. With R ranks the n-th draw of rank r stands at position n * R + r of one order for all; so an
epoch has every pair once, none twice, and the R batches of a step are one batch of the run with a single rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lexiseg_model.data.pairs.decode import decode
from lexiseg_model.data.pairs.order import Order
from lexiseg_model.data.pairs.source import MOST_BROKEN, PairSource, Skipped
from lexiseg_model.errors import DatasetError, OptionError, SampleError

CAPTION, VIEW = 3, 4  # what a random stream is for; `order` has the numbers before


@dataclass(frozen=True)
class Drawn:
    """One pair: RGB [H, W, 3] and a caption, with the pairs that were to stand here and could not be read."""

    seed: int
    position: int
    epoch: int
    name: str
    image: NDArray[np.uint8]
    caption: str
    skipped: tuple[Skipped, ...]

    def random(self) -> np.random.Generator:
        """For the views of this pair: the same numbers whenever this position is drawn."""
        return np.random.default_rng([self.seed, VIEW, self.position])


class PairStream(Dataset[Drawn]):
    """What one rank draws, by number; endless, epoch after epoch."""

    def __init__(self, source: PairSource, seed: int, rank: int = 0, world: int = 1) -> None:
        """
        Raises:
            OptionError: no such rank.
            DatasetError: the source holds no pair.
        """
        if not 0 <= rank < world:
            raise OptionError(f"rank {rank} of {world}; expected 0 to {world - 1}")
        self.source = source
        self.order = Order(source.sizes, seed)
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        """Draws of this rank in one epoch, rounded down; more may be asked for."""
        return self.order.total // self.world

    def __getitem__(self, draw: int) -> Drawn:
        """The draw-th pair of this rank.

        Raises:
            DatasetError: neither it nor MOST_BROKEN others in its place can be read.
        """
        position = draw * self.world + self.rank
        skipped: list[Skipped] = []
        place = self.order[position]
        while True:
            try:
                stored = self.source.read(*place)
                image = decode(stored)
                break
            except SampleError as error:
                skipped.append(Skipped(error.sample, error.reason))
            if len(skipped) > MOST_BROKEN:
                raise DatasetError(f"{len(skipped)} pairs in a row cannot be read; the last: {': '.join(skipped[-1])}")
            place = self.order.replacement(position, len(skipped))
        seed = self.order.seed
        which = int(np.random.default_rng([seed, CAPTION, position]).integers(len(stored.captions)))
        epoch = position // self.order.total
        return Drawn(seed, position, epoch, stored.name, image, stored.captions[which], tuple(skipped))
